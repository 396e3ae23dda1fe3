"""`ai-experiences demo`: the tool, the sandbox and the embedded model, started together and stopped together."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click
import requests

from app import create_app
from app.database import Database
from app.llm.choice import LlmProvider
from app.llm.embedded.state import Stage, StateReader
from app.lti.canvas import CUSTOM_FIELDS
from app.lti.models import RegistrationSource
from app.lti.registration.platforms import PlatformEntry, save_platform
from app.sandbox.config import SandboxConfig, refuse_unless_local
from app.sandbox.factory import run
from app.sandbox.seed import seed_sandbox
from app.sandbox.tools import registration
from app.settings import Settings

FOLDER = Path("instance")
LOG = FOLDER / "demo.log"
START_SECONDS = 30
STOP_SECONDS = 5
MODEL_STARTS = 3  # it is started anew when it was killed, not when it ended by itself


class DemoError(Exception):
    """The demo cannot run; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Where the parts of a demo are. ``environment`` is what its processes are started with; the tool's own has a log
    file to itself.
    """

    settings: Settings
    sandbox: SandboxConfig
    port: int

    @property
    def start_page(self) -> str:
        """The address to open: the tool in a course, as its teacher."""
        return f"{self.sandbox.url}/courses/1101/external_tools/1"

    @property
    def environment(self) -> dict[str, str]:
        """The tool's settings, on top of this process's own."""
        return os.environ | {
            "APP_URL": self.settings.app_url,
            "DATABASE_URL": self.settings.database_url,
            "LOG_LEVEL": "WARNING",
        }


def plan_demo(settings: Settings, port: int, sandbox_port: int) -> Demo:
    """Choose addresses: the ports asked for, or free ones. Raises `DemoError` against a production configuration."""
    if settings.production:
        raise DemoError(
            f"APP_URL is {settings.app_url}: the demo lets anybody be anybody, so it runs on this machine only. "
            "Unset APP_URL, or use “ai-experiences serve”."
        )
    port = _free_port(port)
    sandbox = SandboxConfig(
        url=f"http://127.0.0.1:{_free_port(sandbox_port)}",
        tool_url=f"http://localhost:{port}",
        state_dir=FOLDER / "sandbox",
        custom_fields=CUSTOM_FIELDS,
    )
    refuse_unless_local(sandbox)
    own = {"app_url": sandbox.tool_url, "database_url": f"sqlite:///{FOLDER.resolve() / 'demo.db'}"}
    return Demo(settings.model_copy(update=own), sandbox, port)


def prepare_demo(demo: Demo) -> None:
    """Make the tables, register the sandbox as a platform, and put in the seeds."""
    database = Database(demo.settings.database_url)
    database.upgrade()
    entry = registration(demo.sandbox)
    with database.transaction() as session:
        platform = save_platform(
            session, demo.sandbox.issuer, PlatformEntry.model_validate(entry), RegistrationSource.COMMAND
        )
        seed_sandbox(session, platform.id)
    create_app(demo.settings).extensions["key_ring"].public_key_set()


def run_demo(demo: Demo, tool_command: list[str], model_command: list[str], *, open_browser: bool) -> None:
    """Run everything until interrupted. Raises `DemoError` where the tool does not start."""
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _stop)
    with ExitStack() as running:
        log = running.enter_context(LOG.open("wb"))
        told = {"LOG_LEVEL": demo.settings.log_level}
        tool = running.enter_context(_process(tool_command, demo.environment | told, log, signal.SIGINT))
        threading.Thread(target=run, args=(demo.sandbox,), daemon=True).start()
        _wait_until_up(tool, demo.sandbox.tool_key_set_url)
        _wait_until_up(tool, demo.sandbox.key_set_url)
        _announce(demo, open_browser=open_browser)
        for _ in range(MODEL_STARTS if demo.settings.provider is LlmProvider.LOCAL else 0):
            model = running.enter_context(_process(model_command, demo.environment))
            _show_model_progress(demo.settings.local_model_state, model, tool)
            if _wait_for_either(tool, model) == 0:
                click.echo("  The AI model has stopped; prepared lines answer.")
                break
        tool.wait()
        raise DemoError(f"The tool has stopped. Its last words are in {LOG}.")


def _wait_for_either(tool: subprocess.Popen[bytes], model: subprocess.Popen[bytes]) -> int | None:
    """Wait until the tool or the model ends; return the model's exit code, None where the tool was first."""
    while tool.poll() is None and model.poll() is None:
        time.sleep(0.5)
    return model.returncode


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(0)


@contextmanager
def _process(
    command: list[str],
    environment: dict[str, str],
    log: BinaryIO | None = None,
    ending: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until it is left; whatever it has not ended by itself then ends with it."""
    # A session of its own: Ctrl+C reaches this process alone, which then ends the others in order.
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(ending)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait_until_up(tool: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and tool.poll() is None:
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise DemoError(f"{url} did not come up. The tool's log is {LOG}.")


def _announce(demo: Demo, *, open_browser: bool) -> None:
    click.echo()
    click.secho("  AI Experiences is running. Open", bold=True)
    click.secho(f"\n      {demo.start_page}\n", bold=True, fg="green")
    click.echo(
        "  It is a course in a small Canvas look-alike. You are its teacher; at the top you may be others."
    )
    persona = demo.settings.conversation_models[0]
    if persona.base_url:
        click.echo(f"  {persona.model} at {persona.base_url} plays the personas.")
    click.echo(f"  The tool's log is {LOG}. Ctrl+C stops it.\n")
    if open_browser:
        webbrowser.open(demo.start_page)


def _show_model_progress(
    state_file: Path, model: subprocess.Popen[bytes], tool: subprocess.Popen[bytes]
) -> None:
    """Show how far the embedded model is, until it can answer or never will."""
    steps, reader = 1000, StateReader(state_file)
    with click.progressbar(length=steps, label="  Preparing the AI model (1.1 GB, fetched once)") as bar:
        while tool.poll() is None and model.poll() is None and reader.current().stage is not Stage.READY:
            bar.update(max(0, int((reader.current().progress or 0) * steps) - bar.pos))
            time.sleep(0.5)
    if reader.current().stage is Stage.READY:
        click.echo("  The AI model is ready and plays the personas.")
    else:
        click.echo(f"  {reader.current().detail} Prepared lines answer instead.")


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError("No port is free on 127.0.0.1.")


def stdout_is_a_person() -> bool:
    """Tell whether somebody watches, so that a browser may be opened."""
    return sys.stdout.isatty() and not os.environ.get("CI")
