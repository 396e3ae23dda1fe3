"""Requests that no client should send."""

import json
from io import BytesIO
from urllib.parse import urlencode

import pytest
from flask import Flask

from app.web import MAX_REQUEST_BYTES
from tests.support.api import Script

LONG = "9" * 3_000
COURSES = (
    "%00",
    "1101%00",
    "%ED%A0%80",
    "%FF",
    "%F0%9F%A6%89",
    "-1",
    LONG,
    "lti_context_id:",
    "lti_context_id:%00",
)
NUMBERS = ("0", "-1", "2147483648", "9999999999", LONG, "1.0", "%D9%A1", "%00", "one")
NOT_FOUND = (404, {"error": "Resource Not Found"})


def test_an_odd_course_is_not_there(teachers_script: Script) -> None:
    answers = {}
    for teachers_script.course in COURSES:
        response = teachers_script.get()
        answers[teachers_script.course] = (response.status_code, response.json)
    assert answers == dict.fromkeys(COURSES, NOT_FOUND)


@pytest.mark.parametrize("path", ["/{}", "/{}/edit", "/{}/conversations/{}", "/{}/ai_conversations/{}"])
def test_an_odd_id_is_not_there(teachers_script: Script, path: str) -> None:
    responses = {number: teachers_script.get(path.format(number, number)) for number in NUMBERS}
    answers = {number: (response.status_code, response.json) for number, response in responses.items()}
    assert answers == dict.fromkeys(NUMBERS, NOT_FOUND)


def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(
    teachers_script: Script,
) -> None:
    response = teachers_script.ask("PATCH", "/1")
    assert (response.status_code, response.json["code"]) == (405, "bad_request")
    assert {"GET", "PUT", "DELETE"} <= set(response.headers["Allow"].split(", "))


def test_a_query_that_is_no_text_is_refused(teachers_script: Script) -> None:
    response = teachers_script.get(environ_overrides={"QUERY_STRING": "page=\x80"})
    assert (response.status_code, response.json["code"]) == (400, "bad_request")


def test_a_body_over_a_megabyte_is_refused(app: Flask, teachers_script: Script) -> None:
    for sent in ({"json": {"title": "x" * 2**20}}, {"data": {"title": "x" * 2**20}}):
        response = teachers_script.post(**sent)
        assert (response.status_code, response.json["code"]) == (413, "too_large")


@pytest.mark.parametrize(("size", "status"), [(MAX_REQUEST_BYTES, 201), (MAX_REQUEST_BYTES + 1, 413)])
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_a_body_in_chunks_is_taken_whole_or_refused(
    teachers_script: Script, kind: str, size: int, status: int
) -> None:
    fields = {"title": "A", "learning_objective": "B", "pedagogical_guidance": "C"}
    if kind == "application/json":
        body = json.dumps(fields).ljust(size)
    else:
        body = (urlencode(fields) + "&other=").ljust(size, "x")
    response = teachers_script.post(
        input_stream=BytesIO(body.encode()),
        content_type=kind,
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert response.status_code == status


def test_an_odd_launch_is_not_there(app: Flask) -> None:
    assert app.test_client().get("/launches/a%00~b/experiences").status_code == 404
