"""Functional tests of the API run on SQLite and on PostgreSQL, as all functional tests do."""

import pytest
from flask import Flask

from app.sandbox import Sandbox
from tests.support.api import Script
from tests.support.people import Visitor


@pytest.fixture
def teachers_script(app: Flask, sandbox: Sandbox, teacher: Visitor) -> Script:
    return Script.of(app, sandbox.person("miriam.okafor").sub)


@pytest.fixture
def students_script(app: Flask, sandbox: Sandbox, student: Visitor) -> Script:
    return Script.of(app, sandbox.person("amara.diallo").sub)
