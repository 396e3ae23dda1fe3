"""Courses, people and enrollments."""
