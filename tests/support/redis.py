"""A Redis server of the tests' own, on a private port."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from redis import Redis
from redis.exceptions import RedisError

from tests.support.ports import free_port
from tests.support.services import redis

PATIENCE = 10.0


@dataclass
class RedisServer:
    """The server, which can be taken away and brought back at the same address."""

    program: str
    folder: str
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder)
        self.process = subprocess.Popen([self.program, *options], stdout=subprocess.DEVNULL)
        self._wait_until_it_answers()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def empty(self) -> None:
        with Redis.from_url(self.url) as client:
            client.flushall()

    def _wait_until_it_answers(self) -> None:
        until = time.monotonic() + PATIENCE
        with Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except RedisError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.02)


@contextmanager
def redis_server() -> Iterator[RedisServer | None]:
    """Run a server; yield None where Redis is not installed."""
    program = redis()
    if program is None:
        yield None
        return
    with TemporaryDirectory(prefix="tests-redis-") as folder:
        server = RedisServer(program, folder, free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()
