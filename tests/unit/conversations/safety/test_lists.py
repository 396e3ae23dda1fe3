"""The lists that come with the tool, on labelled sentences of seven languages and on texts made to hurt."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.conversations.safety.findings import Category, Finding, Severity
from app.conversations.safety.lists import BUILT_IN, ListCheck, ListError, list_check
from app.llm.interface import Speaker
from app.paths import PACKAGE

FOLDER = Path(__file__).parent
LONGEST = 4_000
LANGUAGES = {"en", "es", "fr", "de", "nl", "pt", "it"}
STUDENT, PERSONA = Speaker.STUDENT, Speaker.PERSONA


@dataclass(frozen=True)
class Sentence:
    """A labelled sentence: what is to be found in it, by category."""

    language: str
    speaker: Speaker
    expected: dict[str, str]
    text: str

    def verdict(self) -> str:
        found = {
            finding.category: finding.severity for finding in list_check().look_at(self.text, self.speaker)
        }
        if found == self.expected:
            return "right"
        if not self.expected:
            return "false alarm"
        return "missed" if found.keys() != self.expected.keys() else "wrong severity"


def read(name: str) -> list[Sentence]:
    lines = (FOLDER / name).read_text("utf-8").splitlines()
    return [_sentence(line) for line in lines if not line.startswith("#")]


def _sentence(line: str) -> Sentence:
    language, speaker, labels, text = line.split("\t")
    expected = dict(label.split("/") for label in labels.split(",") if label != "-")
    return Sentence(language, Speaker(speaker), expected, text)


def test_the_sentences_that_the_lists_were_written_with_are_all_told_right() -> None:
    sentences = read("sentences.tsv")
    assert [sentence for sentence in sentences if sentence.verdict() != "right"] == []
    assert len(sentences) > 500


def test_each_language_has_sentences_of_both_kinds_by_both_speakers() -> None:
    kinds = {
        (sentence.language, sentence.speaker, bool(sentence.expected)) for sentence in read("sentences.tsv")
    }
    assert kinds == {
        (language, who, found) for language in LANGUAGES for who in Speaker for found in (True, False)
    }
    assert {path.stem for path in BUILT_IN.glob("*.toml")} == LANGUAGES


def test_of_sentences_that_nobody_fitted_the_lists_to_so_many_are_told_wrong() -> None:
    sentences = read("unseen.tsv")
    verdicts = Counter((bool(sentence.expected), sentence.verdict()) for sentence in sentences)
    assert verdicts == {
        (True, "right"): 28,
        (True, "missed"): 1,
        (True, "wrong severity"): 1,
        (False, "right"): 39,
        (False, "false alarm"): 1,
    }


@pytest.mark.parametrize(
    "between", ["\n\n", "\u200e ", "-", ",", " \U000e0020", "\u3164", "\u2800", "\ufffc"]
)
def test_what_stands_between_a_students_words_does_not_hide_them(between: str) -> None:
    (found,) = list_check().look_at("I want to kill myself".replace(" ", between), STUDENT)
    assert (found.category, found.severity) == (Category.SELF_HARM, Severity.HIGH)


@pytest.mark.parametrize("hidden", ["\u3164", "\u1160", "\u2800", "\ufff9", "\U0001bca0"])
def test_what_nobody_sees_within_a_students_words_does_not_hide_them(hidden: str) -> None:
    (found,) = list_check().look_at(f"I want to k{hidden}ill my{hidden}self", STUDENT)
    assert (found.category, found.start, found.end) == (Category.SELF_HARM, 0, 23)


def test_a_finding_says_where_it_stands() -> None:
    text = "Good morning, doctor. I think I want to kill myself."
    (finding,) = list_check().look_at(text, STUDENT)
    assert (finding.category, finding.severity) == (Category.SELF_HARM, Severity.HIGH)
    assert text[finding.start : finding.end] == "I want to kill myself"


def test_of_several_findings_in_a_category_the_gravest_is_told() -> None:
    found = list_check().look_at("You stupid bitch. Kill yourself!", STUDENT)
    assert [(finding.category, finding.severity) for finding in found] == [(Category.ABUSE, Severity.HIGH)]


def test_an_exception_in_one_sentence_excuses_nothing_in_the_next() -> None:
    found = list_check().look_at("I don't want to kill myself today. I want to die tomorrow.", STUDENT)
    assert [finding.category for finding in found] == [Category.SELF_HARM]


def test_languages_may_change_in_mid_sentence() -> None:
    assert list_check().look_at("sorry, aber ich will nicht mehr leben", STUDENT)


# Words of the lists, so that as many phrases as can be have begun at once.
BAIT = [
    *(
        "i",
        "want",
        "to",
        "kill",
        "myself",
        "not",
        "said",
        "he",
        "you",
        "should",
        "die",
        "je",
        "veux",
        "ich",
        "will",
    ),
    *("quiero", "k.i.l.l", "[", "(", "'", "*", "@", ".", "...", "\u200b"),
]
HOSTILE = {
    "hits": "i want to die ",
    "hits in sentences": "I want to die. ",
    "openings": "i really just want to really just want to ",
    "negations": "not never dont ",
    "one letter": "a",
    "spelt out": "k i l l ",
    "apostrophes": "a''''",
    "stars": "f***",
    "dots": ".",
    "line ends": "\n ",
    "accents": "e\u0301",
    "invisible": "i\u200b",
    "blank": "i\u3164 want\u2800",
    "mathematical": "\U0001d4f2 \U0001d500\U0001d4ea\U0001d4f7\U0001d4fd ",
    "everything": " ".join(BAIT) + " ",
}


def fastest(text: str, speaker: Speaker, rounds: int = 7) -> float:
    """Return the least seconds of its thread that a look at a text took."""

    def measure() -> Iterator[float]:
        for _ in range(rounds):
            began = time.thread_time()
            list_check().look_at(text, speaker)
            yield time.thread_time() - began

    return min(measure())


ESSAY = (
    "I want to know what you think about the bill, because I really need to go to work and you should help me. "
    "I don't want to pay it, and my teacher said that I could ask you whether the war killed the trade. "
)


def test_a_look_at_the_longest_message_takes_a_millisecond_or_so() -> None:
    assert fastest((ESSAY * 40)[:LONGEST], STUDENT, rounds=30) < 0.002


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("speaker", Speaker)
def test_no_text_makes_a_look_slow(name: str, speaker: Speaker) -> None:
    text = HOSTILE[name] * LONGEST
    assert fastest(text[:LONGEST], speaker) < 0.05


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(BAIT), min_size=200, max_size=700), st.sampled_from(Speaker))
def test_no_mixture_of_the_lists_words_makes_a_look_slow(words: list[str], speaker: Speaker) -> None:
    assert fastest(" ".join(words)[:LONGEST], speaker, rounds=2) < 0.1


@settings(deadline=None)
@given(st.text(max_size=300), st.sampled_from(Speaker))
def test_whatever_is_written_can_be_looked_at(text: str, speaker: Speaker) -> None:
    for finding in list_check().look_at(text, speaker):
        assert 0 <= finding.start < finding.end <= len(text)


def test_an_institution_adds_lists_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "sv.toml").write_text(
        '[[rules]]\ncategory = "self_harm"\nseverity = "high"\nby = ["student"]\n'
        'phrases = ["jag vill dö"]\nunless = ["inte att jag vill dö"]\n'
    )
    check = list_check(tmp_path)
    assert check.look_at("Jag vill dö.", STUDENT) == [Finding(Category.SELF_HARM, Severity.HIGH, 0, 11)]
    assert check.look_at("Det är inte att jag vill dö.", STUDENT) == []
    assert check.look_at("Jag vill dö.", PERSONA) == []
    assert check.look_at("I want to die.", STUDENT)


UNREADABLE = '[[rules]]\ncategory = "self_harm"\nseverity = "high"\nby = ["student"]\nphrases = ["(a"]'


@pytest.mark.parametrize(
    "written",
    [
        "not toml",
        "[[rules]]\nphrases = []",
        UNREADABLE,
    ],
)
def test_a_list_that_cannot_be_read_is_named(tmp_path: Path, written: str) -> None:
    (tmp_path / "own.toml").write_text(written)
    with pytest.raises(ListError, match=r"own\.toml"):
        ListCheck([tmp_path])


def test_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ListError, match="is no folder"):
        ListCheck([tmp_path / "missing"])


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


@pytest.mark.parametrize("speaker", Speaker)
def test_nothing_in_the_demo_is_found(speaker: Speaker) -> None:
    seeds = sorted((PACKAGE / "sandbox" / "seeds").glob("*.json"))
    texts = [text for seed in seeds for text in _texts(json.loads(seed.read_text("utf-8")))]
    assert len(texts) > 100
    assert [text for text in texts if list_check().look_at(text, speaker)] == []
