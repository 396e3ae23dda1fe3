"""What a judge says of a conversation, for the fake model to answer with."""

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
