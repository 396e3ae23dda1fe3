"""Pages of a list, and the ``Link`` header that leads from one to the next."""

from collections.abc import Sequence
from math import ceil
from typing import TypeVar
from urllib.parse import urlencode

from app.sandbox.errors import ServiceError

PAGE_SIZE = 50
Item = TypeVar("Item")


def page_of(
    items: Sequence[Item], *, url: str, query: Sequence[tuple[str, str]], size: int = PAGE_SIZE
) -> tuple[Sequence[Item], str]:
    """The page that a query asks for by ``limit`` and ``page``, and its ``Link`` header."""
    wanted = dict(query)
    limit = min(_positive(wanted.get("limit", str(size)), "limit"), size)
    page = _positive(wanted.get("page", "1"), "page")
    last = max(1, ceil(len(items) / limit))
    places = {"current": page, "next": page + 1, "prev": page - 1, "first": 1, "last": last}
    kept = [(name, value) for name, value in query if name != "page"]
    links = [
        f'<{url}?{urlencode([*kept, ("page", str(number))])}>; rel="{name}"'
        for name, number in places.items()
        if 1 <= number <= max(last, page)
    ]
    return items[(page - 1) * limit : page * limit], ",".join(links)


def _positive(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ServiceError(400, f"{name} must be a whole number above 0")
    return int(text)
