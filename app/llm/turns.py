"""A request as the chat interfaces of large models want it."""

from collections.abc import Sequence

from app.llm.interface import ChatRequest, Line, Speaker
from app.llm.model import Request

ROLES = {Speaker.STUDENT: "user", Speaker.PERSONA: "assistant"}
# Several servers answer nothing to a conversation without a user in it.
CUE = {"role": "user", "content": "(The conversation begins. Speak first.)"}

Turn = dict[str, str]


def turns_of(request: Request) -> list[Turn]:
    """Return what was said, as messages of roles that alternate, the user's first."""
    if isinstance(request, ChatRequest):
        return _alternating(request.lines)
    return [{"role": "user", "content": request.prompt}]


def words_of(request: Request) -> tuple[str, ...]:
    """Return everything in a request that no log is to quote."""
    if isinstance(request, ChatRequest):
        return (request.instructions, request.brief, request.facts, *(line.text for line in request.lines))
    return (request.instructions, request.prompt)


def _alternating(lines: Sequence[Line]) -> list[Turn]:
    """Some chat templates accept nothing else."""
    turns = [] if lines and lines[0].speaker is Speaker.STUDENT else [dict(CUE)]
    for line in lines:
        if turns and turns[-1]["role"] == ROLES[line.speaker]:
            turns[-1]["content"] += f"\n\n{line.text}"
        else:
            turns.append({"role": ROLES[line.speaker], "content": line.text})
    return turns
