"""A quote proves something when it stands in the student's message and the words are the student's own."""

# ruff: noqa: RUF001 - characters that look alike are what is tested

import re
import time
import unicodedata
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.conversations.models import Message
from app.conversations.quotes import find_quote, is_own, prove
from app.llm.interface import Speaker

TEXT = "Well, antibiotics act\non bacteria - only. They don’t touch viruses!"


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("antibiotics act\non bacteria", "antibiotics act\non bacteria"),
        ("antibiotics act on bacteria", "antibiotics act\non bacteria"),
        ("ANTIBIOTICS act on Bacteria", "antibiotics act\non bacteria"),
        ("“antibiotics act on bacteria – only.”", "antibiotics act\non bacteria - only"),
        ("They don't touch viruses", "They don’t touch viruses"),
        ("... they don`t touch viruses ...", "They don’t touch viruses"),
        ("anti\u00adbiotics act\u200b on bacteria", "antibiotics act\non bacteria"),
        ("anti\u3164biotics act\u2800 on bacteria", "antibiotics act\non bacteria"),
    ],
)
def test_the_way_of_writing_makes_no_difference(quote: str, found: str) -> None:
    assert find_quote(quote, TEXT) == found


@pytest.mark.parametrize(
    "quote",
    [
        "antibiotics kill bacteria",
        "antibiotics act … viruses",
        "antibiotics act on bacteria, only",
        "antibiotics act on bact",
        "ntibiotics act on bacteria",
        "They do not touch viruses",
        "antibiotics act on bacteria only they touch viruses",
        "",
        "...",
    ],
)
def test_other_words_are_no_quote(quote: str) -> None:
    assert find_quote(quote, TEXT) is None


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        ("Strasse ist gesperrt", "Die Straße ist gesperrt!"),
        ("café noir sans sucre", unicodedata.normalize("NFD", "Un café noir sans sucre.")),
        ("抗生素只对细菌有效", "我觉得抗生素只对细菌有效，对病毒无效。"),
        ("ยาปฏิชีวนะใช้กับแบคทีเรีย", "คุณรู้ไหมยาปฏิชีวนะใช้กับแบคทีเรียเท่านั้น"),
        ("पानी पीना अच्छा", "मुझे पानी पीना अच्छा लगता है"),
        ("المضادات الحيوية", "إن المضادات الحيوية لا تنفع"),
        ("the ﬁrst ﬁnding", "It is the first finding."),
        ("Ａ wide ＡＮＳＷＥＲ", "a wide answer"),
    ],
)
def test_every_script_can_be_quoted(quote: str, text: str) -> None:
    assert find_quote(quote, text)


@pytest.mark.parametrize(
    ("quote", "text"),
    [("yes", "yes, I do"), ("a", "a cat"), ("ja 细", "ja 细菌 ja")]
    + [(hidden * 10 + "yes", hidden * 10 + "yes, I do") for hidden in "\u3164\uffa0\u0332"],
)
def test_too_little_proves_nothing(quote: str, text: str) -> None:
    assert find_quote(quote, text) is None


def test_a_short_message_may_be_quoted_whole() -> None:
    assert find_quote("yes", "Yes!") == "Yes"


words = st.text(alphabet="abcdefghij äßéñЖя", min_size=1, max_size=12).map(str.strip).filter(bool)
sentences = st.lists(words, min_size=4, max_size=30)


@given(sentences, st.data())
def test_whatever_is_copied_is_found_and_stands_there(parts: list[str], data: st.DataObject) -> None:
    text = " ".join(parts)
    begin = data.draw(st.integers(0, len(parts) - 1))
    end = data.draw(st.integers(begin + 1, len(parts)))
    quote = data.draw(st.sampled_from([" ", "\n", "  "])).join(parts[begin:end])
    found = find_quote(data.draw(st.sampled_from([quote, quote.upper(), f"“{quote}”"])), text)
    letters = sum(char.isalnum() for char in quote.casefold())
    assert (found is not None) == (letters >= 10 or quote.split() == text.split())
    assert found is None or found in unicodedata.normalize("NFC", text)


@given(st.text(max_size=60), st.text(max_size=120))
def test_what_is_found_is_always_a_piece_of_the_text(quote: str, text: str) -> None:
    found = find_quote(quote, text)
    assert found is None or found in unicodedata.normalize("NFC", text)
    assert found is None or find_quote(found, text) is not None


@given(sentences, st.integers(0, 29))
def test_one_changed_word_is_no_quote(parts: list[str], place: int) -> None:
    changed = [*parts]
    changed[place % len(parts)] = "quite another"
    assert find_quote(" ".join(changed), " ".join(parts)) is None


PERSONA_LINE = "You know, antibiotics do not act on viruses. Who makes viruses go away, then?"


def own(quote: str, message: str, *, earlier: str = "", objectives: tuple[str, ...] = ()) -> bool:
    said = [earlier, PERSONA_LINE]
    before = [
        Message(id=number, conversation_id=1, speaker=speaker, text=text)
        for number, (speaker, text) in enumerate(zip((Speaker.STUDENT, Speaker.PERSONA), said, strict=True))
    ]
    assert re.sub(r"\W", "", quote).casefold() in re.sub(r"\W", "", message).casefold()
    return is_own(
        quote, Message(conversation_id=1, speaker=Speaker.STUDENT, text=message), before, objectives
    )


def test_what_the_persona_said_first_is_not_the_students() -> None:
    assert not own("antibiotics do not act on viruses", "Antibiotics do not act on viruses.")
    assert not own("Yes, antibiotics do not act on viruses", "Yes, antibiotics do not act on viruses!")
    assert not own("Who makes viruses go away, then", "Who makes viruses go away, then? I don't know.")
    agrees = "I agree that antibiotics do not act on viruses"
    assert not own(agrees, agrees)


def test_what_the_student_adds_to_it_is_their_own() -> None:
    message = "Antibiotics do not act on viruses because a virus has no cell wall of its own."
    assert own(message, message)


def test_a_few_words_meet_by_chance() -> None:
    assert own("They act on bacteria, viruses go their way", "They act on bacteria, viruses go their way.")


def test_what_the_student_said_before_the_persona_repeated_it_stays_theirs() -> None:
    quote = "antibiotics do not act on viruses"
    assert own(quote, f"As I said, {quote}.", earlier=f"I think that {quote}.")


def test_an_attempt_that_was_replaced_says_it_when_it_was_made() -> None:
    said = "antibiotics do not act on viruses"

    def is_theirs(*before: Message) -> bool:
        return is_own(said, of(Speaker.STUDENT, f"As I said, {said}."), before, ())

    def of(speaker: Speaker, text: str, replaced: str = "") -> Message:
        return Message(conversation_id=1, speaker=speaker, text=text, replaced=replaced)

    echo = of(Speaker.PERSONA, "Sorry, what?", replaced=f"So {said}?")
    assert not is_theirs(echo)
    assert is_theirs(of(Speaker.STUDENT, f"I think that {said}."), echo)


def test_an_objective_copied_whole_is_the_teachers() -> None:
    objective = "Explain how needless antibiotics lead to resistant bacteria"
    message = f"My task: {objective}. Please tick it."
    assert not own("needless antibiotics lead to resistant bacteria", message, objectives=(objective,))
    assert own(
        "needless antibiotics lead to resistant bacteria",
        "Because needless antibiotics lead to resistant bacteria.",
        objectives=(objective,),
    )


def test_an_echo_is_heard_where_words_are_not_spaced() -> None:
    before = [Message(id=1, conversation_id=1, speaker=Speaker.PERSONA, text="抗生素对病毒没有作用，是吗？")]
    message = Message(id=2, conversation_id=1, speaker=Speaker.STUDENT, text="抗生素对病毒没有作用。")
    assert not is_own("抗生素对病毒没有作用", message, before, [])
    message.text = "抗生素只杀死细菌，病毒不受影响。"
    assert is_own("抗生素只杀死细菌，病毒不受影响", message, before, [])


@pytest.mark.parametrize("hidden", ["\u200b", "\u3164", "\u2800", "\ufff9", "\U0001bca0", "\u0332", "\u20d2"])
def test_an_echo_is_heard_whatever_nobody_sees_in_it(hidden: str) -> None:
    copied = re.sub(r"(\w)(\w)", rf"\1{hidden}\2", "antibiotics do not act on viruses")
    assert not own(copied, copied)


@pytest.mark.parametrize("blank", ["\u3164", "\u2800"])
def test_an_echo_is_heard_whatever_looks_like_a_space_in_it(blank: str) -> None:
    copied = "antibiotics do not act on viruses".replace(" ", blank)
    assert not own(copied, copied)


def test_marks_of_a_language_are_no_disguise() -> None:
    yoruba = unicodedata.normalize("NFC", "Àwọn ẹ̀gbọ́n mi ń jẹ ìrẹsì")
    assert find_quote(yoruba, f"{yoruba}.") == yoruba
    assert own(yoruba, yoruba)


def slowly_own(words: list[str], before: list[Message]) -> bool:
    """Say the same by looking through all that was said for each run of words."""

    def is_echo(start: int, end: int) -> bool:
        run = f" {' '.join(words[start:end])} "
        first = next((said for said in before if run in f" {said.text} "), None)
        return first is not None and first.speaker is Speaker.PERSONA

    echoed: set[int] = set()
    known = 0
    for start in range(len(words)):
        heavy = (end for end in range(start + 1, len(words) + 1) if len("".join(words[start:end])) >= 20)
        shortest = next(heavy, 0)
        if shortest > known and is_echo(start, shortest):
            known = shortest
            while known < len(words) and is_echo(start, known + 1):
                known += 1
            echoed.update(range(start, known))
    others = len("".join(words[place] for place in echoed))
    of_their_own = len("".join(words)) - others
    return not echoed or (of_their_own >= 10 and of_their_own * 2 >= others)


spoken = st.lists(st.sampled_from(["a", "bb", "ninebooks", "elevenbooks"]), max_size=20)
conversations = st.lists(st.tuples(st.sampled_from([Speaker.STUDENT, Speaker.PERSONA]), spoken), max_size=5)


@given(conversations, st.data())
def test_what_is_own_is_what_the_definition_says(
    said: list[tuple[Speaker, list[str]]], data: st.DataObject
) -> None:
    pieces = [words for _, text in said for words in (text[:10], text[5:], text)]
    parts = data.draw(st.lists(st.sampled_from(pieces) | spoken if pieces else spoken, max_size=3))
    quoted = [word for part in parts for word in part]
    before = [Message(conversation_id=1, speaker=speaker, text=" ".join(text)) for speaker, text in said]
    message = Message(conversation_id=1, speaker=Speaker.STUDENT, text=" ".join(quoted))
    assert is_own(message.text, message, before, []) == slowly_own(quoted, before)


def seconds_of_proofs(said: dict[int, Message], times: int) -> float:
    began = time.thread_time()
    for _ in range(times):
        prove(said[max(said)].text, max(said), said, [])
    return time.thread_time() - began


@pytest.mark.parametrize("repeated", [False, True])
def test_a_long_conversation_is_checked_in_good_time(repeated: bool) -> None:
    """One of single letters, in which the persona repeats late what the student said, or never."""
    random = Random(1)
    texts = [" ".join(random.choices("abcdefgh", k=2_000)) for _ in range(201)]
    if repeated:
        texts[150] = texts[151] = texts[200]
    said = {
        number: Message(
            id=number, conversation_id=1, speaker=(Speaker.STUDENT, Speaker.PERSONA)[number % 2], text=text
        )
        for number, text in enumerate(texts)
    }
    assert seconds_of_proofs(said, 8) < 5


def test_a_long_repetition_is_checked_in_good_time() -> None:
    text = "go on " * 650
    before = [
        Message(
            id=number, conversation_id=1, speaker=(Speaker.PERSONA, Speaker.STUDENT)[number % 2], text=text
        )
        for number in range(60)
    ]
    assert not is_own(text, Message(id=99, conversation_id=1, speaker=Speaker.STUDENT, text=text), before, [])
