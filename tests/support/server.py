"""The tool as it is really served, in processes of its own, for tests that end those processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import urllib3
from werkzeug.test import Client
from werkzeug.wrappers import Request

from app.settings import Settings
from tests.support.ports import free_port

START_SECONDS = 60
STOP_SECONDS = 60
_OF_ONE_CONNECTION = {"connection", "transfer-encoding", "content-length"}


@dataclass
class ToolServer:
    """`ai-experiences serve` with its workers. ``folder`` is where it runs; ``log`` what it said."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def workers(self) -> list[int]:
        """The ids of the worker processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def test_client(self) -> Client:
        """Return a browser, as Flask's own applications do."""
        return Client(self._forward)

    def send_away(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Tell the server to go, and wait until it has gone."""
        self.process.send_signal(how)
        assert self.process.wait(STOP_SECONDS) == 0, self.log.read_text()

    def _forward(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = Request(environ)
        answer = urllib3.request(
            asked.method,
            f"http://127.0.0.1:{self.port}{asked.full_path}",
            body=asked.get_data(),
            headers={name: value for name, value in asked.headers if name.lower() != "content-length"},
            redirect=False,
            timeout=START_SECONDS,
            preload_content=False,
            retries=False,
        )
        headers = [each for each in answer.headers.items() if each[0].lower() not in _OF_ONE_CONNECTION]
        start_response(f"{answer.status} {answer.reason}", headers)
        return _Body(answer)


class _Body:
    """An answer's bytes as they come; to close it is to hang up."""

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        while block := self._answer.read1():
            yield block

    def close(self) -> None:
        self._answer.close()


@contextmanager
def served(settings: Settings, folder: Path, **environment: str) -> Iterator[ToolServer]:
    """Serve the tool with two workers until the test is over."""
    port, log = free_port(), folder / "server.log"
    command = [sys.executable, "-m", "app.cli", "serve", "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(settings, folder) | environment, stdout=file, stderr=file
        )
    server = ToolServer(process, port, log)
    try:
        wait_until(lambda: _answers(server), START_SECONDS)
        yield server
    finally:
        process.kill()
        process.wait()


def wait_until(happened: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for something that other processes do."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def _environment(settings: Settings, folder: Path) -> dict[str, str]:
    named = {name.upper(): str(value) for name, value in settings.model_dump(exclude_unset=True).items()}
    return os.environ | named | {"TOOL_CONFIG": str(folder / "tool_config.json"), "LOG_LEVEL": "INFO"}


def _answers(server: ToolServer) -> bool:
    assert server.process.poll() is None, server.log.read_text()
    try:
        return (
            urllib3.request("GET", f"http://127.0.0.1:{server.port}/", timeout=1, retries=False).status == 200
        )
    except urllib3.exceptions.HTTPError:
        return False
