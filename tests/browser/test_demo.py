"""Ending the demo while somebody is being answered."""

import sqlite3
import time
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import message_box, open_tool, running_demo


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of the processes that run in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder.resolve():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_ctrl_c_stores_what_there_is_of_a_reply_and_leaves_nobody_behind(page: Page, tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        demo.model.reply_with([f"word{number} " for number in range(600)], delay=0.05)
        desk = open_tool(page, demo, "sofia.hernandez")
        desk.get_by_role("link", name="A patient who wants antibiotics").click()
        desk.get_by_test_id("start").click()
        message_box(desk).fill("Good morning!")
        desk.get_by_test_id("send").click()
        expect(desk.locator("[data-growing]")).to_contain_text("word3")
        page.close()
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert processes_in(tmp_path) == []
    database = sqlite3.connect(tmp_path / "instance" / "demo.db")
    newest = "SELECT state, error_code, text FROM messages ORDER BY id DESC LIMIT 1"
    state, note, text = database.execute(newest).fetchone()
    database.close()
    assert (state, note) == ("interrupted", "shut_down")
    assert text.startswith("word0 word1")
