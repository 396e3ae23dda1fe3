"""How every benchmark here measures: contenders take turns under the same load, each charged its own CPU time.

Driver, servers and database share the machine's cores, so work done per second says little about a server alone; work
done per second of CPU that its processes used does, and other programs on the machine hardly change it.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Contender:
    """A server under load. ``drive`` works through one round and returns what came of each piece of work: the seconds
    that it took, or more, for metrics that know it.
    """

    name: str
    pid: int
    drive: Callable[[], Sequence[Any]]


@dataclass(frozen=True)
class Sample:
    """One round of one contender. CPU times are seconds, ``memory`` bytes, of all processes together."""

    work: Sequence[Any]
    seconds: float
    web_cpu: float
    database_cpu: float
    driver_cpu: float
    memory: int

    @property
    def done(self) -> int:
        return len(self.work)


Metric = Callable[[Sample], float]

THROUGHPUT: dict[str, Metric] = {
    "per second": lambda s: s.done / s.seconds,
    "per second per core (web servers)": lambda s: s.done / s.web_cpu,
    "per second per core (with database)": lambda s: s.done / (s.web_cpu + s.database_cpu),
    "ms CPU each, web servers": lambda s: s.web_cpu / s.done * 1000,
    "ms CPU each, database": lambda s: s.database_cpu / s.done * 1000,
    "ms CPU each, driver": lambda s: s.driver_cpu / s.done * 1000,
}
METRICS: dict[str, Metric] = THROUGHPUT | {
    "ms each, median": lambda s: median(s.work) * 1000,
    "ms each, 95th percentile": lambda s: percentile(s.work) * 1000,
}


def percentile(values: Iterable[float], share: float = 0.95) -> float:
    """Return the value below which a share of all values lies."""
    ordered = sorted(values)
    return ordered[int(len(ordered) * share)]


@dataclass
class Result:
    """The rounds of a benchmark; `ours` is held against `reference`, round by round."""

    title: str
    ours: str
    reference: str
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS)
    rounds: list[dict[str, Sample]] = field(default_factory=list)

    def median(self, contender: str, metric: str) -> float:
        return median(self.metrics[metric](samples[contender]) for samples in self.rounds)

    def ratios(self, metric: str) -> list[float]:
        """Return ours over the reference, of each round, smallest first."""
        measure = self.metrics[metric]
        # A short round may be measured as nothing at all.
        return sorted(
            measure(each[self.ours]) / (measure(each[self.reference]) or math.inf) for each in self.rounds
        )

    def as_text(self) -> str:
        heads = f"{self.title}\n{'':38}{self.ours:>10}{self.reference:>10}   ratio (from … to)"
        return "\n".join([heads, *map(self._line, self.metrics)])

    def as_json(self) -> str:
        rows = {
            metric: {
                self.ours: self.median(self.ours, metric),
                self.reference: self.median(self.reference, metric),
                "ratio": median(self.ratios(metric)),
                "ratios": self.ratios(metric),
            }
            for metric in self.metrics
        }
        return json.dumps({"title": self.title, "rounds": len(self.rounds), "metrics": rows}, indent=2)

    def _line(self, metric: str) -> str:
        ratios = self.ratios(metric)
        figures = "".join(f"{self.median(name, metric):10.2f}" for name in (self.ours, self.reference))
        return f"{metric:38}{figures}   {median(ratios):.2f} ({ratios[0]:.2f} … {ratios[-1]:.2f})"


def compare(
    title: str,
    contenders: tuple[Contender, Contender],
    database_pid: int,
    rounds: int,
    metrics: Mapping[str, Metric] = METRICS,
) -> Result:
    """Let two contenders, ours first, take turns for some rounds, beginning alternately; one unmeasured round each."""
    ours, reference = contenders
    result = Result(title, ours.name, reference.name, metrics)
    for contender in contenders:
        contender.drive()
    for number in range(rounds):
        order = contenders if number % 2 == 0 else reversed(contenders)
        result.rounds.append({each.name: _sample(each, database_pid) for each in order})
    return result


def cpu_seconds(root: int) -> float:
    """Return the CPU time that a process and all its descendants, ended ones too, have used."""
    return sum(ticks for ticks, _ in _family(root).values()) / _TICKS


def memory_of(root: int) -> int:
    """Return the bytes of memory that a process and its descendants hold; what several share counts once."""
    return sum(map(_own_share, _family(root)))


def _family(root: int) -> dict[int, tuple[int, int]]:
    """Return a process and its descendants: ticks used and the parent's id, by process id."""
    found: dict[int, tuple[int, int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # A program's name, in parentheses, may hold anything.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(stat.parent.name)] = sum(map(int, fields[11:15])), int(fields[1])
    return {pid: each for pid, each in found.items() if _descends(pid, root, found)}


def _descends(pid: int, root: int, processes: Mapping[int, tuple[int, int]]) -> bool:
    while pid and pid != root:
        pid = processes[pid][1] if pid in processes else 0
    return pid == root


def _own_share(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


def _sample(contender: Contender, database_pid: int) -> Sample:
    before = cpu_seconds(contender.pid), cpu_seconds(database_pid), time.process_time(), time.perf_counter()
    work = contender.drive()
    after = cpu_seconds(contender.pid), cpu_seconds(database_pid), time.process_time(), time.perf_counter()
    web, database, driver, seconds = (end - begin for begin, end in zip(before, after, strict=True))
    return Sample(work, seconds, web, database, driver, memory_of(contender.pid))
