import logging
from typing import Any

import pytest

from app.llm.interface import Completion, Readiness
from app.llm.scripted import SCRIPTED_NAME, Script, ScriptedAdapter, Shown, compose, find_shown
from tests.unit.llm.talk import chat_request, whole

SCRIPT: dict[str, Any] = {
    "opening": "Finally someone answers!",
    "replies": [
        {"keywords": ["order", "number"], "text": "It is KH-20817."},
        {"keywords": ["refund"], "text": "I don't believe you.", "when_mood": None},
        {
            "keywords": [["sorry", "apologise"], ["refund", "money back"]],
            "text": "Thank you.",
            "mood": "calm",
        },
        {"keywords": ["refund"], "text": "When will it come?", "when_mood": "calm"},
        {"keywords": ["no"], "text": "No?"},
    ],
    "deflections": ["What do you mean?", "That does not help me."],
}


def answer(*texts: str, script: dict[str, Any] | None = SCRIPT, **more: Any) -> str:
    return compose(chat_request(*texts, script=script, **more))


def test_it_opens_as_written() -> None:
    assert answer() == "Finally someone answers!"


@pytest.mark.parametrize("message", ["Your order?", "What did you ORDER", "the numbers please", "Ördered?"])
def test_a_keyword_brings_its_reply(message: str) -> None:
    assert answer(message) == "It is KH-20817."


def test_a_short_keyword_is_a_whole_word() -> None:
    assert answer("No!") == "No?"
    assert answer("Nobody knows") == "What do you mean?"


def test_the_more_particular_reply_wins() -> None:
    assert answer("I apologise. You get your money back") == "Thank you."


def test_a_mood_opens_other_replies() -> None:
    assert answer("A refund?") == "I don't believe you."
    assert answer("Sorry! A refund?", "…", "The refund is on its way") == "When will it come?"


def test_a_reply_is_not_said_twice_in_a_row() -> None:
    assert answer("Your order?", "…", "The order?") == "What do you mean?"


def test_a_reply_may_come_again_later() -> None:
    assert answer("Your order?", "…", "Hm?", "…", "The order again?") == "It is KH-20817."


def test_deflections_take_turns() -> None:
    assert answer("Hm?", "…", "Well?") == "That does not help me."
    assert answer("Hm?", "…", "Well?", "…", "So?") == "What do you mean?"


def test_a_script_may_be_nearly_empty() -> None:
    assert answer("Hm?", script={}) == answer("Hm?", script={})
    assert answer(script={}) == "Hello, I'm Maria. What would you like to talk about?"


def test_a_script_that_is_none_is_played_from_the_facts_and_told(caplog: pytest.LogCaptureFixture) -> None:
    facts = "The machine broke on Monday."

    assert answer("Which machine?", script={"replies": "secret words"}, facts=facts) == facts
    assert "a script cannot be played" in caplog.text
    assert "secret words" not in caplog.text


def test_the_shape_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="extra"):
        Script.model_validate({"replys": []})


def test_it_is_labelled_and_ready() -> None:
    status = ScriptedAdapter().status()

    assert (status.name, status.readiness, status.scripted) == (SCRIPTED_NAME, Readiness.READY, True)


def test_it_speaks_word_by_word_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("app.llm.scripted.time.sleep", pauses.append)

    pieces = list(ScriptedAdapter(0.5).stream(chat_request(script=SCRIPT)))

    assert pieces == ["Finally ", "someone ", "answers!", Completion(SCRIPTED_NAME)]
    assert pauses == [0.5, 0.5]


FACTS = """- The espresso machine was ordered on 3 May. It cost 249.50 euros.
- It stopped heating on 10 May.
- Two e-mails got no answer!"""


def from_facts(*texts: str) -> str:
    return answer(*texts, script=None, facts=FACTS)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("When did you order it?", "The espresso machine was ordered on 3 May."),
        ("How many euros?", "It cost 249.50 euros."),
        ("Hello, when did the heating stop?", "It stopped heating on 10 May."),
        ("Did you send emails or an e-mail?", "Two e-mails got no answer!"),
    ],
)
def test_without_a_script_the_facts_answer(message: str, expected: str) -> None:
    assert from_facts(message) == expected


def test_a_fact_is_not_told_twice_in_a_row() -> None:
    fact = "It stopped heating on 10 May."

    assert from_facts("The heating?", fact, "The heating?") != fact


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Thank you so much", "You're welcome."),
        ("I'm so sorry", "That's all right."),
        ("Good morning", "Hello!"),
        ("Goodbye then", "Goodbye"),
    ],
)
def test_courtesies_are_returned(message: str, expected: str) -> None:
    assert from_facts(message).startswith(expected)


def test_what_is_not_known_is_admitted() -> None:
    assert from_facts("Quantum physics?") == "I don't know anything about that."
    assert from_facts("Quantum physics?", "…", "Astrology?").startswith("I have no answer")


def test_it_needs_neither_facts_nor_name() -> None:
    assert answer(script=None, persona_name="") == "Hello! What shall we talk about?"
    assert answer("What?", script=None) == "I don't know anything about that."


def test_the_same_question_gets_the_same_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    request = chat_request("A refund?", script=SCRIPT)

    assert whole(ScriptedAdapter(0), request) == whole(ScriptedAdapter(0), request)
    assert caplog.text == ""


CUES = {"objectives": [[["when", "since"], ["symptom", "cough"]], ["resistant"]]}


def test_an_objective_is_shown_once_each_of_its_cues_was_met() -> None:
    messages = ["Hello!", "Since when are you ill? Tell me.", "Well. Do you have a cough, too?", "A cough?"]
    assert find_shown(CUES, messages) == [Shown(0, 2, "Do you have a cough, too?")]


def test_the_sentence_that_says_most_is_quoted() -> None:
    said = "I am sorry that you cough. Since when do you cough, and how much?"
    assert find_shown(CUES, [said]) == [Shown(0, 0, "Since when do you cough, and how much?")]


def test_a_sentence_that_says_too_little_is_quoted_with_the_others() -> None:
    assert find_shown(CUES, ["It gets resistant. See?"]) == [Shown(1, 0, "It gets resistant. See?")]


def test_without_cues_nothing_is_shown() -> None:
    assert find_shown(SCRIPT, ["Since when do you cough?"]) == []
    assert find_shown(None, ["Since when do you cough?"]) == []
