"""Choosing experiences for a course from within the platform (LTI Deep Linking 2.0)."""
