"""What the tool asks of platforms' services: access tokens, class lists, columns, scores."""
