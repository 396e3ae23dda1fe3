"""The published endpoints: experiences."""

from tests.support.api import Script

NEW = {
    "title": "Customer Service Simulation",
    "description": "Practice customer service skills in a simulated environment",
    "facts": "You are a customer service representative...",
    "learning_objective": "Listen actively\nSolve the problem",
    "pedagogical_guidance": "A customer is calling about a billing issue",
}


def test_a_teacher_creates_edits_publishes_and_deletes(teachers_script: Script) -> None:
    created = teachers_script.post(json={"ai_experience": NEW})
    assert created.status_code == 201, created.text
    experience = created.json
    assert experience | NEW == experience
    assert experience["workflow_state"] == "unpublished"
    assert experience["course_id"] == 1101
    path = f"/{experience['id']}"
    edited = teachers_script.put(path, data={"title": "Another title", "workflow_state": "published"})
    assert edited.status_code == 200, edited.text
    assert (edited.json["title"], edited.json["workflow_state"]) == ("Another title", "published")
    deleted = teachers_script.delete(path)
    assert (deleted.status_code, deleted.json["workflow_state"]) == (200, "deleted")
    assert teachers_script.get(path).status_code == 404


def test_students_list_what_is_published(teachers_script: Script, students_script: Script) -> None:
    teachers_script.post(json=NEW)
    teachers_script.post(json=NEW | {"workflow_state": "published"})
    (seen,) = students_script.get(".json").json
    assert seen["workflow_state"] == "published"
    assert seen["submission_status"] == "not_started"
    assert "facts" not in seen


def test_students_see_the_metrics_that_are_for_them(teachers_script: Script, students_script: Script) -> None:
    metrics = [
        {
            "name": f"{enabled} {visible}",
            "description": "",
            "enabled": enabled,
            "visible_to_learners": visible,
        }
        for enabled in (True, False)
        for visible in (True, False)
    ]
    new = NEW | {"workflow_state": "published", "evaluation_metrics": metrics}
    created = teachers_script.post(json=new).json
    assert created["evaluation_metrics"] == metrics
    (listed,) = students_script.get().json
    shown = students_script.get(f"/{created['id']}").json
    assert listed["evaluation_metrics"] == shown["evaluation_metrics"] == metrics[:1]
