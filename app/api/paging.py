"""Lists in pages, with the `Link` header by which Canvas's clients find the next one (RFC 8288)."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from flask import Response, request

from app.web import LARGEST_ID, current_settings

PER_PAGE = 10
MOST_PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class PageAsked:
    """Which page of a list is asked for: ``number`` from 1, ``size`` entries at most 100."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        """How many entries come before it."""
        return (self.number - 1) * self.size


def page_asked() -> PageAsked:
    """Read `page` and `per_page`; what makes no sense counts as not given, and more than 100 as 100."""
    size = min(_positive("per_page") or PER_PAGE, MOST_PER_PAGE)
    return PageAsked(min(_positive("page") or 1, LARGEST_ID // size), size)


def add_links(response: Response, page: PageAsked, total: int) -> Response:
    """Say where the other pages of a list of `total` entries are."""
    response.headers["Link"] = ",".join(
        f'<{_address(page, number)}>; rel="{relation}"' for relation, number in _relations(page, total)
    )
    return response


def _relations(page: PageAsked, total: int) -> Iterator[tuple[str, int]]:
    last = max(1, -(-total // page.size))
    yield "current", page.number
    if page.number < last:
        yield "next", page.number + 1
    if page.number > 1:
        yield "prev", min(page.number - 1, last)
    yield "first", 1
    yield "last", last


def _address(page: PageAsked, number: int) -> str:
    # A token that was put into the address, as Canvas takes them, is not for anybody who keeps links.
    asked = request.args.to_dict(flat=False) | {"page": [number], "per_page": [page.size]}
    asked.pop("access_token", None)
    return f"{current_settings().app_url}{quote(request.path)}?{urlencode(asked, doseq=True)}"


def _positive(name: str) -> int | None:
    text = request.args.get(name, "")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < len(str(LARGEST_ID)) else 0
    return number or None
