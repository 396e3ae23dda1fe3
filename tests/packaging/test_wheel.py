"""The built wheel carries what it needs and serves outside the checkout."""

import os
import signal
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel alone of its own; its dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    packages = next(folder.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    ours = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    (packages / "dependencies.pth").write_text(str(ours))
    return folder


@pytest.fixture
def served(installed: Path, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "APP_URL": f"http://localhost:{port}",
        "LLM_PROVIDER": "scripted",
    }
    command = [installed / "bin" / "python", "-m", "app.cli", "serve", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/lti/jwks.json", server, tmp_path / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(15)


def test_the_wheel_carries_templates_static_files_and_migrations(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for part in (
        "app/templates/base.html",
        "app/templates/sandbox/base.html",
        "app/static/css/canvas.css",
        "app/migrations/versions/0001_first_tables.py",
        "app/migrations/env.py",
        "app/conversations/prompts/1.txt",
        "app/sandbox/seeds/1-patient.json",
        "app/sandbox/static/sandbox.css",
        "app/llm/embedded/model-parts.txt",
    ):
        assert part in names
    assert not [name for name in names if name.startswith("tests") or name.endswith(".pem")]


def test_serve_runs_outside_the_checkout(served: str) -> None:
    assert requests.get(f"{served}/", timeout=5).status_code == 200
    assert requests.get(f"{served}/static/css/canvas.css", timeout=5).status_code == 200
    assert requests.get(f"{served}/bootstrap/static/css/bootstrap.min.css", timeout=5).status_code == 200
    assert requests.get(f"{served}/lti/config.json", timeout=5).json()["title"] == "AI Experiences"
    assert requests.get(f"{served}/launches/none/experiences", timeout=5).status_code == 401


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and server.poll() is None:
        try:
            requests.get(url, timeout=2)
        except requests.RequestException:
            time.sleep(0.2)
        else:
            return
    pytest.fail(log.read_text())
