"""Which checks look at texts, by the settings."""

import logging
from pathlib import Path
from typing import Any

import pytest

from app.conversations.safety.findings import Category, Finding, Severity
from app.conversations.safety.safety import Safety
from app.conversations.safety.watch import UnsafeReplyError
from app.llm.interface import Speaker
from app.settings import Settings, SettingsError
from tests.support.fake_model import FakeModel

WISH, THREAT = "I want to die.", "You should kill yourself."
STUDENT, PERSONA = Speaker.STUDENT, Speaker.PERSONA


@pytest.fixture
def moderation() -> Any:
    with FakeModel() as model:
        yield model


def safety(moderation: FakeModel, **changes: Any) -> Safety:
    given = {"llm_base_url": moderation.base_url, "safety_timeout": 0.3} | changes
    return Safety.from_settings(Settings(_env_file=None, **given))


def flag(moderation: FakeModel, *names: str) -> None:
    moderation.fail_with(200, {"results": [{"categories": dict.fromkeys(names, True)}]})


def categories(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.category, finding.severity) for finding in found]


@pytest.mark.parametrize(
    ("check", "at_once", "beside"),
    [("builtin", True, False), ("provider", True, True), ("off", False, False)],
)
def test_the_setting_says_what_looks(moderation: FakeModel, check: str, at_once: bool, beside: bool) -> None:
    looking = safety(moderation, safety_check=check)
    assert bool(looking.look_at(WISH, STUDENT)) is at_once
    assert bool(looking.beside) is beside
    watch = looking.watch()
    if at_once:
        with pytest.raises(UnsafeReplyError):
            watch.take(THREAT + " ")
    else:
        assert watch.take(THREAT) + watch.end() == THREAT


def test_a_providers_word_for_intent_is_grave_in_a_student_and_part_of_the_play_in_a_persona(
    moderation: FakeModel,
) -> None:
    flag(moderation, "self-harm", "self-harm/intent", "violence")
    beside = safety(moderation, safety_check="provider").beside
    assert beside is not None
    assert beside.look_at(WISH, STUDENT) == [Finding(Category.SELF_HARM, Severity.HIGH, 0, len(WISH))]
    assert categories(beside.look_at(WISH, PERSONA)) == [(Category.SELF_HARM, Severity.LOW)]


def test_topics_alone_are_nothing(moderation: FakeModel) -> None:
    flag(moderation, "self-harm", "violence", "violence/graphic", "illicit", "a category of next year")
    beside = safety(moderation, safety_check="provider").beside
    assert beside is not None
    assert beside.look_at("The war of 1914.", STUDENT) == []


def test_a_reply_that_the_provider_objects_to_is_unsafe(moderation: FakeModel) -> None:
    looking = safety(moderation, safety_check="provider")
    flag(moderation, "self-harm/instructions")
    with pytest.raises(UnsafeReplyError):
        looking.look_closer("A reply.")
    flag(moderation, "harassment/threatening")
    assert categories(looking.look_closer("A reply.")) == [(Category.VIOLENCE, Severity.LOW)]


def test_a_provider_that_does_not_answer_finds_nothing_and_the_log_says_so_without_the_text(
    moderation: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    moderation.fail_with(500)
    beside = safety(moderation, safety_check="provider").beside
    assert beside is not None
    with caplog.at_level(logging.INFO):
        assert beside.look_at(WISH, STUDENT) == []
    assert "the moderation endpoint did not answer" in caplog.text
    assert WISH not in caplog.text


@pytest.mark.parametrize("setting", ["safety_lists", "help_lines"])
def test_files_that_cannot_be_used_are_refused_at_the_start(
    moderation: FakeModel, tmp_path: Path, setting: str
) -> None:
    (tmp_path / "bad.toml").write_text("[[rules")
    path = tmp_path if setting == "safety_lists" else tmp_path / "bad.toml"
    with pytest.raises(SettingsError, match=rf"^{setting.upper()}: .*bad\.toml"):
        safety(moderation, **{setting: path})
