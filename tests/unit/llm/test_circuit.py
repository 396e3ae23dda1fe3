from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.llm.circuit import Circuit, CircuitOpenError
from app.llm.interface import ModelError, ModelErrorCode

UNREACHABLE = ModelError(ModelErrorCode.UNREACHABLE)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr("app.llm.circuit.monotonic", clock)
    yield clock


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit("a-model", failures=3, seconds=20)


def fail(circuit: Circuit, times: int, code: ModelErrorCode = ModelErrorCode.UNREACHABLE) -> None:
    for _ in range(times):
        circuit.failed(ModelError(code))


def is_open(circuit: Circuit) -> bool:
    try:
        circuit.admit()
    except CircuitOpenError:
        return True
    return False


def test_it_opens_when_failures_add_up(circuit: Circuit) -> None:
    fail(circuit, 2)
    assert not is_open(circuit)

    fail(circuit, 1)

    assert is_open(circuit)


def test_it_says_when_to_come_back(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 3)
    clock.now += 5

    with pytest.raises(CircuitOpenError) as refused:
        circuit.admit()

    assert (refused.value.code, refused.value.retryable) == (ModelErrorCode.UNREACHABLE, True)
    assert refused.value.retry_after == 15


def test_old_failures_are_forgotten(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 2)
    clock.now += 20
    fail(circuit, 2)

    assert not is_open(circuit)


def test_some_failures_among_many_calls_do_not_open_it(circuit: Circuit) -> None:
    for _ in range(10):
        circuit.succeeded()
    fail(circuit, 9)
    assert not is_open(circuit)

    fail(circuit, 1)

    assert is_open(circuit)


@pytest.mark.parametrize("code", [ModelErrorCode.REFUSED, ModelErrorCode.BAD_ANSWER])
def test_what_is_not_the_servers_failure_does_not_count(circuit: Circuit, code: ModelErrorCode) -> None:
    fail(circuit, 10, code)

    assert not is_open(circuit)


@pytest.mark.parametrize("code", [ModelErrorCode.BUSY, ModelErrorCode.TIMEOUT])
def test_a_server_that_is_too_busy_or_too_slow_is_left_alone_too(
    circuit: Circuit, code: ModelErrorCode
) -> None:
    fail(circuit, 3, code)

    assert is_open(circuit)


def test_one_caller_at_a_time_tries_it_again(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 3)
    clock.now += 20

    assert not is_open(circuit)
    assert is_open(circuit)


def test_a_probe_that_fails_leaves_it_open(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 3)
    clock.now += 20
    circuit.admit()
    fail(circuit, 1)
    clock.now += 19

    assert is_open(circuit)


def test_a_probe_that_never_comes_back_makes_way_for_the_next(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 3)
    clock.now += 20
    circuit.admit()
    clock.now += 20

    assert not is_open(circuit)


def test_a_success_closes_it_and_begins_a_new_count(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 3)
    clock.now += 20
    circuit.admit()
    circuit.succeeded()
    fail(circuit, 2)

    assert not is_open(circuit)


@pytest.mark.parametrize("code", [ModelErrorCode.REFUSED, ModelErrorCode.BAD_ANSWER])
def test_an_answer_that_is_of_no_use_closes_it_too(
    circuit: Circuit, clock: Clock, code: ModelErrorCode
) -> None:
    fail(circuit, 3)
    clock.now += 20
    circuit.admit()
    fail(circuit, 1, code)

    assert not is_open(circuit)


def test_one_of_many_threads_is_the_probe(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 3)
    clock.now += 20

    with ThreadPoolExecutor(16) as threads:
        refused = list(threads.map(lambda _: is_open(circuit), range(200)))

    assert refused.count(False) == 1


def test_it_says_so_once(circuit: Circuit, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    fail(circuit, 9)
    clock.now += 20
    circuit.admit()
    circuit.succeeded()

    assert caplog.messages == ["a-model fails and is left alone for 20 s", "a-model answers again"]
