"""Markdown from a model or a person, rendered to safe HTML. Everything that they wrote is taken as hostile."""

from html import unescape

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

_TAGS = {
    "a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip


def _markdown(*more: str) -> MarkdownIt:
    # References stay text: each may stand for an address a thousand times as long.
    plain = MarkdownIt("commonmark", {"html": False, "breaks": True}).disable(["image", "reference"])
    return plain.enable(["strikethrough", *more])


_MARKDOWN, _WITHOUT_TABLES = _markdown("table"), _markdown()
# Rows are filled up to the width of the head: a text of a thousand characters may ask for tens of thousands of cells.
MAX_CELLS = 2_000


def render_markdown(text: str) -> Markup:
    """Return `text` as HTML without scripts, styles, images or links to anything but the web.

    Images are left out because fetching one would tell its server who reads.
    """
    return Markup(  # noqa: S704 - nh3 has just cleaned it
        nh3.clean(
            _render(text),
            tags=_TAGS,
            attributes={"a": {"href"}, "ol": {"start"}},
            url_schemes={"http", "https", "mailto"},
            link_rel="noopener noreferrer nofollow",
            set_tag_attribute_values={"a": {"target": "_blank"}},
        )
    )


def plain_text(text: str) -> str:
    """Return `text` without its Markdown: no HTML, but text that may look like some."""
    return unescape(nh3.clean(_render(text), tags=set()))


def _render(text: str) -> str:
    lines = text.splitlines() or [""]
    cells = max(line.count("|") for line in lines) * len(lines)
    return str((_MARKDOWN if cells <= MAX_CELLS else _WITHOUT_TABLES).render(text))
