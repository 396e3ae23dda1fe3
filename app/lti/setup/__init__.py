"""The set-up page: what works, what a launch carried, and what an administrator decides on."""
