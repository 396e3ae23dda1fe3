"""Writing, publishing and listing experiences."""
