"""The rules of an experience's fields."""

import pytest

from app.database import utc_now
from app.errors import FieldError, InvalidInputError
from app.experiences.models import Experience, WorkflowState
from app.experiences.rules import check_fields

GOOD = {"title": "T", "pedagogical_guidance": "G", "learning_objectives": ["O"]}
METRIC = {"name": "Empathy", "description": "", "enabled": True, "visible_to_learners": False}


def problems(raw: dict[str, object], experience: Experience | None = None) -> dict[str, list[FieldError]]:
    with pytest.raises(InvalidInputError) as refusal:
        check_fields(raw, experience)
    return refusal.value.errors


def saved(**changes: object) -> Experience:
    return Experience(**check_fields(GOOD | changes).as_columns())


def test_only_what_is_required_is_required() -> None:
    fields = check_fields(GOOD)
    assert (fields.title, fields.description, fields.opening_line) == ("T", "", "")
    assert (fields.evaluation_metrics, fields.max_turns) == ([], None)


def test_text_is_cleaned() -> None:
    fields = check_fields(
        GOOD | {"title": " a\n b ", "facts": "x\r\ny\x00\ud800", "learning_objectives": ["", " a\nb "]}
    )
    assert (fields.title, fields.facts, fields.learning_objectives) == ("a b", "x\ny", ["a b"])


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("title", "", "blank"),
        ("title", None, "blank"),
        ("title", "\x00\ud800", "blank"),
        ("title", 7, "invalid"),
        ("title", ["T"], "invalid"),
        ("title", "x" * 256, "too_long"),
        ("pedagogical_guidance", " ", "blank"),
        ("description", "x" * 10_001, "too_long"),
        ("description", {"text": "x"}, "invalid"),
        ("facts", False, "invalid"),
        ("learning_objectives", [], "blank"),
        ("learning_objectives", None, "blank"),
        ("learning_objectives", [None, " "], "blank"),
        ("learning_objectives", "O", "invalid"),
        ("learning_objectives", ["O", 7], "invalid"),
        ("learning_objectives", [["O"]], "invalid"),
        ("learning_objectives", ["x"] * 11, "too_many"),
        ("learning_objectives", ["x"] * 100_000, "too_many"),
        ("learning_objectives", ["x" * 5_000] * 3, "too_long"),
        ("max_turns", True, "not_an_integer"),
        ("max_turns", 3.0, "not_an_integer"),
        ("max_turns", "3.5", "not_an_integer"),
        ("max_turns", "٣", "not_an_integer"),
        ("max_turns", "9" * 5_000, "not_an_integer"),
        ("max_turns", [3], "not_an_integer"),
        ("max_turns", 0, "greater_than_or_equal_to"),
        ("max_turns", "-1", "greater_than_or_equal_to"),
        ("max_turns", 201, "less_than_or_equal_to"),
        ("max_turns", 10**400, "less_than_or_equal_to"),
        ("evaluation_metrics", "Empathy", "invalid"),
        ("evaluation_metrics", {"name": "Empathy"}, "invalid"),
        ("evaluation_metrics", [METRIC] * 6, "too_many"),
    ],
)
def test_each_broken_rule_is_named(name: str, value: object, kind: str) -> None:
    assert [error.type for error in problems(GOOD | {name: value})[name]] == [kind]


def test_every_broken_rule_is_named_at_once() -> None:
    assert set(problems({})) == {"title", "pedagogical_guidance", "learning_objective"}
    bad = {"title": "", "facts": 7, "max_turns": 0, "learning_objectives": []}
    assert set(problems(GOOD | bad)) == {"title", "facts", "max_turns", "learning_objectives"}


def test_what_is_no_field_is_passed_over() -> None:
    assert check_fields(GOOD | {"id": 7, "script": {}, "version": 9}) == check_fields(GOOD)


@pytest.mark.parametrize(
    ("value", "limit"), [(None, None), ("", None), (" ", None), (1, 1), ("12", 12), (200, 200)]
)
def test_turns_may_be_limited(value: object, limit: int | None) -> None:
    assert check_fields(GOOD | {"max_turns": value}).max_turns == limit


def test_objectives_may_come_as_a_text_with_one_in_each_line() -> None:
    text = {"title": "T", "pedagogical_guidance": "G", "learning_objective": " Listen \r\n\n Solve  it\n"}
    assert check_fields(text).learning_objectives == ["Listen", "Solve it"]
    assert saved(learning_objectives=["Listen", "Solve it"]).learning_objective == "Listen\nSolve it"


@pytest.mark.parametrize(
    ("value", "kind"), [(" \n ", "blank"), (None, "blank"), (["O"], "invalid"), ("x\n" * 11, "too_many")]
)
def test_a_text_of_objectives_has_the_rules_of_the_list(value: object, kind: str) -> None:
    errors = problems({"title": "T", "pedagogical_guidance": "G", "learning_objective": value})
    assert {name: [error.type for error in found] for name, found in errors.items()} == {
        "learning_objective": [kind]
    }


def test_text_and_list_of_objectives_may_say_the_same() -> None:
    both = GOOD | {"learning_objectives": ["A", "B"], "learning_objective": "A\nB"}
    assert check_fields(both).learning_objectives == ["A", "B"]


def test_text_and_list_that_contradict_each_other_are_refused() -> None:
    both = {"learning_objectives": ["A"], "learning_objective": "B"}
    assert problems(GOOD | both)["learning_objective"][0].message == "contradicts learning_objectives"
    assert problems(both, saved())["learning_objective"][0].message == "contradicts learning_objectives"


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_objectives": ["O"], "learning_objective": "New"},
        {"learning_objectives": ["New"], "learning_objective": "O"},
    ],
)
def test_a_script_may_send_back_what_it_has_read_with_one_of_them_changed(changed: dict[str, object]) -> None:
    assert check_fields(changed, saved()).learning_objectives == ["New"]


def test_what_is_not_sent_stays() -> None:
    before = saved(facts="F", max_turns=3, evaluation_metrics=[METRIC], learning_objectives=["A", "B"])
    after = check_fields({"title": "New"}, before)
    assert after == check_fields(
        GOOD
        | {"title": "New", "facts": "F", "max_turns": 3}
        | {"evaluation_metrics": [METRIC], "learning_objectives": ["A", "B"]}
    )


def test_none_empties_what_may_be_empty() -> None:
    before = saved(facts="F", max_turns=3, evaluation_metrics=[METRIC])
    after = check_fields({"facts": None, "max_turns": None, "evaluation_metrics": None}, before)
    assert (after.facts, after.max_turns, after.evaluation_metrics) == ("", None, [])
    assert [error.type for error in problems({"title": None}, before)["title"]] == ["blank"]


def test_metrics_are_cleaned_and_filled_up() -> None:
    raw = [
        {"name": " Em\x00pathy ", "visible_to_learners": "true", "enabled": "0", "id": 7},
        {"name": "Structure", "description": "a\r\nb ", "enabled": None},
    ]
    assert check_fields(GOOD | {"evaluation_metrics": raw}).evaluation_metrics == [
        {"name": "Empathy", "description": "", "enabled": False, "visible_to_learners": True},
        {"name": "Structure", "description": "a\nb", "enabled": True, "visible_to_learners": False},
    ]


@pytest.mark.parametrize(
    ("metric", "kind", "message"),
    [
        ({}, "blank", "entry 2: name can't be blank"),
        ({"name": " \n"}, "blank", "entry 2: name can't be blank"),
        ({"name": "a\nb"}, "invalid", "entry 2: name must be one line"),
        ({"name": 7}, "invalid", "entry 2: name must be text"),
        ({"name": "x" * 256}, "too_long", "entry 2: name is too long (maximum is 255 characters)"),
        ({"name": "EMPATHY "}, "taken", "entry 2: name has already been taken"),
        (
            {"name": "N", "description": "x" * 10_001},
            "too_long",
            "entry 2: description is too long (maximum is 10000 characters)",
        ),
        ({"name": "N", "enabled": 1}, "invalid", "entry 2: enabled must be true or false"),
        ({"name": "N", "enabled": "maybe"}, "invalid", "entry 2: enabled must be true or false"),
        (
            {"name": "N", "visible_to_learners": []},
            "invalid",
            "entry 2: visible_to_learners must be true or false",
        ),
        ("Empathy", "invalid", "entry 2: must have a name"),
        (None, "invalid", "entry 2: must have a name"),
    ],
)
def test_each_broken_rule_of_a_metric_is_named(metric: object, kind: str, message: str) -> None:
    found = problems(GOOD | {"evaluation_metrics": [METRIC, metric]})["evaluation_metrics"]
    assert [(error.type, error.message, error.entry) for error in found] == [(kind, message, 2)]


def test_all_that_is_wrong_with_metrics_is_named_at_once() -> None:
    found = problems(GOOD | {"evaluation_metrics": [{}, METRIC, {"name": "", "enabled": 7}]})
    assert [error.entry for error in found["evaluation_metrics"]] == [1, 3, 3]


@pytest.mark.parametrize("value", ["deleted", "Published", "", None, True, 1, ["published"], {}])
def test_an_experience_is_published_or_unpublished(value: object) -> None:
    errors = problems(GOOD | {"workflow_state": value})
    assert errors["workflow_state"] == [FieldError("inclusion", "is not included in the list")]


def test_a_new_experience_is_unpublished_unless_it_says_otherwise() -> None:
    assert check_fields(GOOD).workflow_state is WorkflowState.UNPUBLISHED
    assert check_fields(GOOD | {"workflow_state": "published"}).workflow_state is WorkflowState.PUBLISHED


def test_what_has_begun_stays_published() -> None:
    begun = saved(workflow_state="published")
    begun.started_at = utc_now()
    found = problems({"workflow_state": "unpublished", "title": ""}, begun)
    assert {name: error.type for name, [error] in found.items()} == {
        "workflow_state": "started",
        "title": "blank",
    }
    assert check_fields({"title": "New"}, begun).workflow_state is WorkflowState.PUBLISHED
