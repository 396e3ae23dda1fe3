"""What the documentation tells people to type does what it says."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from flask import Flask

from tests.support.api import Script, listening
from tests.support.fake_model import FakeModel
from tests.support.people import BIOLOGY

PAGE = Path(__file__).parents[3] / "docs" / "rest-api.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl IS NOT INSTALLED: its lines are not tried")
def test_the_five_lines_of_curl_work(app: Flask, teachers_script: Script, fake_model: FakeModel) -> None:
    fake_model.reply_with("My bill is wrong!")
    experience_id = teachers_script.post(
        json={"title": "T", "learning_objective": "O", "pedagogical_guidance": "G"}
    ).json["id"]
    lines = re.findall(r"^curl .*$", PAGE.read_text(), re.MULTILINE)
    assert len(lines) == 5
    with listening(app) as url:
        api = f"{url}/api/v1/courses/{BIOLOGY}/ai_experiences"
        answers = [
            _run(line.replace("/7", f"/{experience_id}"), teachers_script.token, api) for line in lines
        ]
    listed, created, changed, class_page = (json.loads(answer) for answer in answers[:4])
    assert [each["id"] for each in listed] == [experience_id]
    assert created["title"] == "A wrong bill"
    assert (changed["id"], changed["workflow_state"]) == (experience_id, "published")
    assert set(class_page) == {"conversations", "snapshot"}
    assert "event: done" in answers[4]


def _run(line: str, token: str, api: str) -> str:
    environment = os.environ | {"TOKEN": token, "API": api}
    command = line.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)
    run = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, f"{line}\n{run.stdout}{run.stderr}"
    return run.stdout
