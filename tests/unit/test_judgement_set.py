"""The labelled set is sound, and the script that scores models on it counts right."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from app.conversations.prompt import numbered
from app.conversations.quotes import prove
from app.llm.interface import Speaker
from tests.judgement.score import main
from tests.judgement.transcripts import Transcript, read_transcripts
from tests.support.fake_model import FakeModel, ReceivedRequest, make_failure

TRANSCRIPTS = read_transcripts()
OPEN = {"reason": "", "covered": False, "message": 0, "quote": ""}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake_model: FakeModel) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLM_BASE_URL", fake_model.base_url)
    monkeypatch.setenv("LLM_MODEL", "scored")
    monkeypatch.setenv("LLM_RETRIES", "0")


def score(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["--json", *arguments]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def asked_about(request: ReceivedRequest) -> Transcript:
    lines = [json.loads(line) for line in request.prompt.splitlines() if line.startswith('{"number"')]
    said = [line["text"] for line in lines]
    return next(each for each in TRANSCRIPTS if [message.text for message in each.messages] == said)


def as_labelled(request: ReceivedRequest) -> dict[str, Any]:
    covered = [{"reason": "", "covered": True, **each.model_dump()} for each in asked_about(request).covered]
    return {"objectives": covered}


def test_there_are_enough_transcripts_of_each_kind() -> None:
    kinds = Counter(each.kind for each in TRANSCRIPTS)
    assert len(TRANSCRIPTS) >= 40
    assert len(kinds) == 9
    assert min(kinds.values()) >= 4


def test_ids_are_unique() -> None:
    assert max(Counter(each.id for each in TRANSCRIPTS).values()) == 1


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript.id)
def test_each_label_is_proved_by_its_quote(transcript: Transcript) -> None:
    assert any(message.speaker is Speaker.STUDENT for message in transcript.messages)
    said = numbered(transcript.messages)
    for covered in transcript.covered:
        assert 1 <= covered.objective <= len(transcript.scenario.objectives)
        assert prove(covered.quote, covered.message, said, transcript.scenario.objectives)


def test_a_judge_that_says_what_the_labels_say_makes_no_mistake(
    capsys: pytest.CaptureFixture[str], fake_model: FakeModel
) -> None:
    fake_model.judge_by(as_labelled)
    report = score(capsys, "--jobs", "2")
    assert report["models"] == ["scored"]
    assert report["transcripts"] == len(TRANSCRIPTS)
    assert report["total"]["accuracy"] == 1
    assert report["mistakes"] == []


def test_a_judge_that_covers_nothing_misses_what_is_covered(
    capsys: pytest.CaptureFixture[str], fake_model: FakeModel
) -> None:
    fake_model.judge_with({"objectives": []})
    report = score(capsys)
    labels = sum(len(each.covered) for each in TRANSCRIPTS)
    assert report["total"]["misses"] == len(report["mistakes"]) == labels
    assert report["total"]["false_credits"] == 0
    assert report["total"]["accuracy"] == report["always_no"]


def test_a_judge_that_believes_everything_is_scored_by_kind(
    capsys: pytest.CaptureFixture[str], fake_model: FakeModel
) -> None:
    def believe(request: ReceivedRequest) -> dict[str, Any]:
        messages = enumerate(asked_about(request).messages, 1)
        number, said = next(each for each in messages if each[1].speaker is Speaker.STUDENT)
        found = {"covered": True, "reason": "", "message": number, "quote": said.text}
        return {"objectives": [{"objective": each, **found} for each in (1, 2, 3)]}

    fake_model.judge_by(believe)
    report = score(capsys, "--kind", "quotes_the_question")
    assert list(report["kinds"]) == ["quotes_the_question"]
    # What only repeats others is refused, whatever the model believes.
    assert report["total"]["unproved"] == 7
    assert {each["transcript"] for each in report["mistakes"]} == {
        "quotes-back",
        "quotes-complaint",
        "quotes-then-answers",
    }


def test_a_judge_that_quotes_the_persona_is_given_no_credit(
    capsys: pytest.CaptureFixture[str], fake_model: FakeModel
) -> None:
    def quote_persona(request: ReceivedRequest) -> dict[str, Any]:
        said = asked_about(request).messages
        quoted = {"covered": True, "reason": "", "message": 2, "quote": said[0].text}
        return {"objectives": [{"objective": each, **quoted} for each in (1, 2, 3)]}

    fake_model.judge_by(quote_persona)
    report = score(capsys)
    assert report["total"]["false_credits"] == 0
    assert report["total"]["unproved"] == report["total"]["decisions"]


def test_a_judge_that_is_down_is_told_apart_from_one_that_says_no(
    capsys: pytest.CaptureFixture[str], fake_model: FakeModel
) -> None:
    fake_model.judge_with(make_failure(500))
    assert main(["--json", "--kind", "covered"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["total"]["failures"] == report["transcripts"]
    assert report["models"] == []


def test_people_are_shown_a_table(capsys: pytest.CaptureFixture[str], fake_model: FakeModel) -> None:
    fake_model.judge_with({"objectives": [{"objective": 1, **OPEN}]})
    assert main(["--kind", "covered"]) == 0
    table = capsys.readouterr().out
    assert "scored, 15 transcripts" in table
    assert "miss         covered-grain: Find out where the grain comes from" in table
