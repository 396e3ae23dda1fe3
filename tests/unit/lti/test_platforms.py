"""Registrations from `tool_config.json` and the command line."""

import json
from pathlib import Path

import pytest
from sqlmodel import Session

from app.lti.models import RegistrationSource
from app.lti.platforms import (
    PlatformConfigError,
    PlatformEntry,
    find_deployment,
    find_platform,
    list_platforms,
    read_tool_config,
    remove_platform,
    save_platform,
    sync_tool_config,
)
from app.lti.refusals import AmbiguousPlatformError, UnknownPlatformError
from app.paths import shipped_tool_config

ISSUER = "https://lms.example.edu"
ENTRY = {
    "client_id": "1",
    "auth_login_url": "https://lms.example.edu/auth",
    "auth_token_url": "https://lms.example.edu/token",
    "key_set_url": "https://lms.example.edu/keys",
    "deployment_ids": ["a", "b"],
}


@pytest.fixture
def tool_config(tmp_path: Path) -> Path:
    path = tmp_path / "tool_config.json"
    path.write_text(json.dumps({ISSUER: [ENTRY]}))
    return path


def test_the_shipped_file_is_a_form_for_canvas() -> None:
    content = json.loads(shipped_tool_config().read_text())
    assert list(content) == [
        "https://canvas.instructure.com",
        "https://canvas.beta.instructure.com",
        "https://canvas.test.instructure.com",
    ]
    assert read_tool_config(shipped_tool_config()) == []


def test_a_filled_in_form_registers_the_platform(db: Session, tool_config: Path) -> None:
    assert sync_tool_config(db, tool_config) == 1
    platform = find_platform(db, ISSUER, "1")
    assert find_deployment(db, platform.id, "b") is not None
    assert find_deployment(db, platform.id, "c") is None


def test_what_is_struck_out_launches_no_more(db: Session, tool_config: Path) -> None:
    sync_tool_config(db, tool_config)
    tool_config.write_text("{}")
    sync_tool_config(db, tool_config)
    with pytest.raises(UnknownPlatformError):
        find_platform(db, ISSUER, "1")


def test_a_deployment_that_is_struck_out_launches_no_more(db: Session, tool_config: Path) -> None:
    sync_tool_config(db, tool_config)
    tool_config.write_text(json.dumps({ISSUER: [ENTRY | {"deployment_ids": ["a"]}]}))
    sync_tool_config(db, tool_config)
    platform = find_platform(db, ISSUER, "1")
    assert find_deployment(db, platform.id, "a") is not None
    assert find_deployment(db, platform.id, "b") is None


def test_the_file_leaves_platforms_of_the_command_alone(db: Session, tool_config: Path) -> None:
    entry = PlatformEntry.model_validate(ENTRY | {"client_id": "2"})
    save_platform(db, ISSUER, entry, RegistrationSource.COMMAND)
    sync_tool_config(db, tool_config)
    assert find_platform(db, ISSUER, "2").client_id == "2"
    with pytest.raises(AmbiguousPlatformError):
        find_platform(db, ISSUER, None)


def test_the_command_adds_deployments_and_the_file_leaves_them(db: Session, tool_config: Path) -> None:
    sync_tool_config(db, tool_config)
    more = PlatformEntry.model_validate(ENTRY | {"client_id": "2", "deployment_ids": ["c"]})
    save_platform(db, ISSUER, more, RegistrationSource.COMMAND)
    save_platform(db, ISSUER, more.model_copy(update={"deployment_ids": ["d"]}), RegistrationSource.COMMAND)
    sync_tool_config(db, tool_config)
    listed = {platform.client_id: deployments for platform, deployments in list_platforms(db)}
    assert listed["1"] == ["a", "b"]
    assert listed["2"] == ["c", "d"]


def test_what_the_file_would_bring_back_cannot_be_removed(db: Session, tool_config: Path) -> None:
    sync_tool_config(db, tool_config)
    with pytest.raises(PlatformConfigError, match="strike it out"):
        remove_platform(db, ISSUER, "1")


def test_removing_and_listing(db: Session) -> None:
    save_platform(db, ISSUER, PlatformEntry.model_validate(ENTRY), RegistrationSource.COMMAND)
    listed = {platform.issuer: deployments for platform, deployments in list_platforms(db)}
    assert listed[ISSUER] == ["a", "b"]
    remove_platform(db, ISSUER, "1")
    assert ISSUER not in {platform.issuer for platform, _ in list_platforms(db)}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        json.dumps({ISSUER: [{"client_id": "1"}]}),
        json.dumps({ISSUER: [ENTRY | {"key_set_url": "x"}]}),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tool_config.json"
    path.write_text(content)
    with pytest.raises(PlatformConfigError, match=r"tool_config\.json"):
        read_tool_config(path)


def test_a_missing_file_means_none(tmp_path: Path) -> None:
    assert read_tool_config(tmp_path / "nowhere.json") == []
