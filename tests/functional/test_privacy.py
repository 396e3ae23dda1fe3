"""What the privacy page says is what the settings do."""

import pytest
from bs4 import BeautifulSoup
from flask.testing import FlaskClient

from app import create_app
from app.settings import Settings
from tests.support.applications import end
from tests.support.people import Visitor


def page(client: FlaskClient) -> BeautifulSoup:
    response = client.get("/privacy")
    assert response.status_code == 200
    return BeautifulSoup(response.text, "html.parser")


def hosts(shown: BeautifulSoup) -> list[list[str]]:
    return [[item.text for item in found.select("li")] for found in shown.select("[data-testid=hosts]")]


def test_it_says_that_what_a_student_types_is_sent_as_it_is(client: FlaskClient) -> None:
    assert "what you type is sent just as you type it" in page(client).text


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {
                "llm_base_url": "https://models.example.edu/v1",
                "llm_model": "llama",
                "llm_fallbacks": "anthropic:claude",
                "llm_anthropic_api_key": "sk-a-key",
                "llm_judge_model": "strict",
                "safety_check": "provider",
                "safety_model": "openai:moderator",
                "llm_openai_api_key": "sk-another",
            },
            [
                ["models.example.edu (llama, strict)", "api.anthropic.com (claude)"],
                ["api.openai.com (moderator)"],
            ],
        ),
        ({"llm_provider": "local", "llm_base_url": None, "llm_model": None}, []),
    ],
    ids=["elsewhere", "here"],
)
def test_it_names_the_servers_that_get_the_texts(
    settings: Settings, changes: dict[str, str | None], named: list[list[str]]
) -> None:
    app = create_app(Settings(**(settings.model_dump() | changes)))
    shown = page(app.test_client())
    assert hosts(shown) == named
    assert bool(shown.select_one("[data-testid=stays]")) == (not named)
    assert "sk-a" not in shown.text
    end(app)


def test_students_find_it_before_they_write(teacher: Visitor, student: Visitor) -> None:
    experience_id = teacher.write_experience()
    for place in ("/shelf", f"/experiences/{experience_id}/conversation"):
        assert student.page(place).select_one("[data-testid=privacy]")["href"] == "/privacy"
