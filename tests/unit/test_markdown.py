"""Markdown is rendered and everything dangerous is taken out."""

import pytest

from app.markdown import render_markdown


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**yes**", "<p><strong>yes</strong></p>\n"),
        ("one\ntwo", "<p>one<br>\ntwo</p>\n"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n"),
        ("1 < 2 & 3", "<p>1 &lt; 2 &amp; 3</p>\n"),
    ],
)
def test_what_is_meant_is_kept(text: str, html: str) -> None:
    assert render_markdown(text) == html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "![spy](https://spy.example/pixel.png)",
        "<a href='javascript:alert(1)' onclick=alert(1)>x</a>",
        "<style>*{display:none}</style>",
        "<iframe src=https://spy.example></iframe>",
        "```<b>\n</code></pre><script>alert(1)</script>\n```",
    ],
)
def test_what_is_hostile_is_taken_out(text: str) -> None:
    html = render_markdown(text)
    for part in ("<script", "<img", "<style", "<iframe", 'href="javascript', 'href="data', "<a onclick"):
        assert part not in html


def test_links_leave_nothing_behind() -> None:
    html = render_markdown("[x](https://example.org)")
    assert 'rel="noopener noreferrer nofollow"' in html
    assert 'target="_blank"' in html


@pytest.mark.parametrize(
    "text",
    [
        "|a" * 100 + "\n" + "|-" * 100 + "\n" + "|\n" * 400,
        f"[a]: https://example.org/{'b' * 3000}\n\n" + "[a]" * 1000,
        "[a](b)" * 1000,
        ">" * 6000,
    ],
    ids=["table", "references", "links", "quotations"],
)
def test_a_short_text_makes_no_long_page(text: str) -> None:
    assert len(render_markdown(text)) < 15 * len(text)


def test_a_table_is_a_table() -> None:
    html = render_markdown("| word | meaning |\n|---|---|\n| Haus | house |")
    assert "<td>Haus</td>" in html
