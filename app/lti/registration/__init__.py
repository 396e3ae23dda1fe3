"""How a platform comes to be registered: by `tool_config.json`, by the command, by dynamic registration."""
