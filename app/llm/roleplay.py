"""The embedded model's prompts. In this layout it keeps to its part; in a chat template it plays the other."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from app.llm.embedded.facts import SLOT_TOKENS
from app.llm.interface import ChatRequest, Line, Speaker, StructuredRequest
from app.llm.structured import in_words

REPLY_TOKENS: Final = 80
NAMELESS = "Character"
OTHER = "Student"
# The roles are swapped on purpose: the persona is the model's user, the student its assistant.
ROLES = {Speaker.PERSONA: "user", Speaker.STUDENT: "assistant"}
SYSTEM = (
    "<|im_start|>system\nThis is a role-play. The user plays {name}. The assistant plays the {other}.\n\n"
    "Notes given to the user who plays {name}:\n{persona}<|im_end|>\n"
)
TURN = "<|im_start|>{role}\n{name}: {text}<|im_end|>\n"
CUE = "<|im_start|>user\n{name}:"
# A question is asked in the chat template as it is meant.
QUESTION = "<|im_start|>system\n{instructions}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
TOKEN = re.compile(r"<\|.*?\|>|<\||\|>", re.DOTALL)
FRAME_TOKENS = 64
TURN_TOKENS = 12
BRIEF_TOKENS = 2_000
LINE_TOKENS = 1_000
# When lines must go, this share of the room stays taken, so that many turns can follow: each cut makes the
# model read everything anew.
KEPT_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Fit:
    """How text is counted in tokens before it is sent, without asking the model."""

    bytes_per_token: int

    def tokens(self, text: str) -> int:
        """Estimate how many tokens a text is."""
        return len(text.encode()) // self.bytes_per_token + 1

    def clip(self, text: str, tokens: int) -> str:
        """Cut a text to so many tokens."""
        return text.encode()[: tokens * self.bytes_per_token].decode(errors="ignore")


# Words take four bytes a token and more, digits one each. No text has more tokens than bytes.
USUAL: Final = Fit(bytes_per_token=3)
CAUTIOUS: Final = Fit(bytes_per_token=1)


def persona_name(request: ChatRequest) -> str:
    """Return the name that the persona goes by in the prompt."""
    return _clean(request.persona_name) or NAMELESS


def compose_prompt(request: ChatRequest, fit: Fit, *, cue: bool = True) -> str:
    """Write the prompt for the next reply; without ``cue`` only what stays when the student adds a line."""
    name = persona_name(request)
    brief = fit.clip(_clean(request.brief), BRIEF_TOKENS)
    turns = [_turn(line, name, fit) for line in request.lines]
    room = SLOT_TOKENS - REPLY_TOKENS - FRAME_TOKENS - fit.tokens(brief)
    kept = turns[first_kept([fit.tokens(turn) + TURN_TOKENS for turn in turns], room) :]
    system = SYSTEM.format(name=name, other=OTHER.lower(), persona=brief)
    return system + "".join(kept) + (CUE.format(name=name) if cue else "")


def compose_question(request: StructuredRequest) -> str:
    """Write the prompt for a structured answer; what every question has in common comes first."""
    instructions = _clean(request.instructions) + in_words(request.schema)
    return QUESTION.format(instructions=instructions, prompt=_clean(request.prompt))


def first_kept(costs: Sequence[int], room: int) -> int:
    """Return the first turn that stays: the same one while turns are added, until the room is full."""
    spent = [0, *accumulate(costs)]
    first = 0
    for last in range(len(costs)):
        if spent[last + 1] - spent[first] > room:
            first = next(
                (turn for turn in range(first, last) if spent[last + 1] - spent[turn] <= room * KEPT_SHARE),
                last,
            )
    return first


def _turn(line: Line, name: str, fit: Fit) -> str:
    speaker = name if line.speaker is Speaker.PERSONA else OTHER
    # A turn is one line: the model ends its own at a line break.
    text = fit.clip(" ".join(_clean(line.text).split()), LINE_TOKENS)
    return TURN.format(role=ROLES[line.speaker], name=speaker, text=text)


def _clean(text: str) -> str:
    """Take out what the model would read as the frame of the conversation."""
    while TOKEN.search(text):
        text = TOKEN.sub("", text)
    return text.strip()
