"""The models that are there to try the tool with: pages say what their word is worth, wherever it is shown."""

from enum import StrEnum

from app.llm.embedded.facts import MODEL_NAME
from app.llm.interface import ModelStatus
from app.llm.scripted import SCRIPTED_NAME


class Demo(StrEnum):
    """What kind of a demo model it is."""

    SCRIPTED = "scripted"
    EMBEDDED = "embedded"


_NAMES = {SCRIPTED_NAME: Demo.SCRIPTED, MODEL_NAME: Demo.EMBEDDED}


def demo_named(model: str | None) -> Demo | None:
    """Tell what kind of a demo model has this name; None for a real one."""
    return _NAMES.get(model or "")


def demo_now(status: ModelStatus) -> Demo | None:
    """Tell what kind of a demo model answers now; None for a real one."""
    if status.scripted:
        return Demo.SCRIPTED
    return Demo.EMBEDDED if status.embedded else None
