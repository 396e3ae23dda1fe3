"""Reads the labelled set: `scenarios.toml`, and a file of transcripts for each kind."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from app.conversations.models import Conversation, Message
from app.conversations.prompt import PROMPT_VERSION
from app.llm.interface import Speaker

FOLDER = Path(__file__).parent
SPEAKERS = {"Student": Speaker.STUDENT, "Persona": Speaker.PERSONA}


class Scenario(BaseModel):
    """What a transcript is about."""

    model_config = ConfigDict(extra="forbid")

    title: str
    description: str
    facts: str
    objectives: list[str]


class Covered(BaseModel):
    """An objective that a transcript covers, with words that prove it; both numbers count from 1."""

    model_config = ConfigDict(extra="forbid")

    objective: int
    message: int
    quote: str


class Transcript(BaseModel):
    """A short conversation; every objective of its scenario that is not in ``covered`` is not covered."""

    model_config = ConfigDict(extra="forbid")

    id: str
    kind: str
    about: str
    scenario: Scenario
    talk: list[str]
    covered: list[Covered] = []

    @property
    def expected(self) -> list[bool]:
        """For each objective, whether it is covered."""
        shown = {covered.objective for covered in self.covered}
        return [number in shown for number, _ in enumerate(self.scenario.objectives, 1)]

    @property
    def conversation(self) -> Conversation:
        """The transcript as the tool has a conversation."""
        scenario = self.scenario.model_dump()
        told = scenario | {"learning_objectives": scenario.pop("objectives"), "pedagogical_guidance": "-"}
        return Conversation(
            id=1, experience_id=1, user_id=1, scenario=told, prompt_version=PROMPT_VERSION, judged_until=0
        )

    @property
    def messages(self) -> list[Message]:
        """What was said; each message's id is its number."""
        lines = [line.split(": ", 1) for line in self.talk]
        return [
            Message(id=number, conversation_id=1, speaker=SPEAKERS[speaker], text=text)
            for number, (speaker, text) in enumerate(lines, 1)
        ]


def read_transcripts() -> Sequence[Transcript]:
    """Return the whole set."""
    scenarios = tomllib.loads((FOLDER / "scenarios.toml").read_text())
    return [
        Transcript.model_validate(entry | {"kind": path.stem, "scenario": scenarios[entry["scenario"]]})
        for path in sorted((FOLDER / "transcripts").glob("*.toml"))
        for entry in tomllib.loads(path.read_text())["transcript"]
    ]
