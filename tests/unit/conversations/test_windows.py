"""What is asked about long conversations fits into the windows of models, the embedded one's too."""

from pathlib import Path

import pytest

from app.conversations.evaluator import evaluate
from app.conversations.judge import judge
from app.llm.embedded.facts import SLOT_TOKENS
from app.llm.interface import ModelError, ModelErrorCode, StructuredRequest
from app.llm.roleplay import compose_question
from app.llm.selection import build_adapter, build_judge
from app.settings import Settings
from app.text import estimate_tokens
from tests.unit.conversations.talk import Model, conversation, messages

LONG = [("student" if number % 2 else "persona", f"{number} " + "word " * 250) for number in range(60)]
FACTS = "A fact that is true. " * 45


def asked(kind: str, context_tokens: int) -> StructuredRequest:
    model = Model(ModelError(ModelErrorCode.BUSY), context_tokens=context_tokens)
    told = conversation(facts=FACTS)
    with pytest.raises(ModelError):
        if kind == "judge":
            judge(model, told, messages(LONG), [0, 1, 2])
        else:
            evaluate(model, told, messages(LONG), {0: True, 1: False, 2: True})
    return model.requests[0]


@pytest.mark.parametrize("kind", ["judge", "evaluator"])
def test_questions_fit_into_the_embedded_models_slot(kind: str, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, llm_provider="local", local_model_state=tmp_path / "state.json")
    request = asked(kind, build_judge(settings).context_tokens)
    assert '"number":' in request.prompt
    assert estimate_tokens(compose_question(request)) + request.max_tokens <= SLOT_TOKENS
    assert build_adapter(settings).context_tokens > SLOT_TOKENS


@pytest.mark.parametrize("kind", ["judge", "evaluator"])
@pytest.mark.parametrize("context_tokens", [8_000, 32_000, 128_000])
def test_questions_fit_into_a_window_and_use_it(kind: str, context_tokens: int) -> None:
    request = asked(kind, context_tokens)
    took = estimate_tokens(request.instructions) + estimate_tokens(request.prompt) + request.max_tokens
    whole = estimate_tokens(" ".join(text for _, text in LONG))
    assert min(context_tokens - 1_000, whole) <= took <= context_tokens
