"""An evaluation speaks of every objective and metric, and its key moments stand in the conversation."""

from typing import Any

import pytest

from app.conversations.evaluator import NOT_LOOKED_AT, evaluate
from app.conversations.models import MessageState
from app.conversations.prompt import brief_evaluator
from app.llm.interface import ModelError
from app.llm.scripted import ScriptedAdapter
from tests.unit.conversations.talk import OBJECTIVES, TALK, Model, conversation, messages

METRICS = [
    {"name": "Empathy", "description": "Takes worries seriously", "visible_to_learners": True},
    {"name": "Off", "enabled": False},
    {"name": "Plain words"},
]


def assessment(**changes: Any) -> dict[str, Any]:
    """Return what a model says that does as it is told."""
    view = {"explanation": "Because.", "score": 70}
    return {
        "overall_assessment": "The student asked and explained.",
        "overall_score": 81,
        "strengths": ["Asks openly"],
        "areas_for_improvement": ["No agreement was sought"],
        "key_moments": [{"objective": 2, "message": 4, "quote": "antibiotics only kill bacteria"}],
        "objectives": [{"objective": number, "met": number < 3, **view} for number in (3, 1, 2)],
        "metrics": [{"metric": number, **view} for number in (1, 2)],
    } | changes


def result(**changes: Any) -> dict[str, Any]:
    told = conversation(evaluation_metrics=METRICS)
    return evaluate(Model(assessment(**changes)), told, messages(), {}).result


def test_the_result_has_the_shape_of_the_rest_api() -> None:
    assert result() == {
        "overall_assessment": "The student asked and explained.",
        "overall_score": 81,
        "strengths": ["Asks openly"],
        "areas_for_improvement": ["No agreement was sought"],
        "key_moments": [
            {
                "learning_objective": OBJECTIVES[1],
                "evidence": "Antibiotics only kill bacteria",
                "message_number": 4,
            }
        ],
        "learning_objectives_evaluation": [
            {"objective": text, "met": number < 2, "score": 70, "explanation": "Because."}
            for number, text in enumerate(OBJECTIVES)
        ],
        "evaluation_metrics": [
            {"name": "Empathy", "score": 70, "explanation": "Because.", "visible_to_learners": True},
            {"name": "Plain words", "score": 70, "explanation": "Because.", "visible_to_learners": False},
        ],
    }


@pytest.mark.parametrize(
    "moment",
    [
        {"objective": 2, "message": 4, "quote": "Antibiotics never kill viruses"},
        {"objective": 2, "message": 1, "quote": "they help against all kinds of germs"},
        {"objective": 4, "message": 4, "quote": "Antibiotics only kill bacteria"},
        {"objective": 0, "message": 4, "quote": "Antibiotics only kill bacteria"},
    ],
)
def test_a_key_moment_that_does_not_stand_there_is_dropped(moment: dict[str, Any]) -> None:
    assert result(key_moments=[moment])["key_moments"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"overall_score": 101},
        {"overall_score": -1},
        {"overall_assessment": " "},
        {"objectives": assessment()["objectives"][1:]},
        {"objectives": assessment()["objectives"] * 2},
        {"metrics": []},
    ],
)
def test_an_evaluation_that_is_not_whole_is_asked_for_again(wrong: dict[str, Any]) -> None:
    model = Model(assessment(**wrong), assessment())
    evaluated = evaluate(model, conversation(evaluation_metrics=METRICS), messages(), {})
    assert evaluated.result["overall_score"] == 81
    assert len(model.requests) == 2
    with pytest.raises(ModelError):
        evaluate(Model(assessment(**wrong)), conversation(evaluation_metrics=METRICS), messages(), {})


def test_controls_are_left_out_of_what_a_model_writes() -> None:
    assert result(strengths=["A\x00sks", " "])["strengths"] == ["Asks"]


def test_a_text_that_is_too_long_is_cut() -> None:
    assert result(overall_assessment="x" * 5_000)["overall_assessment"] == "x" * 3_999 + "…"


def test_the_evaluator_is_told_the_metrics_that_are_enabled() -> None:
    brief = brief_evaluator(conversation(evaluation_metrics=METRICS), messages(), {}, 30_000)
    assert "1. Empathy: Takes worries seriously\n2. Plain words\n" in brief.instructions
    assert "None.\n" in brief_evaluator(conversation(), messages(), {}, 30_000).instructions


def test_of_a_long_conversation_the_newest_is_read_and_what_is_left_out_is_said() -> None:
    talk = [("student" if number % 2 else "persona", f"{number} " + "word " * 300) for number in range(60)]
    brief = brief_evaluator(conversation(), messages(talk), {}, 8_000)
    assert len((brief.instructions + brief.prompt).encode()) / 3 <= 8_000
    assert max(brief.said) == 60
    assert f"Its first {60 - len(brief.said)} messages are left out" in brief.prompt
    assert "left out" not in brief_evaluator(conversation(), messages(), {}, 30_000).prompt


def test_what_a_teacher_has_decided_stands_whatever_the_model_says() -> None:
    model = Model(assessment(metrics=[]))
    evaluated = evaluate(model, conversation(), messages(), {2: True, 0: False})
    views = evaluated.result["learning_objectives_evaluation"]
    assert [view["met"] for view in views] == [False, True, True]
    decided, talk = model.requests[0].prompt.split("<conversation>")
    assert "- Objective 1 is not met.\n- Objective 3 is met.\n" in decided
    assert "Objective 2" not in decided
    assert "decided" not in brief_evaluator(conversation(), messages(), {}, 30_000).prompt + talk


def test_messages_keep_their_numbers_where_a_reply_is_missing() -> None:
    said = messages([*TALK, ("persona", ""), ("student", "And you should come back on Friday.")])
    said[4].state = MessageState.FAILED
    moment = {"objective": 3, "message": 6, "quote": "you should come back on Friday"}
    evaluated = evaluate(Model(assessment(key_moments=[moment], metrics=[])), conversation(), said, {})
    assert evaluated.result["key_moments"][0]["message_number"] == 6


def test_the_scripted_demo_counts_words_and_says_so() -> None:
    scripted = conversation(script={"objectives": [["since"], ["cell wall"], ["cough"]]})
    evaluated = evaluate(ScriptedAdapter(), scripted, messages(), {})
    assert evaluated.model == "Scripted demo"
    assert evaluated.result["overall_score"] == 33
    assert [view["met"] for view in evaluated.result["learning_objectives_evaluation"]] == [
        True,
        False,
        False,
    ]
    assert evaluated.result["key_moments"][0]["message_number"] == 2
    assert "No AI model" in evaluated.result["overall_assessment"]


def test_the_scripted_demo_gives_no_score_for_what_it_does_not_look_at() -> None:
    scripted = conversation(script={"objectives": [["since"], ["cell wall"]]}, evaluation_metrics=METRICS)
    result = evaluate(ScriptedAdapter(), scripted, messages(), {}).result
    assert [view["objective"] for view in result["learning_objectives_evaluation"]] == OBJECTIVES[:2]
    assert (result["overall_score"], result["evaluation_metrics"]) == (50, [])
    assert "Words for 1 of 2 learning objectives" in result["overall_assessment"]


def test_nobody_talks_a_model_into_leaving_an_objective_out() -> None:
    view = {"explanation": NOT_LOOKED_AT, "score": 0}
    told = result(
        objectives=[{"objective": number, "met": False, **view} for number in (1, 2, 3)],
        metrics=[{"metric": number, **view} for number in (1, 2)],
    )
    assert len(told["learning_objectives_evaluation"]) == 3
    assert len(told["evaluation_metrics"]) == 2


def test_the_scripted_demo_says_so_where_it_has_no_words() -> None:
    result = evaluate(ScriptedAdapter(), conversation(), messages(), {}).result
    assert result["learning_objectives_evaluation"] == result["areas_for_improvement"] == []
    assert "It has no words" in result["overall_assessment"]


def test_the_scripted_demo_counts_a_teachers_decision_in_place_of_words() -> None:
    scripted = conversation(script={"objectives": [["since"], ["cell wall"]]})
    result = evaluate(ScriptedAdapter(), scripted, messages(), {0: False, 2: True}).result
    assert (result["overall_score"], result["strengths"], result["key_moments"]) == (33, OBJECTIVES[2:], [])
    views = [(view["met"], view["explanation"]) for view in result["learning_objectives_evaluation"]]
    assert views == [
        (False, "A teacher decided this."),
        (False, "No words for it were found."),
        (True, "A teacher decided this."),
    ]
    counted = "Words for 0 of 1 learning objectives were found. Decided by a teacher: 2."
    assert counted in result["overall_assessment"]
