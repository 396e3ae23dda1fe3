"""The command line."""

import json
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlmodel import Session

from app.cli import cli
from app.database import Database
from app.lti.models import Platform, RegistrationSource, RegistrationState
from app.lti.registration.platforms import find_platform, note_deployment
from app.sandbox.demo import Demo
from tests.support.ports import free_port

ADD = [
    *("platform", "add", "--issuer", "https://lms.example.edu", "--client-id", "7", "--deployment-id", "1"),
    *(
        "--auth-login-url",
        "https://lms.example.edu/auth",
        "--auth-token-url",
        "https://lms.example.edu/token",
    ),
    *("--key-set-url", "https://lms.example.edu/keys"),
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("APP_URL", "DATABASE_URL", "LLM_PROVIDER", "SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_platforms_are_added_listed_and_removed() -> None:
    assert run("db", "upgrade").exit_code == 0
    assert run(*ADD).exit_code == 0
    heading, row = run("platform", "list").output.splitlines()
    assert heading == "issuer\tclient id\tdeployments\tsource"
    assert row == "https://lms.example.edu\t7\t1\tcommand"
    remove = run("platform", "remove", "--issuer", "https://lms.example.edu", "--client-id", "7")
    assert remove.output == "Client 7 of https://lms.example.edu may no longer launch the tool.\n"
    assert run("platform", "list").output == "No platform is registered.\n"


def test_one_deployment_is_taken_back_and_the_platform_stays() -> None:
    run("db", "upgrade")
    run(*ADD, "--deployment-id", "2")
    remove = ("platform", "remove", "--issuer", "https://lms.example.edu", "--client-id", "7")
    removed = run(*remove, "--deployment-id", "2")
    assert removed.output == "Deployment 2 of https://lms.example.edu may no longer launch the tool.\n"
    assert "\t7\t1\t" in run("platform", "list").output
    assert "no deployment 3" in run(*remove, "--deployment-id", "3").output


@pytest.mark.parametrize(
    "command",
    [
        ("platform", "invite"),
        ("platform", "list"),
        ADD,
        ("platform", "approve", "--issuer", "x", "--client-id", "x", "--deployment-id", "x"),
        ("platform", "remove", "--issuer", "x", "--client-id", "x"),
        ("seed", "--issuer", "x", "--course", "1"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
@pytest.mark.parametrize("folder_is_there", [False, True])
def test_without_a_database_a_command_says_how_to_make_one(
    tmp_path: Path, command: Sequence[str], folder_is_there: bool
) -> None:
    if folder_is_there:
        (tmp_path / "instance").mkdir()
    says_how_to_make_one(run(*command))


def test_without_tables_in_postgresql_a_command_says_how_to_make_them(
    migrated_postgres: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if migrated_postgres is None:
        pytest.skip("PostgreSQL IS NOT INSTALLED: nothing is tested on it")
    monkeypatch.setenv("DATABASE_URL", migrated_postgres)
    says_how_to_make_one(run("platform", "list"))


def says_how_to_make_one(result: Result) -> None:
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.output.startswith("Error: Run “ai-experiences db upgrade” first")
    assert result.output.count("\n") == 1


def test_a_database_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://tool:secret@127.0.0.1:{free_port()}/tool")
    for command in (["platform", "list"], ["platform", "invite"], ["db", "upgrade"], ["serve"]):
        result = run(*command)
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        assert result.output.startswith("Error: Check DATABASE_URL, and that the database's server runs")
        assert "secret" not in result.output


def test_removing_what_is_not_there_says_so() -> None:
    run("db", "upgrade")
    result = run("platform", "remove", "--issuer", "https://nowhere.example", "--client-id", "7")
    assert result.exit_code == 1
    assert "Register the platform" in result.output


@pytest.mark.parametrize(
    "command",
    [
        ("token", "create", "--course", "1", "--user", "1", "--role", "teacher"),
        ("budget", "show", "--course", "1"),
        ("seed", "--course", "1"),
    ],
    ids=lambda command: command[0],
)
def test_a_platform_that_is_not_known_is_answered_with_those_that_are(command: Sequence[str]) -> None:
    run("db", "upgrade")
    run(*ADD)
    result = run(*command, "--issuer", "https://lms.example.ed")
    assert result.exit_code == 1
    assert result.output == (
        "Error: There is no such platform. Registered: https://lms.example.edu (client id 7).\n"
    )


@pytest.mark.parametrize(
    "command",
    [
        ("token", "create", "--course", "1", "--user", "1", "--role", "teacher"),
        ("oauth-client", "add", "--name", "Timetable", "--redirect-uri", "https://timetable.example/back"),
        ("budget", "set", "--course", "1", "--tokens", "5"),
        ("seed", "--course", "1"),
    ],
    ids=lambda command: command[0],
)
def test_an_issuer_with_several_clients_is_answered_with_their_ids(command: Sequence[str]) -> None:
    run("db", "upgrade")
    run(*ADD)
    run(*ADD, "--client-id", "8")
    result = run(*command, "--issuer", "https://lms.example.edu")
    assert result.exit_code == 1
    assert result.output == (
        "Error: Several client ids are registered for https://lms.example.edu. Name one with --client-id: 7, 8.\n"
    )


def test_an_address_that_is_none_is_refused() -> None:
    run("db", "upgrade")
    result = run(*ADD[:-1], "not an address")
    assert result.exit_code == 1
    assert "key_set_url" in result.output


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (("--issuer", ""), "must not be empty"),
        (("--client-id", " "), "must not be empty"),
        (("--deployment-id", ""), "must not be empty"),
        (("--auth-login-url", "http://lms.example.edu/auth"), "http://lms.example.edu/auth is not protected"),
        (("--auth-token-url", "http://10.0.0.1/token"), "http://10.0.0.1/token is not protected"),
        (("--key-set-url", "http://lms.example.edu/keys"), "http://lms.example.edu/keys is not protected"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_platform_without_names_or_protected_addresses_is_refused(
    changed: Sequence[str], sentence: str
) -> None:
    run("db", "upgrade")
    result = run(*ADD, *changed)
    assert result.exit_code == 1
    assert sentence in result.output
    assert result.output.count("\n") == 1
    assert run("platform", "list").output == "No platform is registered.\n"


def test_plain_http_is_for_platforms_on_this_machine() -> None:
    run("db", "upgrade")
    assert run(*ADD, "--key-set-url", "http://localhost:8100/keys").exit_code == 0


def test_a_registration_keeps_what_the_command_leaves_out() -> None:
    run("db", "upgrade")
    run(*ADD, "--auth-audience", "https://api.lms.example.edu/auth/token")
    run(*ADD, "--key-set-url", "https://lms.example.edu/new-keys")
    platform = registered()
    assert platform.auth_audience == "https://api.lms.example.edu/auth/token"
    assert platform.key_set_url == "https://lms.example.edu/new-keys"


@pytest.mark.parametrize(
    ("changed", "source"),
    [
        ((), RegistrationSource.REGISTRATION),
        (("--key-set-url", "https://lms.example.edu/new-keys"), RegistrationSource.COMMAND),
    ],
    ids=["with the same addresses", "with another address"],
)
def test_a_platform_that_registered_itself_stays_one(
    changed: Sequence[str], source: RegistrationSource
) -> None:
    run("db", "upgrade")
    run(*ADD)
    with tables() as session:
        found = find_platform(session, "https://lms.example.edu", "7")
        found.source = RegistrationSource.REGISTRATION
    run(*ADD, "--deployment-id", "2", *changed)
    assert registered().source is source
    assert "\t1, 2\t" in run("platform", "list").output


def test_a_platform_struck_out_of_tool_config_stays_once_the_command_has_added_it() -> None:
    run("db", "upgrade")
    run(*ADD)
    with tables() as session:
        found = find_platform(session, "https://lms.example.edu", "7")
        found.source, found.workflow_state = RegistrationSource.TOOL_CONFIG, RegistrationState.REMOVED
    run(*ADD)
    run("db", "upgrade")
    assert "\t7\t1\tcommand" in run("platform", "list").output


@contextmanager
def tables() -> Iterator[Session]:
    database = Database("sqlite:///instance/ai_experiences.db")
    with database.transaction() as session:
        yield session
    database.engine.dispose()


def registered() -> Platform:
    with tables() as session:
        return find_platform(session, "https://lms.example.edu", "7")


def test_upgrade_takes_in_tool_config(tmp_path: Path) -> None:
    entry = {
        "client_id": "9",
        "auth_login_url": "https://lms.example.edu/auth",
        "auth_token_url": "https://lms.example.edu/token",
        "key_set_url": "https://lms.example.edu/keys",
        "deployment_ids": ["1"],
    }
    (tmp_path / "tool_config.json").write_text(json.dumps({"https://lms.example.edu": [entry]}))
    assert run("db", "upgrade").exit_code == 0
    assert "\t9\t" in run("platform", "list").output


def test_a_broken_tool_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "tool_config.json").write_text("{")
    result = run("db", "upgrade")
    assert result.exit_code == 1
    assert "tool_config.json cannot be read" in result.output


def test_unsafe_settings_end_in_a_sentence_not_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_URL", "https://ai.example.edu")
    for command in (["db", "upgrade"], ["serve"], ["demo"], ["model", "fetch"]):
        result = run(*command)
        assert result.exit_code == 1, command
        assert "SECRET_KEY is not set" in result.output
        assert "Traceback" not in result.output


def test_plain_http_is_served_to_this_machine_alone() -> None:
    result = run("serve", "--host", "0.0.0.0")
    assert result.exit_code == 1
    assert "this machine alone" in result.output


def test_the_demo_refuses_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_URL", "https://ai.example.edu")
    monkeypatch.setenv("SECRET_KEY", "x" * 40)
    monkeypatch.setenv("LLM_PROVIDER", "scripted")
    result = run("demo")
    assert result.exit_code == 1
    assert "this machine only" in result.output


def test_a_demo_that_finds_its_port_taken_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Demo] = []
    monkeypatch.setattr("app.cli.prepare_demo", begun.append)
    monkeypatch.setattr("app.cli.run_demo", lambda *_given, **_more: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("demo", "--port", str(port))
    assert result.exit_code == 0, result.output
    assert f"Port {port} is taken" in result.output
    assert f"This one takes {begun[0].port}." in result.output
    assert "is taken" not in run("demo", "--port", str(free_port())).output


def test_keys_are_rotated_and_listed_newest_first() -> None:
    first = run("keys", "rotate").output
    second = run("keys", "rotate", "--keep", "1").output
    assert run("keys", "list").output == second + first
    third = run("keys", "rotate", "--keep", "1").output
    assert run("keys", "list").output == third + second


def test_a_key_in_the_environment_that_is_none_ends_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTI_PRIVATE_KEYS", "-----BEGIN PRIVATE KEY-----secret")
    result = run("db", "upgrade")
    assert result.exit_code == 1
    assert "LTI_PRIVATE_KEYS: must hold" in result.output
    assert "secret" not in result.output


def test_a_key_that_others_may_read_stops_the_start(tmp_path: Path) -> None:
    run("keys", "rotate")
    (path,) = (tmp_path / "keys").glob("rsa-*.pem")
    path.chmod(0o644)
    result = run("db", "upgrade")
    assert result.exit_code == 1
    assert "chmod 600 keys/rsa-" in result.output


def test_a_pending_deployment_is_shown_and_approved_in_place_of_another(tmp_path: Path) -> None:
    run("db", "upgrade")
    run(*ADD)
    with tables() as session:
        pending = note_deployment(session, find_platform(session, "https://lms.example.edu", "7"), "2")
        pending.platform_name = "Example University"
    assert re.search(
        r"pending since \d{4}-\d\d-\d\d: 2 \(Example University\)\n", run("platform", "list").output
    )
    names = ("--issuer", "https://lms.example.edu", "--client-id", "7")
    unknown = run("platform", "approve", *names, "--deployment-id", "2", "--replaces", "3")
    assert unknown.exit_code == 1
    assert "no deployment 3" in unknown.output
    approved = run("platform", "approve", *names, "--deployment-id", "2", "--replaces", "1")
    assert approved.output == "Deployment 2 may launch the tool.\n"
    assert "\t1, 2\t" in run("platform", "list").output
    unseen = run("platform", "approve", *names, "--deployment-id", "new")
    assert unseen.exit_code == 0
    assert "Nobody has opened it there yet" in unseen.stderr
    assert "\t1, 2, new\t" in run("platform", "list").output


def test_a_platforms_own_key_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    entry = {
        "client_id": "9",
        **{f"{name}_url": "https://lms.example.edu/x" for name in ("auth_login", "auth_token", "key_set")},
        "private_key_file": "school.pem",
    }
    (tmp_path / "tool_config.json").write_text(json.dumps({"https://lms.example.edu": [entry]}))
    result = run("db", "upgrade")
    assert result.exit_code == 1
    assert "school.pem cannot be read" in result.output


def test_an_invitation_is_a_link_to_this_tool() -> None:
    run("db", "upgrade")
    first, second = (run("platform", "invite", "--days", "3") for _ in range(2))
    assert re.fullmatch(r"http://localhost:8000/lti/register/[\w-]{43}\n", first.stdout)
    assert re.fullmatch(r"It works once, until \d{4}-\d\d-\d\d \d\d:\d\d UTC\.\n", first.stderr)
    assert first.stdout != second.stdout
