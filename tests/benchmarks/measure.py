"""How every benchmark here measures: contenders take turns under the same load, each charged its own CPU time.

Driver, servers and database share the machine's cores, so work done per second says little about a server alone; work
done per second of CPU that its processes used does, and other programs on the machine hardly change it.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Contender:
    """A server under load. ``drive`` works through one round and returns the seconds that each piece of work took."""

    name: str
    pid: int
    drive: Callable[[], Sequence[float]]


@dataclass(frozen=True)
class Sample:
    """One round of one contender. CPU times are seconds, of all processes together."""

    latencies: Sequence[float]
    seconds: float
    web_cpu: float
    database_cpu: float
    driver_cpu: float

    @property
    def done(self) -> int:
        return len(self.latencies)


Metric = Callable[[Sample], float]

METRICS: dict[str, Metric] = {
    "per second": lambda s: s.done / s.seconds,
    "per second per core (web servers)": lambda s: s.done / s.web_cpu,
    "per second per core (with database)": lambda s: s.done / (s.web_cpu + s.database_cpu),
    "ms CPU each, web servers": lambda s: s.web_cpu / s.done * 1000,
    "ms CPU each, database": lambda s: s.database_cpu / s.done * 1000,
    "ms CPU each, driver": lambda s: s.driver_cpu / s.done * 1000,
    "ms each, median": lambda s: median(s.latencies) * 1000,
    "ms each, 95th percentile": lambda s: sorted(s.latencies)[int(s.done * 0.95)] * 1000,
}


@dataclass
class Result:
    """The rounds of a benchmark; `ours` is held against `reference`, round by round."""

    title: str
    ours: str
    reference: str
    rounds: list[dict[str, Sample]] = field(default_factory=list)

    def median(self, contender: str, metric: str) -> float:
        return median(METRICS[metric](samples[contender]) for samples in self.rounds)

    def ratios(self, metric: str) -> list[float]:
        """Return ours over the reference, of each round, smallest first."""
        measure = METRICS[metric]
        return sorted(measure(each[self.ours]) / measure(each[self.reference]) for each in self.rounds)

    def as_text(self) -> str:
        heads = f"{self.title}\n{'':38}{self.ours:>10}{self.reference:>10}   ratio (from … to)"
        return "\n".join([heads, *map(self._line, METRICS)])

    def as_json(self) -> str:
        rows = {
            metric: {
                self.ours: self.median(self.ours, metric),
                self.reference: self.median(self.reference, metric),
                "ratio": median(self.ratios(metric)),
                "ratios": self.ratios(metric),
            }
            for metric in METRICS
        }
        return json.dumps({"title": self.title, "rounds": len(self.rounds), "metrics": rows}, indent=2)

    def _line(self, metric: str) -> str:
        ratios = self.ratios(metric)
        figures = "".join(f"{self.median(name, metric):10.2f}" for name in (self.ours, self.reference))
        return f"{metric:38}{figures}   {median(ratios):.2f} ({ratios[0]:.2f} … {ratios[-1]:.2f})"


def compare(title: str, contenders: tuple[Contender, Contender], database_pid: int, rounds: int) -> Result:
    """Let two contenders, ours first, take turns for some rounds, beginning alternately; one unmeasured round each."""
    ours, reference = contenders
    result = Result(title, ours.name, reference.name)
    for contender in contenders:
        contender.drive()
    for number in range(rounds):
        order = contenders if number % 2 == 0 else reversed(contenders)
        result.rounds.append({each.name: _sample(each, database_pid) for each in order})
    return result


def cpu_seconds(root: int) -> float:
    """Return the CPU time that a process and all its descendants, ended ones too, have used."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # A program's name, in parentheses, may hold anything.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        used[pid] = sum(map(int, fields[11:15])) / _TICKS
    return sum(seconds for pid, seconds in used.items() if _descends(pid, root, parents))


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid and pid != root:
        pid = parents.get(pid, 0)
    return pid == root


def _sample(contender: Contender, database_pid: int) -> Sample:
    before = cpu_seconds(contender.pid), cpu_seconds(database_pid), time.process_time(), time.perf_counter()
    latencies = contender.drive()
    after = cpu_seconds(contender.pid), cpu_seconds(database_pid), time.process_time(), time.perf_counter()
    web, database, driver, seconds = (end - begin for begin, end in zip(before, after, strict=True))
    return Sample(latencies, seconds, web, database, driver)
