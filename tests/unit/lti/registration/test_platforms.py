"""Registrations from `tool_config.json` and the command line."""

import json
from pathlib import Path

import pytest
from sqlmodel import Session

from app.courses.models import Course
from app.lti.models import Platform, RegistrationSource, RegistrationState
from app.lti.refusals import AmbiguousPlatformError, UnknownPlatformError
from app.lti.registration.platforms import (
    PlatformConfigError,
    PlatformEntry,
    approve_deployment,
    find_deployment,
    find_platform,
    known_deployment,
    list_platforms,
    note_deployment,
    pending_deployments,
    private_key_files,
    read_tool_config,
    remove_deployment,
    remove_platform,
    save_platform,
    sync_tool_config,
)
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


def state_of(db: Session, platform: Platform, deployment_id: str) -> RegistrationState:
    return known_deployment(db, platform.id, deployment_id).workflow_state


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
    assert state_of(db, platform, "a") is RegistrationState.ACTIVE
    assert state_of(db, platform, "b") is RegistrationState.REMOVED


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


def registered(db: Session, **changes: object) -> Platform:
    entry = PlatformEntry.model_validate(ENTRY | changes)
    return save_platform(db, ISSUER, entry, RegistrationSource.COMMAND)


def test_a_new_deployment_waits_until_it_is_approved(db: Session) -> None:
    platform = registered(db)
    fresh = note_deployment(db, platform, "new")
    assert pending_deployments(db, platform.id) == [fresh]
    assert fresh.workflow_state is RegistrationState.PENDING
    approve_deployment(db, fresh)
    assert pending_deployments(db, platform.id) == []
    assert fresh.workflow_state is RegistrationState.ACTIVE
    assert fresh.courses_of == fresh.id


def test_a_deployment_that_is_refused_stays_refused(db: Session) -> None:
    platform = registered(db)
    remove_deployment(note_deployment(db, platform, "new"))
    assert pending_deployments(db, platform.id) == []
    assert note_deployment(db, platform, "new", approve=True).workflow_state is RegistrationState.REMOVED


def test_a_reinstalled_tool_opens_the_courses_of_the_deployment_it_replaces(db: Session) -> None:
    platform = registered(db)
    first = known_deployment(db, platform.id, "a")
    second, third = (note_deployment(db, platform, name) for name in ("second", "third"))
    approve_deployment(db, second, replaces=first)
    approve_deployment(db, third, replaces=second)
    assert first.id == second.courses_of == third.courses_of


def test_a_deployment_replaces_neither_itself_nor_another_platforms(db: Session) -> None:
    one, two = registered(db), registered(db, client_id="2", deployment_ids=["b"])
    fresh = note_deployment(db, one, "new")
    for other in (fresh, known_deployment(db, two.id, "b")):
        with pytest.raises(PlatformConfigError):
            approve_deployment(db, fresh, replaces=other)
    assert fresh.workflow_state is RegistrationState.PENDING


def test_a_deployment_with_courses_of_its_own_cannot_open_anothers(db: Session) -> None:
    platform = registered(db)
    first, second = (known_deployment(db, platform.id, name) for name in ("a", "b"))
    db.add(Course(platform_id=platform.id, deployment_id=second.id, context_id="c", title="C"))
    db.flush()
    with pytest.raises(PlatformConfigError, match="courses of its own"):
        approve_deployment(db, second, replaces=first)


def test_what_tool_config_names_is_removed_there(db: Session, tool_config: Path) -> None:
    sync_tool_config(db, tool_config)
    platform = find_platform(db, ISSUER, "1")
    with pytest.raises(PlatformConfigError, match="strike it out"):
        remove_deployment(known_deployment(db, platform.id, "a"))


def test_an_entry_may_name_a_key_of_its_own(db: Session, tool_config: Path) -> None:
    tool_config.write_text(json.dumps({ISSUER: [ENTRY | {"private_key_file": "school.pem"}]}))
    sync_tool_config(db, tool_config)
    assert find_platform(db, ISSUER, "1").private_key_file == "school.pem"
    assert private_key_files(db) == ["school.pem"]
    tool_config.write_text(json.dumps({ISSUER: [ENTRY]}))
    sync_tool_config(db, tool_config)
    assert private_key_files(db) == []


def test_a_registration_is_added_without_replacing_an_active_one(db: Session) -> None:
    def entry(key_set: str) -> PlatformEntry:
        urls = dict.fromkeys(("auth_login_url", "auth_token_url"), "https://lms.example/x")
        return PlatformEntry(client_id="c9", deployment_ids=[key_set[-1]], key_set_url=key_set, **urls)

    def add(key_set: str) -> Platform:
        source = RegistrationSource.REGISTRATION
        return save_platform(db, "https://lms.example", entry(key_set), source, replace=False)

    first = add("https://lms.example/1")
    with pytest.raises(PlatformConfigError, match="registered at this issuer already"):
        add("https://lms.example/2")
    db.refresh(first)
    assert first.key_set_url == "https://lms.example/1"
    assert find_deployment(db, first.id, "2") is None
    remove_platform(db, "https://lms.example", "c9")
    db.flush()
    assert add("https://lms.example/3").key_set_url == "https://lms.example/3"
    assert first.workflow_state is RegistrationState.ACTIVE
