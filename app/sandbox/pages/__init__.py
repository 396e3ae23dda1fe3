"""The pages that look like Canvas."""

from app.sandbox.pages import content, course, developer_keys, launches
from app.sandbox.pages.place import PROBLEMS, pages, show_problem

__all__ = ["PROBLEMS", "content", "course", "developer_keys", "launches", "pages", "show_problem"]
