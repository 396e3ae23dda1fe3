"""The teacher's desk: who is where, and what was said."""
