"""The running server keeps what its OpenAPI document says, whatever is sent to it (property tests by Schemathesis)."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import app.api.wiring  # noqa: F401 - it declares the endpoints
from app import create_app
from app.api.openapi import openapi_json
from app.database import Database
from app.lti.models import RegistrationSource
from app.lti.registration.platforms import PlatformEntry, save_platform
from app.sandbox import Sandbox, registration
from app.settings import Settings
from tests.conftest import TOOL_URL
from tests.support.api import Script, listening
from tests.support.applications import end
from tests.support.fake_model import FakeModel, ReceivedRequest
from tests.support.judging import assessment, findings
from tests.support.people import BIOLOGY, Visitor
from tests.support.postgres import copy_of_migrated

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NEW = {"title": "A", "learning_objectives": ["B"], "pedagogical_guidance": "C", "workflow_state": "published"}
NO_LIMITS = dict.fromkeys(
    [
        "messages_per_minute",
        "daily_starts",
        "daily_messages",
        "daily_evaluations",
        "api_token_requests_per_minute",
        "api_user_requests_per_minute",
    ],
    10**6,
)


Ids = dict[str, int]


@dataclass(frozen=True)
class Tool:
    """A running tool with a course in it, and the programs of a teacher and of a student there."""

    url: str
    teacher: Script
    student: Script

    def holds(self, case: Case, script: Script | None, ids: Ids, **headers: str) -> None:
        """Send a request, with the ids of what is there, and hold the answer against the document."""
        if script is not None:
            headers["Authorization"] = f"Bearer {script.token}"
        generated = case.path_parameters
        case.path_parameters = generated | {name: ids[name] for name in generated.keys() & ids.keys()}
        try:
            case.call_and_validate(base_url=self.url, headers=headers, checks=CHECKS)
        finally:
            case.path_parameters = generated


def contract(*, max_examples: int, boundaries: bool) -> BaseSchema:
    """Return the document to test by: so many requests a method, and those at every boundary of its schemas."""
    document = json.loads(openapi_json(TOOL_URL))
    if boundaries:
        _leave_one_kind_of_form(document)
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(deterministic=True, max_examples=max_examples, no_shrink=True)
    phases = schema.config.phases
    phases.coverage.enabled = boundaries
    # What one answer teaches would make the next request depend on how fast it came.
    phases.fuzzing.extra_data_sources.responses = False
    phases.fuzzing.error_feedback.is_enabled = False
    return schema


def _leave_one_kind_of_form(document: dict[str, Any]) -> None:
    """Both have the same fields, and so the same boundaries."""
    for path in document["paths"].values():
        for method in path.keys() - {"parameters"}:
            path[method].get("requestBody", {"content": {}})["content"].pop("multipart/form-data", None)


@pytest.fixture(scope="module")
def database_url(
    request: pytest.FixtureRequest, migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "sqlite":
        copy = tmp_path_factory.mktemp("contract") / "test.db"
        shutil.copy(migrated_sqlite, copy)
        yield f"sqlite:///{copy}"
        return
    with copy_of_migrated(request.getfixturevalue("migrated_postgres")) as url:
        yield url


@pytest.fixture(scope="module")
def tool(database_url: str, keys_dir: Path, sandbox: Sandbox) -> Iterator[Tool]:
    with FakeModel() as model:
        model.judge_by(_judge)
        application = create_app(
            Settings(
                _env_file=None,
                app_url=TOOL_URL,
                database_url=database_url,
                keys_dir=keys_dir,
                llm_provider="openai",
                llm_base_url=model.base_url,
                llm_model="fake",
                llm_retries=0,
                **NO_LIMITS,
            )
        )
        database: Database = application.extensions["database"]
        with database.transaction() as session:
            entry = PlatformEntry.model_validate(registration(sandbox.config))
            save_platform(session, sandbox.config.issuer, entry, RegistrationSource.COMMAND)
        scripts = []
        for who in ("miriam.okafor", "amara.diallo"):
            Visitor.launch(application, sandbox, who)
            scripts.append(Script.of(application, sandbox.person(who).sub))
        with listening(application) as url:
            yield Tool(url, *scripts)
        end(application)


@pytest.fixture
def of_teacher(tool: Tool) -> Ids:
    """The ids of a fresh experience, and of the teacher's own conversation about it."""
    experience = tool.teacher.post(json=NEW).json["id"]
    return {"course_id": BIOLOGY, "id": experience} | _conversation(tool.teacher, experience)


@pytest.fixture
def of_student(tool: Tool, of_teacher: Ids) -> Ids:
    """The ids of the same experience, and of a student's conversation about it."""
    return of_teacher | _conversation(tool.student, of_teacher["id"])


def _conversation(script: Script, experience: int) -> Ids:
    begun = script.post(f"/{experience}/conversations").json
    conversation_id, message_id = begun["id"], begun["messages"][0]["id"]
    path = f"/{experience}/conversations/{conversation_id}/messages"
    assert script.post(path, json={"message": "Hello"}).status_code == 200
    given = script.post(f"{path}/{message_id}/feedback", json={"vote": "liked"}).json["feedback"]
    return {"conversation_id": conversation_id, "message_id": message_id, "feedback_id": given["id"]}


def _judge(request: ReceivedRequest) -> dict[str, Any]:
    """Give a judgement or an evaluation, whichever is asked for."""
    asked = (request.schema or {})["properties"]
    return assessment(objectives=1) if "overall_assessment" in asked else findings()


short = contract(max_examples=5, boundaries=False)
thorough = contract(max_examples=1, boundaries=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_both = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)
quietly = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
# The server draws random numbers in a thread of this process, while Hypothesis thinks it alone does.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")


@on_both
@short.parametrize()
@quietly
def test_answers_are_as_documented_whoever_asks(
    case: Case, tool: Tool, of_teacher: Ids, of_student: Ids
) -> None:
    tool.holds(case, None, {})
    tool.holds(case, tool.teacher, {})
    tool.holds(case, tool.student, of_student)
    tool.holds(case, tool.teacher, of_teacher, Accept="text/event-stream")
    tool.holds(case, tool.teacher, of_student)


@on_sqlite
@thorough.parametrize()
@quietly
def test_answers_are_as_documented_at_every_boundary(case: Case, tool: Tool, of_student: Ids) -> None:
    script = tool.student if case.operation.tags == ["chat"] else tool.teacher
    tool.holds(case, script, of_student)
