"""The benchmark itself runs: no figure is held against anything here."""

import pytest

from tests.benchmarks.api import run
from tests.support.services import postgresql

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(postgresql() is None, reason="PostgreSQL IS NOT INSTALLED: benchmarks need it"),
]


def test_lists_are_answered_whole_to_everyone_who_asks() -> None:
    results = run(rounds=1, requests=4, connections=2, workers=1, small=10, large=20)
    samples = [sample for result in results for each in result.rounds for sample in each.values()]
    assert [sample.done for sample in samples] == [4] * 4
