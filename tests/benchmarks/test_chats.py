"""The benchmark itself runs: no figure is held against anything here."""

import pytest

from tests.benchmarks.chats import METRICS, run
from tests.support.services import postgresql

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(postgresql() is None, reason="PostgreSQL IS NOT INSTALLED: benchmarks need it"),
]


def test_every_turn_of_every_chat_is_read_whole_and_stored() -> None:
    result = run(chats=4, rounds=1, turns=1, workers=1)
    (samples,) = result.rounds
    assert [sample.done for sample in samples.values()] == [4, 4]
    assert set(result.metrics) == set(METRICS)
    for metric in METRICS:
        assert result.median("ours", metric) >= 0
