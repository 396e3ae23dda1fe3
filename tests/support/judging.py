"""What a judge says of a conversation, for the fake model to answer with."""

import threading
from typing import Any

from flask import Flask

from app.conversations.judges import Judges

PATIENCE = 20.0


def finding(objective: int, message: int = 0, quote: str = "", *, covered: bool = True) -> dict[str, Any]:
    """Say of an objective that a message shows it. Both go by their numbers, from 1."""
    return {"objective": objective, "reason": "", "covered": covered, "message": message, "quote": quote}


def findings(*found: dict[str, Any]) -> dict[str, Any]:
    return {"objectives": list(found)}


def wait_for_judge(app: Flask, conversation_id: int) -> None:
    judges: Judges = app.extensions["judges"]
    assert judges.wait_for(conversation_id, PATIENCE), "the judge is still at it"


def assessment(objectives: int, metrics: int = 0, **changes: Any) -> dict[str, Any]:
    """Say of a conversation what an evaluator says that does as it is told."""
    view = {"explanation": "Because.", "score": 70}
    return {
        "overall_assessment": "The student listened.",
        "overall_score": 81,
        "strengths": ["Listens"],
        "areas_for_improvement": ["Offers nothing"],
        "key_moments": [],
        "objectives": [{"objective": number + 1, "met": True, **view} for number in range(objectives)],
        "metrics": [{"metric": number + 1, **view} for number in range(metrics)],
    } | changes


def wait_for_evaluation(app: Flask, conversation_id: int) -> None:
    for thread in threading.enumerate():
        if thread.name == f"evaluation-{conversation_id}":
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the evaluation is still being written"
