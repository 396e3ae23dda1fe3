"""Rates of the REST API: leaky buckets in memory and in Redis, which may be away."""

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from redis import Redis

from app.api import limits as module
from app.api.limits import KEY_PREFIX, REDIS_PAUSE, Limits, MemoryBuckets, RedisBuckets, Standing, init_app
from app.settings import Settings, SettingsError, load_settings
from tests.support.ports import free_port
from tests.support.redis import RedisServer, redis_server

RATES = {"token": 60.0, "user": 120.0}


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def in_memory(clock: Clock) -> Limits:
    return Limits(RATES, MemoryBuckets(clock))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer | None]:
    with redis_server() as server:
        yield server


@pytest.fixture
def redis(server: RedisServer | None) -> RedisServer:
    if server is None:
        pytest.skip("REDIS IS NOT INSTALLED: nothing is tested with it")
    if server.process is None:
        server.start()
    server.empty()
    return server


@pytest.fixture(params=["memory", "redis"])
def standing_still(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Limits:
    """Limits in whose buckets nothing leaks while the test runs."""
    if request.param == "memory":
        return Limits(RATES, MemoryBuckets(Clock()))
    script = module._POUR.replace("local now = time[1] + time[2] / 1000000", "local now = 1000")
    assert script != module._POUR
    monkeypatch.setattr(module, "_POUR", script)
    return Limits(RATES, RedisBuckets(request.getfixturevalue("redis").url))


def taken(limits: Limits, times: int, *keys: str) -> Standing:
    """Return where somebody stands after the last of so many requests, none of which was refused."""
    standings = [limits.take(*keys) for _ in range(times)]
    assert all(standing.retry_after is None for standing in standings)
    return standings[-1]


def test_a_bucket_holds_a_minutes_worth_and_no_more(standing_still: Limits) -> None:
    assert taken(standing_still, 60, "token:1").remaining == pytest.approx(0, abs=1e-3)
    refused = standing_still.take("token:1")
    assert refused.retry_after == 1
    assert refused.remaining == pytest.approx(0, abs=1e-3)


def test_what_is_left_and_what_a_request_cost_is_told(standing_still: Limits) -> None:
    standing = standing_still.take("token:1", cost=2.5)
    assert standing.headers == {"X-Rate-Limit-Remaining": "57.5", "X-Request-Cost": "2.5"}


def test_a_refused_request_costs_nothing_and_says_when_it_will_fit(standing_still: Limits) -> None:
    standing_still.take("token:1", cost=55)
    for _ in range(2):
        refused = standing_still.take("token:1", cost=10)
        assert refused.retry_after == 5
        assert refused.headers["Retry-After"] == "5"
        assert refused.headers["X-Rate-Limit-Remaining"] == "5.0"
    assert standing_still.take("token:1", cost=5).retry_after is None


def test_each_key_has_a_bucket_of_its_own(standing_still: Limits) -> None:
    taken(standing_still, 60, "token:1")
    assert standing_still.take("token:2").remaining == pytest.approx(59)


def test_the_tokens_of_one_person_share_what_the_person_may(standing_still: Limits) -> None:
    taken(standing_still, 60, "token:1", "user:1")
    assert standing_still.take("token:1", "user:1").retry_after
    taken(standing_still, 60, "token:2", "user:1")
    assert standing_still.take("token:3", "user:1").retry_after
    assert standing_still.take("token:3").remaining == pytest.approx(59)


def test_the_least_that_is_left_in_any_bucket_is_told(standing_still: Limits) -> None:
    taken(standing_still, 110, "user:1")
    assert standing_still.take("token:1", "user:1").remaining == pytest.approx(9)


def test_a_bucket_leaks_at_its_rate(in_memory: Limits, clock: Clock) -> None:
    taken(in_memory, 60, "token:1")
    clock.now += 3
    taken(in_memory, 3, "token:1")
    assert in_memory.take("token:1").retry_after == 1


def test_empty_buckets_are_dropped(clock: Clock) -> None:
    buckets = MemoryBuckets(clock)
    for number in range(100):
        buckets.pour({f"token:{number}": 1.0})
    clock.now += 61
    buckets.pour({"token:1": 1.0})
    assert list(buckets._empty_at) == ["token:1"]


def test_twenty_at_once_get_what_one_alone_would() -> None:
    limits = Limits({"token": 10.0}, MemoryBuckets(Clock()))
    with ThreadPoolExecutor(20) as pool:
        standings = list(pool.map(lambda _: limits.take("token:1"), range(20)))
    assert sum(standing.retry_after is None for standing in standings) == 10


def test_twenty_workers_at_once_share_a_bucket_in_redis(redis: RedisServer) -> None:
    workers = [Limits({"token": 10.0}, RedisBuckets(redis.url)) for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        standings = list(pool.map(lambda worker: worker.take("token:1"), workers))
    assert sum(standing.retry_after is None for standing in standings) == 10


def test_a_bucket_in_redis_leaks_and_goes_when_it_is_empty(redis: RedisServer) -> None:
    limits = Limits({"token": 60 * 100.0}, RedisBuckets(redis.url))
    limits.take("token:1", cost=1_000)
    with Redis.from_url(redis.url) as client:
        assert 9_000 < client.pttl(f"{KEY_PREFIX}token:1") <= 10_001
    first = limits.take("token:1").remaining
    assert limits.take("token:1", cost=0).remaining > first


def test_while_redis_is_away_each_worker_counts_on_its_own_and_nothing_fails(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    limits = Limits(RATES, RedisBuckets(redis.url, clock))
    taken(limits, 60, "token:1")
    redis.stop()
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            taken(limits, 1, "token:1")
            clock.now += 1
    assert [record.message.partition(" (")[0] for record in caplog.records] == ["Redis cannot be reached"]
    clock.now += 60
    with caplog.at_level(logging.WARNING):
        limits.take("token:1")
    assert len(caplog.records) == 2


def test_redis_is_asked_again_when_it_is_back(redis: RedisServer) -> None:
    clock = Clock()
    limits = Limits(RATES, RedisBuckets(redis.url, clock))
    redis.stop()
    limits.take("token:1")
    redis.start()
    clock.now += REDIS_PAUSE
    limits.take("token:1")
    with Redis.from_url(redis.url) as client:
        assert client.keys() == [f"{KEY_PREFIX}token:1".encode()]


def test_a_redis_that_is_away_is_asked_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = Clock(), []
    buckets = RedisBuckets(f"redis://127.0.0.1:{free_port()}/0", clock)
    script = buckets._script
    monkeypatch.setattr(buckets, "_script", lambda *arguments: asked.append(1) or script(*arguments))
    for _ in range(10):
        buckets.pour({"token:1": 1.0})
        clock.now += 1
    assert len(asked) == 2


def test_redis_without_its_client_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(SettingsError, match=r"pip install 'ai-experiences\[redis\]'"):
        RedisBuckets("redis://127.0.0.1")


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379"])
def test_an_address_of_something_else_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL: must start with redis://"):
        load_settings(_env_file=None, redis_url=url)


def test_an_address_that_cannot_be_read_is_refused_without_its_password() -> None:
    with pytest.raises(SettingsError) as refusal:
        RedisBuckets("redis://:pass/word@127.0.0.1")
    assert "pass" not in str(refusal.value).replace("redis://:password@host", "")


@pytest.mark.parametrize(
    ("url", "kind"), [(None, MemoryBuckets), ("redis://127.0.0.1", RedisBuckets)], ids=["memory", "redis"]
)
def test_the_application_has_limits_as_its_settings_say(url: str | None, kind: type) -> None:
    app = Flask(__name__)
    init_app(app, Settings(_env_file=None, redis_url=url, api_token_requests_per_minute=7))
    assert isinstance(app.extensions["api_limits"]._buckets, kind)
    assert app.extensions["api_limits"]._rates == {"token": 7, "user": 1_200}
