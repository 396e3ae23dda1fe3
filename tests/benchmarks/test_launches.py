"""The benchmark itself runs: no figure is held against anything here."""

import json

import pytest

from tests.benchmarks.launches import run
from tests.benchmarks.measure import METRICS
from tests.support.services import postgresql

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(postgresql() is None, reason="PostgreSQL IS NOT INSTALLED: benchmarks need it"),
]


def test_both_tools_open_their_first_page_for_everyone_who_launches() -> None:
    result = run(rounds=1, launches=8, browsers=2, workers=1, storage=True)
    assert [len(samples) for samples in result.rounds] == [2]
    assert all(sample.done == 8 for samples in result.rounds for sample in samples.values())
    assert set(json.loads(result.as_json())["metrics"]) == set(METRICS)
