"""The help lines of an institution."""

from pathlib import Path

import pytest
from flask import Flask
from flask_babel import Babel

from app.conversations.safety.help import DIRECTORY, HelpLinesError, help_message, read_help_lines

LINES = """
[[help_lines]]
name = "Counselling service"
phone = "555 0100"
hours = "Monday to Friday, 9 to 17"

[[help_lines]]
name = "Chat"
link = "https://help.example.edu/chat"
"""


def text_with(path: Path | None) -> str:
    app = Flask(__name__)
    Babel(app)
    with app.test_request_context():
        return help_message(read_help_lines(path)).as_text()


def test_the_institutions_lines_stand_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "help.toml"
    path.write_text(LINES)
    text = text_with(path)
    assert "Counselling service: 555 0100 (Monday to Friday, 9 to 17)" in text
    assert "Chat: https://help.example.edu/chat" in text
    assert DIRECTORY not in text


def test_without_lines_the_message_invents_no_number() -> None:
    text = text_with(None)
    assert DIRECTORY in text
    assert not any(char.isdigit() for char in text)


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ("help_lines = [", "help"),
        ("", "help_lines"),
        ("help_lines = []", "help_lines"),
        ('[[help_lines]]\nname = "A"', "A has neither phone nor link"),
        ('[[help_lines]]\nphone = "1"', "name"),
        ('[[help_lines]]\nname = "A"\nlink = "javascript:alert(1)"', "link"),
        ('[[help_lines]]\nname = "A"\nphone = "1"\nfax = "2"', "fax"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_name(
    tmp_path: Path, written: str, wrong: str
) -> None:
    path = tmp_path / "help.toml"
    path.write_text(written)
    with pytest.raises(HelpLinesError, match=wrong) as refusal:
        read_help_lines(path)
    assert "help.toml" in str(refusal.value)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HelpLinesError, match=r"missing\.toml"):
        read_help_lines(tmp_path / "missing.toml")
