"""Scores the configured judge on the labelled set.

    python -m tests.judgement.score                  # the model of LLM_JUDGE_MODEL, or of the other LLM_* settings
    python -m tests.judgement.score --kind negated --jobs 4 --json

A decision is one objective of one transcript. What is scored is what the tool would record: a model's word without a
quote that proves it counts as "not covered".
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from app.conversations.judge import judge
from app.llm.interface import ModelAdapter, ModelError
from app.llm.selection import build_judge
from app.settings import load_settings
from tests.judgement.transcripts import Transcript, read_transcripts


@dataclass(frozen=True)
class Decisions:
    """What a model made of one transcript: for each objective, what is right and what was recorded.

    ``unproved`` counts what it held covered without proof; ``error`` says why it gave no answer.
    """

    transcript: Transcript
    recorded: list[bool]
    unproved: int = 0
    model: str = ""
    error: str = ""


@dataclass
class Tally:
    """How many decisions there were, and how they turned out."""

    decisions: int = 0
    right: int = 0
    false_credits: int = 0
    misses: int = 0
    unproved: int = 0
    failures: int = 0
    accuracy: float = 0.0

    def add(self, decided: Decisions) -> None:
        pairs = list(zip(decided.transcript.expected, decided.recorded, strict=True))
        self.decisions += len(pairs)
        self.right += sum(expected == recorded for expected, recorded in pairs)
        self.false_credits += sum(recorded and not expected for expected, recorded in pairs)
        self.misses += sum(expected and not recorded for expected, recorded in pairs)
        self.unproved += decided.unproved
        self.failures += bool(decided.error)
        self.accuracy = round(self.right / self.decisions, 3)


@dataclass
class Report:
    """The score of a model. ``always_no`` is the accuracy of one that covers nothing."""

    models: list[str]
    transcripts: int
    total: Tally
    always_no: float
    kinds: dict[str, Tally] = field(default_factory=dict)
    mistakes: list[dict[str, Any]] = field(default_factory=list)


def decide(model: ModelAdapter, transcript: Transcript) -> Decisions:
    """Judge one transcript, all of it at once."""
    positions = range(len(transcript.scenario.objectives))
    try:
        judgement = judge(model, transcript.conversation, transcript.messages, positions)
    except ModelError as error:
        return Decisions(transcript, [False for _ in positions], error=str(error))
    credited = {credit.position for credit in judgement.credits}
    recorded = [position in credited for position in positions]
    return Decisions(transcript, recorded, judgement.unproved, judgement.model)


def report_on(decided: Sequence[Decisions]) -> Report:
    """Add up the decisions."""
    total, kinds = Tally(), {each.transcript.kind: Tally() for each in decided}
    for each in decided:
        total.add(each)
        kinds[each.transcript.kind].add(each)
    expected = [covered for each in decided for covered in each.transcript.expected]
    return Report(
        models=sorted({each.model for each in decided if each.model}),
        transcripts=len(decided),
        total=total,
        always_no=round(expected.count(False) / len(expected), 3),
        kinds=kinds,
        mistakes=[mistake for each in decided for mistake in _mistakes(each)],
    )


def _mistakes(decided: Decisions) -> Iterable[dict[str, Any]]:
    objectives = decided.transcript.scenario.objectives
    outcomes = zip(objectives, decided.transcript.expected, decided.recorded, strict=True)
    for objective, expected, recorded in outcomes:
        if expected != recorded:
            mistake = "false credit" if recorded else "miss"
            yield {
                "transcript": decided.transcript.id,
                "objective": objective,
                "mistake": mistake,
                "error": decided.error,
            }


def in_words(report: Report) -> str:
    """Return the report as a table for people."""
    columns = ("decisions", "accuracy", "false credits", "misses", "unproved", "failures")
    head = f"{'kind':22}" + "".join(f"{column:>15}" for column in columns)
    rows = [
        f"{kind:22}{tally.decisions:>15}{tally.accuracy:>15.0%}{tally.false_credits:>15}{tally.misses:>15}"
        f"{tally.unproved:>15}{tally.failures:>15}"
        for kind, tally in [*report.kinds.items(), ("all", report.total)]
    ]
    mistakes = [
        f"  {each['mistake']:13}{each['transcript']}: {each['objective']}" for each in report.mistakes
    ]
    about = f"{', '.join(report.models) or 'no model answered'}, {report.transcripts} transcripts"
    yardstick = f'Who always says "not covered" is right in {report.always_no:.0%}.'
    return "\n".join(
        [about, "", head, *rows, "", yardstick, *(["", "Mistakes:", *mistakes] if mistakes else [])]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Score and print; 1 where no model answered at all."""
    asked = _parser().parse_args(arguments)
    model = build_judge(load_settings())
    chosen = [each for each in read_transcripts() if asked.kind in {None, each.kind}]
    with ThreadPoolExecutor(asked.jobs) as pool:
        report = report_on(list(pool.map(lambda transcript: decide(model, transcript), chosen)))
    print(json.dumps(asdict(report), ensure_ascii=False, indent=2) if asked.json else in_words(report))
    return 0 if report.models else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.judgement.score", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--kind", choices=sorted({each.kind for each in read_transcripts()}), help="only these"
    )
    parser.add_argument("--jobs", type=int, default=1, help="how many to judge at once (1)")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs to read")
    return parser


if __name__ == "__main__":
    sys.exit(main())
