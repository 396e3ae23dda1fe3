"""What becomes of replies under way when the server's own processes go: told to, or killed."""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from app.conversations.models import Message, MessageState
from app.conversations.service import LEASE
from app.database import Database
from app.lti.models import RegistrationSource
from app.lti.registration.platforms import PlatformEntry, save_platform
from app.sandbox import Sandbox, registration
from app.settings import Settings
from tests.support.fake_model import FakeModel
from tests.support.people import Visitor, events
from tests.support.server import ToolServer, served, wait_until

SLOWLY = {"reply": [f"word{number} " for number in range(400)], "delay": 0.1}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.engine.dispose()


@pytest.fixture
def graceful_seconds() -> int:
    """How long the server waits before it kills; replies have all but the last five of them to end by themselves."""
    return 10


@pytest.fixture
def server(
    settings: Settings, sandbox: Sandbox, database: Database, tmp_path: Path, graceful_seconds: int
) -> Iterator[ToolServer]:
    with database.transaction() as session:
        entry = PlatformEntry.model_validate(registration(sandbox.config))
        save_platform(session, sandbox.config.issuer, entry, RegistrationSource.COMMAND)
    arguments = f"--graceful-timeout {graceful_seconds}"
    with served(settings, tmp_path, GUNICORN_CMD_ARGS=arguments) as server:
        yield server


@pytest.fixture
def student(server: ToolServer, sandbox: Sandbox) -> Visitor:
    return Visitor.launch(server, sandbox, "amara.diallo")


@pytest.fixture
def experience_id(server: ToolServer, sandbox: Sandbox) -> int:
    return Visitor.launch(server, sandbox, "miriam.okafor").write_experience()


def begin_turn(student: Visitor, conversation_id: int):
    """Send a message and return the answer with its first words read."""
    response = student.post(
        f"/conversations/{conversation_id}/messages",
        {"message": "What is wrong?", "client_key": "key-1"},
        headers={"Accept": "text/event-stream"},
    )
    read = b""
    while b"word" not in read:
        read += next(response.response)
    return response


def reply_in(database: Database) -> Message:
    with database.snapshot() as session:
        return session.exec(select(Message).order_by(Message.id.desc())).first()


def test_a_killed_worker_leaves_a_turn_that_can_be_tried_again(
    server: ToolServer, student: Visitor, experience_id: int, database: Database, fake_model: FakeModel
) -> None:
    fake_model.reply_with(**SLOWLY)
    conversation_id = student.start(experience_id)
    begin_turn(student, conversation_id)
    wait_until(lambda: reply_in(database).text)
    for worker in server.workers:
        if not fake_model.requests[-1].hung_up.wait(0.5):
            os.kill(worker, signal.SIGKILL)
    assert fake_model.requests[-1].hung_up.wait(5)

    with database.transaction() as session:  # as if its lease had run out meanwhile
        reply = session.get_one(Message, reply_in(database).id)
        assert reply.state is MessageState.GENERATING
        reply.lease_until -= LEASE + timedelta(seconds=1)
    page = student.page(f"/experiences/{experience_id}/conversation")
    assert "What is wrong?" in page.text
    assert "word0" in page.text
    assert page.select_one("[data-testid=retry]")

    fake_model.reply_with("There you are.")
    retried = student.retry(conversation_id, reply.id)
    assert events(retried)[-1][1]["state"] == "complete"
    assert reply_in(database).text == "There you are."


def test_a_worker_told_to_go_lets_a_short_reply_end_that_nobody_reads(
    server: ToolServer, student: Visitor, experience_id: int, database: Database, fake_model: FakeModel
) -> None:
    fake_model.reply_with([f"word{number} " for number in range(20)], delay=0.1)
    begin_turn(student, student.start(experience_id)).close()
    server.send_away()
    assert reply_in(database).state is MessageState.COMPLETE
    assert reply_in(database).text.endswith("word19")


def test_a_worker_told_to_go_stores_what_there_is_of_a_long_reply_and_tells_its_reader(
    server: ToolServer, student: Visitor, experience_id: int, database: Database, fake_model: FakeModel
) -> None:
    fake_model.reply_with(**SLOWLY)
    response = begin_turn(student, student.start(experience_id))
    server.send_away()
    reply = reply_in(database)
    assert (reply.state, reply.error_code) == (MessageState.INTERRUPTED, "shut_down")
    assert "word9" in reply.text
    assert b"event: done" in b"".join(response.response)


@pytest.mark.parametrize("graceful_seconds", [300])
def test_a_worker_in_a_hurry_stores_what_there_is_at_once(
    server: ToolServer, student: Visitor, experience_id: int, database: Database, fake_model: FakeModel
) -> None:
    fake_model.reply_with(**SLOWLY)
    begin_turn(student, student.start(experience_id))
    server.send_away(signal.SIGINT)
    assert reply_in(database).state is MessageState.INTERRUPTED
    assert "word" in reply_in(database).text


def test_workers_leave_with_the_arbiter_that_was_killed(server: ToolServer) -> None:
    workers = server.workers
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), seconds=20)


def test_a_reader_who_goes_while_the_model_is_silent_is_let_go_soon(
    server: ToolServer, student: Visitor, experience_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(["word "] * 3, stall_after=2)
    begin_turn(student, student.start(experience_id)).close()
    wait_until(lambda: not _connections(server), seconds=15)


def _connections(server: ToolServer) -> list[str]:
    """Return the server's connections that are not closed on its side, from the kernel's own list."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = f"0100007F:{server.port:04X}"
    return [row for row in rows if row[1] == local and row[3] in {"01", "08"}]
