"""What a model is told."""

from app.conversations.models import Conversation, Message, MessageState
from app.conversations.prompt import PROMPT_VERSION, build_request
from app.llm.interface import Speaker

SCENARIO = {
    "title": "A wrong bill",
    "facts": "It is 40 euros too high.",
    "learning_objectives": ["Listen", "Solve"],
    "pedagogical_guidance": "You are {{ angry }}.",
    "persona_name": "Kim",
}
CONVERSATION = Conversation(
    id=7, experience_id=1, user_id=1, scenario=SCENARIO, prompt_version=PROMPT_VERSION
)


def message(speaker: Speaker, text: str, state: MessageState = MessageState.COMPLETE) -> Message:
    return Message(conversation_id=7, speaker=speaker, text=text, state=state)


def test_the_instructions_hold_the_whole_scenario_as_it_is() -> None:
    request = build_request(CONVERSATION, [], 16_000, 600)
    for text in ("A wrong bill", "It is 40 euros too high.", "1. Listen", "2. Solve", "You are {{ angry }}."):
        assert text in request.instructions
    assert "You are {{ angry }}." in request.brief
    assert request.persona_name == "Kim"


def test_only_what_was_really_said_is_sent() -> None:
    messages = [
        message(Speaker.PERSONA, "Hello"),
        message(Speaker.STUDENT, "Hi"),
        message(Speaker.PERSONA, "half a re", MessageState.FAILED),
        message(Speaker.STUDENT, "Still there?"),
        message(Speaker.PERSONA, "", MessageState.GENERATING),
    ]
    lines = build_request(CONVERSATION, messages, 16_000, 600).lines
    assert [line.text for line in lines] == ["Hello", "Hi", "Still there?"]


def test_the_newest_messages_that_fit_are_kept() -> None:
    messages = [message(Speaker.STUDENT, f"{number} " + "x" * 1_000) for number in range(100)]
    lines = build_request(CONVERSATION, messages, 16_000, 600).lines
    assert 20 < len(lines) < 60
    assert lines[-1].text.startswith("99 ")
    assert [line.text for line in lines] == [row.text for row in messages[-len(lines) :]]


def test_the_last_message_is_always_sent() -> None:
    lines = build_request(CONVERSATION, [message(Speaker.STUDENT, "x" * 4_000)], 2_000, 600).lines
    assert len(lines) == 1
