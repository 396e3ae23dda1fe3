"""Finding out, without risk to this process, whether the embedded model's runtime works on this machine."""

import importlib.util
import subprocess
import sys
from pathlib import Path

from app.llm.embedded.errors import EmbeddedModelError

TRY_RUNTIME = "import xllamacpp; xllamacpp.get_system_info(); xllamacpp.CommonParams()"
PROBE_SECONDS = 60


def check_runtime(
    *, runtime: str = "xllamacpp", attempt: str = TRY_RUNTIME, cpu_info: Path = Path("/proc/cpuinfo")
) -> None:
    """Load the runtime in a child process, since a missing instruction kills. Raises `EmbeddedModelError`."""
    if importlib.util.find_spec(runtime) is None:
        raise EmbeddedModelError("The embedded model's runtime is not installed (the extra named local).")
    if _lacks_avx2(cpu_info):
        raise EmbeddedModelError("This processor has no AVX2 instructions, which the embedded model needs.")
    if not _runs(attempt):
        raise EmbeddedModelError("The embedded model's runtime does not work on this machine.")


def _lacks_avx2(cpu_info: Path) -> bool:
    """Tell whether the processor's own list of abilities is there, is an x86 one, and has no AVX2 in it."""
    try:
        flags = next(line for line in cpu_info.read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        return False
    return "avx2" not in flags.split()


def _runs(code: str) -> bool:
    try:
        child = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return child.returncode == 0
