"""The demo as the person at its terminal sees it."""

import re

import requests

from tests.browser.conftest import Demo


def test_what_a_refusal_refers_to_is_in_the_log_that_the_terminal_names(demo: Demo) -> None:
    page = requests.get(f"{demo.url}/lti/launch", timeout=10).text
    reference = re.search(r"Reference: ([0-9a-f]{8})", page)
    assert reference is not None
    assert "The tool's log is instance/demo.log." in (demo.folder / "log").read_text()
    assert f"401 opened_by_hand [{reference[1]}]" in (demo.folder / "instance" / "demo.log").read_text()
