"""The embedded model: a small model that is fetched once and runs in a process of its own on this machine."""
