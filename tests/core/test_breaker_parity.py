"""resilience4j's documented circuit breaker, row by row, and ours.

The left of each row is what https://resilience4j.readme.io/docs/circuitbreaker and the Javadoc of
`CircuitBreakerConfig` say. `same`: ours does that. Anything else is what ours does instead, and
why. Each row is run against the machine.
"""

from typing import NamedTuple

import pytest

from firedoor.config import Breaker
from firedoor.core.breaker import Circuit
from firedoor.core.breaker_values import Exceeded, Permit, Refusal, Result, State
from firedoor.core.window import Counts
from firedoor.errors import ConfigurationError

SUCCESS, FAILURE, IGNORED, _ = Result
ROWS = []


class Row(NamedTuple):
    documented: str
    ours: str
    check: object


def row(documented, ours="same"):
    def add(check):
        ROWS.append(Row(documented, ours, check))
        return check

    return add


def make(**settings):
    settings = {"minimum_calls": 4, "window": 8, "window_type": "count", "jitter": 0.0} | settings
    return Circuit(Breaker(**settings), random=lambda: 0.5)


def run(circuit, *results, now=0.0, duration=0.1):
    event = None
    for result in results:
        permit = circuit.acquire(now)
        assert isinstance(permit, Permit)
        event = circuit.settle(permit, result, duration, now)
    return event


def opened(**settings):
    circuit = make(**settings)
    while circuit.state is not State.OPEN:
        run(circuit, FAILURE)
    return circuit


def trials(circuit, now):
    taken = []
    while isinstance(permit := circuit.acquire(now), Permit):
        taken.append(permit)
    return taken


# States ----------------------------------------------------------------------------------------


@row("three normal states CLOSED, OPEN, HALF_OPEN; special METRICS_ONLY, DISABLED, FORCED_OPEN")
def _():
    assert {state.name for state in State} == {
        "CLOSED",
        "OPEN",
        "HALF_OPEN",
        "METRICS_ONLY",
        "DISABLED",
        "FORCED_OPEN",
    }


@row("CLOSED to OPEN when the failure rate is equal to or greater than the threshold")
def _():
    assert run(make(), FAILURE, FAILURE, SUCCESS, SUCCESS).after is State.OPEN
    assert run(make(), FAILURE, SUCCESS, SUCCESS, SUCCESS) is None


@row("CLOSED to OPEN when the share of slow calls is equal to or greater than the threshold")
def _():
    circuit = make(slow_call=1.0, slow_call_rate=0.5)
    run(circuit, SUCCESS, SUCCESS)
    run(circuit, SUCCESS, duration=2.0)
    assert run(circuit, SUCCESS, duration=2.0).reason == "slow_call_rate"


@row("slow calls are counted among successful and failed calls")
def _():
    circuit = make(slow_call=1.0)
    run(circuit, SUCCESS, FAILURE, duration=2.0)
    assert circuit.read(0.0).counts == Counts(calls=2, failures=1, slow=2)


@row(
    "a call is slow when it takes longer than slowCallDurationThreshold",
    "at or above it: a timeout set to the same figure then counts as slow",
)
def _():
    circuit = make(slow_call=1.0)
    run(circuit, SUCCESS, duration=1.0)
    assert circuit.read(0.0).counts.slow == 1


@row(
    "rates are only calculated once minimumNumberOfCalls were recorded; before, they are -1", "None"
)
def _():
    circuit = make()
    assert run(circuit, FAILURE, FAILURE, FAILURE) is None
    assert circuit.read(0.0).rates.failure is None


@row(
    "if the minimum is 10 and 9 calls were recorded, it does not open even if all 9 failed",
)
def _():
    circuit = make(minimum_calls=10, window=10)
    assert run(circuit, *[FAILURE] * 9) is None
    assert run(circuit, FAILURE).after is State.OPEN


@row("OPEN rejects calls with CallNotPermittedException", "a Refusal; the shell raises BreakerOpen")
def _():
    assert isinstance(opened().acquire(1.0), Refusal)


@row("after the wait duration the next call moves OPEN to HALF_OPEN (no automatic transition)")
def _():
    circuit = opened(open_for=30.0)
    assert circuit.read(40.0).state is State.OPEN
    assert isinstance(circuit.acquire(40.0), Permit)
    assert circuit.state is State.HALF_OPEN


@row("automaticTransitionFromOpenToHalfOpenEnabled: a thread makes that move on time", "no threads")
def _():
    assert opened().read(1e9).state is State.OPEN


@row("HALF_OPEN permits permittedNumberOfCallsInHalfOpenState and rejects the rest")
def _():
    assert len(trials(opened(half_open_calls=7), 30.0)) == 7


@row("further calls are rejected until all permitted calls have completed")
def _():
    circuit = opened(half_open_calls=2)
    first, _ = trials(circuit, 30.0)
    circuit.settle(first, SUCCESS, 0.1, 30.0)
    assert isinstance(circuit.acquire(30.0), Refusal)


@row(
    "HALF_OPEN to OPEN if a rate is then equal to or greater than its threshold",
    "as soon as the remaining trials could not change that",
)
def _():
    circuit = opened(half_open_calls=2, failure_rate=1.0)
    first, second = trials(circuit, 30.0)
    assert circuit.settle(first, FAILURE, 0.1, 30.0) is None
    assert circuit.settle(second, FAILURE, 0.1, 30.0).after is State.OPEN
    circuit = opened(half_open_calls=4, failure_rate=0.5)
    first, second, *_ = trials(circuit, 30.0)
    circuit.settle(first, FAILURE, 0.1, 30.0)
    assert circuit.settle(second, FAILURE, 0.1, 30.0).after is State.OPEN


@row("HALF_OPEN to CLOSED if both rates are below their thresholds")
def _():
    circuit = opened(half_open_calls=4, failure_rate=0.5)
    taken = trials(circuit, 30.0)
    results = [FAILURE, SUCCESS, SUCCESS, SUCCESS]
    events = [circuit.settle(t, r, 0.1, 30.0) for t, r in zip(taken, results, strict=True)]
    assert events[:3] == [None] * 3
    assert events[3].after is State.CLOSED


@row(
    "half-open is judged after min(minimumNumberOfCalls, permitted) calls",
    "always after all of half_open_calls: a smaller minimum would close it on less than was asked",
)
def _():
    circuit = opened(minimum_calls=1, half_open_calls=3)
    taken = trials(circuit, 30.0)
    assert [circuit.settle(t, SUCCESS, 0.1, 30.0) for t in taken[:2]] == [None, None]


@row("maxWaitDurationInHalfOpenState: open again when it is over")
def _():
    circuit = opened(half_open_max_wait=5.0)
    trials(circuit, 30.0)
    assert circuit.acquire(35.0).state is State.OPEN


@row(
    "maxWaitDurationInHalfOpenState 0 (default): wait infinitely for the permitted calls",
    "a trial is a lease of open_for seconds: a lost one cannot shut the target out for ever",
)
def _():
    circuit = opened(half_open_calls=1, open_for=30.0)
    trials(circuit, 30.0)
    assert isinstance(circuit.acquire(59.0), Refusal)
    assert isinstance(circuit.acquire(60.0), Permit)


# Windows ---------------------------------------------------------------------------------------


@row("COUNT_BASED: the last slidingWindowSize calls")
def _():
    circuit = make(window=4)
    run(circuit, FAILURE, SUCCESS, SUCCESS, SUCCESS, SUCCESS)
    assert circuit.read(0.0).counts == Counts(4, 0)


@row("TIME_BASED: the calls of the last slidingWindowSize seconds, in one bucket per second")
def _():
    circuit = make(window=10, window_type="time")
    run(circuit, FAILURE, now=0.9)
    assert circuit.read(9.9).counts.calls == 1
    assert circuit.read(10.0).counts.calls == 0


@row("buckets last one second", "as long as the window is 10 to 60 s; else it is cut in 10 or 60")
def _():
    circuit = make(window=3600, window_type="time")
    run(circuit, FAILURE, now=0.0)
    assert circuit.read(3599.0).counts.calls == 1
    assert circuit.read(3600.0).counts.calls == 0


@row("minimumNumberOfCalls cannot be greater than a COUNT_BASED window", "an error that says so")
def _():
    with pytest.raises(ConfigurationError, match="can never be reached"):
        Breaker(window=5, window_type="count", minimum_calls=6)


# Exceptions and permissions --------------------------------------------------------------------


@row("ignored exceptions count neither as failure nor as success")
def _():
    circuit = make()
    run(circuit, *[IGNORED] * 9)
    assert circuit.read(0.0).counts == Counts()


@row("an ignored outcome releases the permission of a half-open call")
def _():
    circuit = opened(half_open_calls=1)
    (trial,) = trials(circuit, 30.0)
    circuit.settle(trial, IGNORED, 0.1, 30.0)
    assert isinstance(circuit.acquire(30.0), Permit)


@row("releasePermission: a call that was not made gives its permission back")
def _():
    circuit = opened(half_open_calls=1)
    (trial,) = trials(circuit, 30.0)
    circuit.cancel(trial)
    assert isinstance(circuit.acquire(30.0), Permit)


@row(
    "an outcome that arrives in a later state is recorded by that state (a no-op in OPEN)",
    "ignored: its permit is of an older epoch, and a slow failure from before the outage's end "
    "must not fail a trial",
)
def _():
    circuit = make(half_open_calls=1)
    late = circuit.acquire(0.0)
    run(circuit, *[FAILURE] * 4)
    trials(circuit, 30.0)
    assert circuit.settle(late, FAILURE, 30.0, 30.0) is None
    assert circuit.state is State.HALF_OPEN


# Open time -------------------------------------------------------------------------------------


@row("waitIntervalFunctionInOpenState grows with the attempts in a row; closing starts it anew")
def _():
    circuit = opened(open_for=10.0, open_growth=2.0, half_open_calls=1)
    assert run(circuit, FAILURE, now=10.0).open_for == 20.0
    assert run(circuit, FAILURE, now=30.0).open_for == 40.0
    assert run(circuit, SUCCESS, now=70.0).after is State.CLOSED
    assert run(circuit, *[FAILURE] * 4, now=70.0).open_for == 10.0


@row(
    "a randomised interval lies on both sides of its mean",
    "jitter only adds: nobody returns before a Retry-After",
)
def _():
    circuit = Circuit(Breaker(minimum_calls=1, open_for=10.0, jitter=0.5), random=lambda: 0.0)
    assert run(circuit, FAILURE).open_for == 10.0


# By hand ---------------------------------------------------------------------------------------


@row("DISABLED always allows access; no metrics are recorded")
def _():
    circuit = make()
    circuit.force(State.DISABLED, 0.0)
    assert run(circuit, *[FAILURE] * 20) is None
    assert circuit.read(0.0).counts == Counts()


@row("FORCED_OPEN always denies access")
def _():
    circuit = make()
    circuit.force(State.FORCED_OPEN, 0.0)
    assert circuit.acquire(1e12) == Refusal(None, State.FORCED_OPEN)


@row("METRICS_ONLY always allows access, records metrics and publishes that a rate was exceeded")
def _():
    circuit = make(mode="metrics_only")
    assert isinstance(run(circuit, *[FAILURE] * 4), Exceeded)
    assert isinstance(circuit.acquire(0.0), Permit)
    assert circuit.read(0.0).counts == Counts(4, 4)


@row("the only way out of DISABLED and FORCED_OPEN is a transition by hand or a reset")
def _():
    for state in (State.DISABLED, State.FORCED_OPEN):
        circuit = make()
        circuit.force(state, 0.0)
        circuit.acquire(1e12)
        assert circuit.state is state
        assert circuit.reset(1e12).after is State.CLOSED


@row(
    "reset goes back to the closed state, losing all metrics", "to the configured mode, losing all"
)
def _():
    circuit = opened()
    assert circuit.reset(0.0).after is State.CLOSED
    assert circuit.read(0.0).counts == Counts()


@row("every transition is legal but CLOSED to HALF_OPEN")
def _():
    for before in State:
        for after in State:
            circuit = make()
            circuit.force(State.OPEN, 0.0)
            circuit.force(before, 0.0)
            if (before, after) == (State.CLOSED, State.HALF_OPEN):
                with pytest.raises(ValueError, match="half-open"):
                    circuit.force(after, 0.0)
            else:
                circuit.force(after, 0.0)
                assert circuit.state is after


@row("transitions, resets and exceeded rates are published as events", "as values, to be published")
def _():
    event = run(make(), *[FAILURE] * 4)
    assert (event.before, event.after, event.counts) == (State.CLOSED, State.OPEN, Counts(4, 4))


# Defaults --------------------------------------------------------------------------------------


@row(
    "defaults: failure 50 %, slow 100 % over 60 s, window of 100 calls, minimum 100, wait 60 s, "
    "10 half-open calls",
    "failure 50 %, slowness not watched until told what is slow, window of 60 s, minimum 20, "
    "wait 30 s growing to 600 s, 5 half-open calls: LLM calls are fewer and dearer",
)
def _():
    default = Breaker()
    assert (default.failure_rate, default.slow_call, default.window) == (0.5, None, 60.0)
    assert (default.window_type, default.minimum_calls, default.half_open_calls) == ("time", 20, 5)
    assert (default.open_for, default.open_max) == (30.0, 600.0)


@pytest.mark.parametrize("parity", ROWS, ids=[r.documented[:70] for r in ROWS])
def test_documented(parity):
    parity.check()
