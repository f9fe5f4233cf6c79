"""Whatever tiers, retries and hedges are declared: a call ends by its deadline, an outage is not fed."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import firedoor as fd
from firedoor.testing import FakeClock

TICK = 0.25
ticks = st.integers(1, 16).map(lambda n: n * TICK)
limits = st.none() | ticks
tiers = st.lists(
    st.builds(
        fd.Tier,
        st.sampled_from(["a", "b", "c"]),
        timeout=limits,
        first_token=limits,
        idle=limits,
        attempts=st.integers(1, 3),
    ),
    min_size=1,
    max_size=3,
)


class Down(ConnectionError):
    """The provider is away."""


class Lives:
    """What each attempt does: after how long, and how it ends."""

    def __init__(self, drawn):
        self.drawn = drawn
        self.begun = 0

    def next(self):
        life = self.drawn[self.begun % len(self.drawn)]
        self.begun += 1
        return life


lives = st.lists(
    st.tuples(ticks, st.sampled_from(["answer", "fail", "hang", "stream", "stall"])),
    min_size=1,
    max_size=6,
)


def body(clock, life):
    """A guarded function's body that lives as drawn."""

    async def stream(seconds, how):
        for _ in range(3):
            await clock.asleep(seconds)
            yield "text"
        if how == "stall":
            await asyncio.Event().wait()

    async def answer(*, model):
        seconds, how = life.next()
        if how in ("stream", "stall"):
            return stream(seconds, how)
        await (asyncio.Event().wait() if how == "hang" else clock.asleep(seconds))
        if how == "fail":
            raise Down
        return "text"

    return answer


async def drive(clock, work):
    """Let the work run, moving the clock by a tick whenever all wait for it."""
    task = asyncio.ensure_future(work)
    for _ in range(400):
        for _ in range(40):
            await asyncio.sleep(0)
        if task.done():
            break
        clock.advance(TICK)
    assert task.done(), "the call never ended"
    return await asyncio.gather(task, return_exceptions=True)


@settings(max_examples=150, deadline=None)
@given(
    ladder=tiers,
    drawn=lives,
    deadline=ticks,
    canned=st.booleans(),
    hedge=st.none() | st.builds(fd.Hedge, after=ticks, max_extra=st.integers(1, 2)),
)
def test_a_call_ends_by_its_deadline(ladder, drawn, deadline, canned, hedge):
    clock = FakeClock()
    door = fd.Firedoor("test", clock=clock)
    decisions = []
    door.on_decision(decisions.append)
    last = [fd.Canned("safe")] if canned else []
    guarded = door.llm(
        "answer", tiers=[*ladder, *last], hedge=hedge, side_effect_free=hedge is not None
    )(body(clock, Lives(drawn)))

    async def call():
        with door.request("help", deadline=deadline):
            result = await guarded()
            if not isinstance(result, str):
                async for _ in result:
                    pass

    asyncio.run(drive(clock, call()))
    (decision,) = decisions
    assert decision.latency_s <= deadline + TICK
    running = [a for a in decision.attempts if a.latency_s is not None]
    assert all(a.started_s + a.latency_s <= deadline + TICK for a in running)


@pytest.mark.parametrize("calls", [20, 200])
def test_attempts_in_an_outage_are_bounded(calls):
    clock = FakeClock()
    door = fd.Firedoor("test", clock=clock)
    asked = []

    @door.llm(
        "answer",
        tiers=[fd.Tier("big", attempts=4)],
        hedge=fd.Hedge(after=TICK, max_extra=2),
        side_effect_free=True,
    )
    async def answer(*, model):
        asked.append(model)
        await clock.asleep(2 * TICK)
        raise Down

    async def many():
        await asyncio.gather(*[answer() for _ in range(calls)], return_exceptions=True)

    asyncio.run(drive(clock, many()))
    assert calls < len(asked) <= calls + max(0.1 * calls, 10)
