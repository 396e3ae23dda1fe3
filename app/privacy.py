"""The page that tells people what is kept of them, who reads it, and what is sent where."""

from collections import defaultdict
from collections.abc import Iterable
from urllib.parse import urlsplit

from flask import Blueprint, render_template

from app.llm.choice import ModelChoice
from app.web import current_settings

blueprint = Blueprint("privacy", __name__)


@blueprint.get("/privacy")
def show() -> str:
    """What holds for everybody, with the servers that this installation's settings name."""
    settings = current_settings()
    moderation = settings.moderation_model
    return render_template(
        "privacy.html",
        models=_by_host([*settings.conversation_models, *settings.judge_models]),
        moderation=_by_host([moderation] if moderation else []),
    )


def _by_host(choices: Iterable[ModelChoice]) -> dict[str, list[str]]:
    """Return the names of the models by the host that serves them; those within the tool are no one's to name."""
    models: defaultdict[str, list[str]] = defaultdict(list)
    for choice in choices:
        host = urlsplit(choice.base_url).hostname
        if host and choice.model not in models[host]:
            models[host].append(choice.model)
    return dict(models)
