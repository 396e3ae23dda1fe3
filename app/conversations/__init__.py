"""The chat runner: conversations, turns, prompts and streaming."""
