"""A support copilot in simulated time: many users at once, one thread, the public names only.

A request is a generator that yields the seconds it waits; `Application.run` moves a `FakeClock` from
one event to the next. Each request has a context of its own, as it would in a server. What the
functions behind the door return are plain values in the shapes of a provider's SDK.

`World` is how things usually are, drawn anew for each run; `Fault` is what goes wrong with it.
"""

from __future__ import annotations

import contextvars
import heapq
import itertools
import math
import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import firedoor as fd
from firedoor.testing import FakeClock

JOURNEY = "support"
REFUSAL = "I can't help with that request."
DAY = 86_400.0

Q = fd.IncidentClass.QUALITY_REGRESSION
S = fd.IncidentClass.SAFETY_VIOLATION
R = fd.IncidentClass.RETRIEVAL_FAILURE
L = fd.IncidentClass.LATENCY_SATURATION
C = fd.IncidentClass.COST_RUNAWAY


class ProviderDown(ConnectionError):
    """What a client raises when the provider is away."""


@dataclass
class World:
    """How the application and its provider do, at the moment."""

    refusals: float = 0.02
    flags: float = 0.005
    ungrounded: float = 0.04
    errors: float = 0.005
    empty: float = 0.02
    tool_errors: float = 0.01
    tool_share: float = 0.3
    loops: float = 0.01
    unhappy: float = 0.12
    feedback: float = 0.1
    checked: float = 0.5
    score: float = 12.0
    score_spread: float = 2.5
    tokens: float = 600.0
    latency: float = 1.2
    spread: float = 0.35
    lower: float = 1.0
    """How many times as much the second tier says, at the price of the first."""

    @classmethod
    def drawn(cls, rng: random.Random) -> World:
        """An application like any other."""
        return cls(
            refusals=rng.uniform(0.003, 0.05),
            flags=rng.uniform(0.001, 0.02),
            ungrounded=rng.uniform(0.01, 0.1),
            errors=rng.uniform(0.001, 0.02),
            empty=rng.uniform(0.005, 0.06),
            tool_errors=rng.uniform(0.002, 0.04),
            tool_share=rng.uniform(0.1, 0.5),
            loops=rng.uniform(0.0, 0.03),
            unhappy=rng.uniform(0.05, 0.2),
            feedback=rng.uniform(0.02, 0.2),
            checked=rng.uniform(0.2, 1.0),
            score=rng.uniform(6.0, 20.0),
            score_spread=rng.uniform(1.0, 2.5),
            tokens=rng.uniform(200.0, 2_000.0),
            latency=rng.uniform(0.3, 2.5),
            spread=rng.uniform(0.2, 0.5),
        )


@dataclass(frozen=True)
class Fault:
    """What goes wrong, as what it does to the usual world."""

    name: str
    expected: fd.IncidentClass | None
    changes: dict[str, Callable[[World], float]] = field(default_factory=dict)

    def of(self, world: World) -> World:
        """The world with it."""
        return replace(world, **{name: change(world) for name, change in self.changes.items()})


def _more(name: str, by: float, most: float = 0.98) -> Callable[[World], float]:
    return lambda world: min(most, getattr(world, name) + by)


def _times(name: str, by: float) -> Callable[[World], float]:
    return lambda world: getattr(world, name) * by


def _refusing(rng: random.Random) -> dict[str, Any]:
    return {"refusals": _more("refusals", rng.uniform(0.12, 0.6))}


def _inventing(rng: random.Random) -> dict[str, Any]:
    return {"ungrounded": _more("ungrounded", rng.uniform(0.2, 0.7))}


def _broken_tools(rng: random.Random) -> dict[str, Any]:
    return {"tool_errors": _more("tool_errors", rng.uniform(0.4, 0.9))}


def _leaking(rng: random.Random) -> dict[str, Any]:
    return {"flags": _more("flags", rng.uniform(0.08, 0.5))}


def _nothing_found(rng: random.Random) -> dict[str, Any]:
    return {"empty": _more("empty", rng.uniform(0.2, 0.9))}


def _found_poorly(rng: random.Random) -> dict[str, Any]:
    return {"score": _times("score", rng.uniform(0.3, 0.6))}


def _slow(rng: random.Random) -> dict[str, Any]:
    return {"latency": _times("latency", rng.uniform(2.5, 6.0))}


def _failing(rng: random.Random) -> dict[str, Any]:
    return {"errors": _more("errors", rng.uniform(0.2, 0.9))}


def _longer(rng: random.Random) -> dict[str, Any]:
    return {"tokens": _times("tokens", rng.uniform(3.0, 8.0))}


def _dearer(rng: random.Random) -> dict[str, Any]:
    return {"lower": _times("lower", rng.uniform(3.0, 8.0))}


def _looping(rng: random.Random) -> dict[str, Any]:
    return {"loops": _more("loops", rng.uniform(0.3, 0.8)), "tool_share": _more("tool_share", 0.3)}


CAUSES: dict[str, tuple[fd.IncidentClass, tuple[Callable[[random.Random], dict[str, Any]], ...]]]
CAUSES = {
    "quality": (Q, (_refusing, _inventing, _broken_tools)),
    "safety": (S, (_leaking,)),
    "retrieval": (R, (_nothing_found, _found_poorly)),
    "latency": (L, (_slow, _failing)),
    "cost": (C, (_longer, _looping)),
}
COMBINED = {
    "retrieval + factuality": (R, ((_nothing_found, _found_poorly), (_inventing,))),
    "outage + cost": (L, ((_failing,), (_dearer,))),
    "leaks + refusals": (S, ((_leaking,), (_refusing,))),
}
SCENARIOS = (*CAUSES, *COMBINED)


def fault(name: str, rng: random.Random) -> Fault:
    """One of a kind, as severe as it happens to be."""
    if name in CAUSES:
        expected, kinds = CAUSES[name]
        return Fault(name, expected, rng.choice(kinds)(rng))
    expected, parts = COMBINED[name]
    changes: dict[str, Any] = {}
    for kinds in parts:
        changes.update(rng.choice(kinds)(rng))
    return Fault(name, expected, changes)


class Application:
    """The copilot behind its door, with the default alerts.

    Args:
        rng: All chance.
        world: How things usually are.
        limit: The journey's p95, in seconds; None: the default alerts learn it.
    """

    def __init__(
        self, rng: random.Random, world: World, *, limit: float | None = None, **door: Any
    ) -> None:
        self.rng = rng
        self.usual = self.world = world
        self.clock = FakeClock()
        self.calls = 0
        self._order = itertools.count()
        self._events: list[tuple[float, int, contextvars.Context, Generator[float]]] = []
        self.door = fd.Firedoor(
            "copilot",
            clock=self.clock,
            prices={
                "large": fd.Price(2.0, 8.0),
                "small": fd.Price(2.0, 8.0),
            },
            **door,
        )
        self.door.prompts.register(
            "answer", {"v12": "Answer.", "v13": "Answer well."}, active="v13"
        )
        self._build()
        self.door.watch(
            fd.alerts.defaults(journeys={JOURNEY: fd.Journey(p95=limit, critical=True)})
        )

    def _build(self) -> None:
        rng, door = self.rng, self.door

        @door.policy(on="output", action="flag")
        def no_secrets(text: str) -> bool:
            return "zeta-" not in text

        @door.retrieval("kb", depth="k")
        def search(query: str, *, k: int = 4) -> list[dict[str, Any]]:
            world = self.world
            if rng.random() < world.empty:
                return []
            score = max(0.1, rng.gauss(world.score, world.score_spread))
            first = rng.randrange(10_000)
            return [{"id": f"d{first + i}", "score": score * 0.9**i} for i in range(k)]

        @door.tool("orders", effect="read")
        def orders(number: int) -> dict[str, Any]:
            if rng.random() < self.world.tool_errors:
                raise LookupError("no such order")
            return {"state": "shipped", "number": number}

        self.search, self.orders = search, orders
        self.answer = door.llm(
            "answer",
            tiers=[fd.Tier("large"), fd.Tier("small"), fd.Canned("A person will follow up.")],
            policies=[no_secrets],
            prompt="answer",
        )

    # What a request does -------------------------------------------------------------------

    def request(self) -> Generator[float]:
        """One user's request, from the question to the answer; yields what it waits."""
        rng, world = self.rng, self.world
        with self.door.request(JOURNEY) as request:
            self.calls += 1
            try:
                self.search("where is my order?")
            except fd.Denied:
                return
            if rng.random() < world.tool_share:
                yield from self._use_tool()
            yield from self._ask()
            while rng.random() < self.world.loops:
                yield from self._use_tool(7)
                yield from self._ask()
        if request.outcome == "answered" and rng.random() < world.checked:
            bad = rng.random() < self.world.ungrounded
            score = rng.uniform(0.0, 0.4) if bad else rng.uniform(0.6, 1.0)
            self.door.signals.observe("groundedness", score, journey=JOURNEY, route="llm:answer")
        if rng.random() < world.feedback:
            request.feedback(0.0 if rng.random() < world.unhappy else 1.0)

    def _use_tool(self, number: int | None = None) -> Generator[float]:
        self.calls += 1
        number = self.rng.randrange(1_000_000) if number is None else number
        try:
            self.orders(number)
        except (LookupError, fd.Denied):
            return
        yield 0.05

    def _ask(self) -> Generator[float]:
        rng = self.rng
        self.calls += 1
        try:
            for attempt in self.answer.attempts():
                with attempt:
                    large = attempt.model == "large"
                    world = self.world if large else self.usual
                    seconds = world.latency * math.exp(rng.gauss(0.0, world.spread))
                    yield seconds if large else seconds / 2
                    if large and rng.random() < world.errors:
                        raise ProviderDown("503 from the provider")
                    attempt.record(self._says(attempt.model))
        except (ProviderDown, fd.Denied):
            return

    def _says(self, model: str) -> dict[str, Any]:
        rng, world = self.rng, self.world
        text, reason = "It has been shipped.", "stop"
        chance = rng.random()
        if chance < world.refusals:
            text = REFUSAL
            reason = "content_filter" if chance < world.refusals / 2 else "stop"
        elif rng.random() < world.flags:
            text = "It is under zeta-123456."
        tokens = int(world.tokens * math.exp(rng.gauss(0.0, 0.4)))
        tokens = tokens if model == "large" else int(tokens * world.lower)
        return {
            "id": "x",
            "object": "chat.completion",
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "finish_reason": reason,
                    "message": {"role": "assistant", "content": text},
                }
            ],
            "usage": {
                "prompt_tokens": tokens,
                "completion_tokens": tokens // 5,
                "total_tokens": tokens + tokens // 5,
            },
        }

    # Time ----------------------------------------------------------------------------------

    def run(
        self,
        seconds: float,
        rate: Callable[[float], float],
        most: float,
        *,
        until: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Serve users for so long, or `until` something is so, which is asked once a second.

        Args:
            seconds: Of simulated time.
            rate: Requests a second, by the time on the clock.
            most: The highest it ever is: arrivals are thinned from that.
            until: Ends it.

        Returns:
            Whether `until` ended it.
        """
        rng, clock = self.rng, self.clock
        end = clock.now() + seconds
        arrival = clock.now() + rng.expovariate(most)
        ask = clock.now() + 1.0
        while True:
            due = self._events[0][0] if self._events else math.inf
            at = min(due, arrival, end)
            if at > clock.now():
                clock.advance(at - clock.now())
            if at >= end:
                return False
            if at >= ask:
                ask = at + 1.0
                if until():
                    return True
            if due <= arrival:
                _, _, context, running = heapq.heappop(self._events)
                self._step(context, running)
            else:
                if rng.random() * most < rate(arrival):
                    self._step(contextvars.copy_context(), self.request())
                arrival += rng.expovariate(most)

    def _step(self, context: contextvars.Context, running: Generator[float]) -> None:
        try:
            seconds = context.run(next, running)
        except StopIteration:
            return
        event = (self.clock.now() + seconds, next(self._order), context, running)
        heapq.heappush(self._events, event)


# Calls a request makes, tools and all, near enough to speak of calls a second.
CALLS = 2.4


@dataclass(frozen=True)
class Run:
    """What became of one run.

    Attributes:
        scenario: What went wrong.
        expected: The class it is of.
        found: The class of the incident, `unknown`, or `none` if there was no incident.
        early: An incident was opened before anything went wrong.
        calls_a_second: The traffic.
        delay: Seconds from the onset to the incident.
        calls: Calls made in that time.
        incidents: How many there were.
        signals: What the first incident's evidence is made of.
    """

    scenario: str
    expected: fd.IncidentClass
    found: str
    early: bool
    calls_a_second: float
    delay: float | None
    calls: int
    incidents: int
    signals: tuple[str, ...] = ()


SETTLES = 300.0
"""Seconds an incident is watched after it was opened: other alerts join it."""


def simulate(scenario: str, seed: int, *, rates: tuple[float, float] = (0.05, 200.0)) -> Run:
    """A random application with random traffic, in which `scenario` begins at a random time."""
    rng = random.Random(f"{scenario}-{seed}")
    per_second = math.exp(rng.uniform(math.log(rates[0]), math.log(rates[1])))
    requests = per_second / CALLS
    world = World.drawn(rng)
    what = fault(scenario, rng)
    usual_p95 = world.latency * math.exp(1.65 * world.spread)
    limit = rng.choice([None, 1.6 * usual_p95])
    app = Application(rng, world, limit=limit)
    door = app.door
    try:
        # Enough of a past: some minutes, or what four hundred requests take.
        app.run(max(450.0, 400 / requests) * rng.uniform(1.0, 1.5), lambda _: requests, requests)
        early = len(door.incidents.current())
        app.world = what.of(world)
        onset, before = app.clock.now(), app.calls
        wall = app.clock.time_ns() / 1e9
        lasts = max(900.0, 400 / requests)
        opened = app.run(
            lasts,
            lambda _: requests,
            requests,
            until=lambda: len(door.incidents.current()) > early,
        )
        delay = app.clock.now() - onset if opened else None
        calls = app.calls - before
        if opened:
            app.run(max(SETTLES, 50 / requests), lambda _: requests, requests)
        new = [i for i in door.incidents.history(20) if i.detected_at >= wall]
        first = min(new, key=lambda i: i.detected_at, default=None)
        found = "none" if first is None else str(first.incident_class or "unknown")
        signals = () if first is None else tuple(e.signal for e in first.evidence)
        return Run(
            scenario,
            what.expected,
            found,
            early > 0,
            per_second,
            delay,
            calls,
            len(new),
            signals,
        )
    finally:
        door.close()


def rhythm(
    rng: random.Random, requests: float, days: float
) -> tuple[Callable[[float], float], float]:
    """Traffic of a healthy application: nights and days, and bursts of minutes; its maximum."""
    bursts = []
    for _ in range(int(4 * days + rng.random())):
        begin = rng.uniform(0.0, days * DAY)
        bursts.append((begin, begin + rng.uniform(300.0, 1_800.0), rng.uniform(2.0, 6.0)))
    phase = rng.uniform(0.0, DAY)

    def rate(at: float) -> float:
        base = requests * (1.05 + 0.95 * math.sin(2 * math.pi * (at + phase) / DAY))
        return base * max((times for begin, end, times in bursts if begin <= at < end), default=1.0)

    return rate, requests * 2.0 * 6.0


def _drifting(app: Application, rate: Callable[[float], float]) -> Callable[[float], float]:
    """The same traffic, and rates that are not quite the same at all hours."""
    rng, usual, due = app.rng, app.usual, [0.0]

    def drifting(at: float) -> float:
        if at >= due[0]:
            due[0] = at + 3_600.0
            slow = 1.0 + 0.15 * math.sin(2 * math.pi * at / DAY)
            app.usual = app.world = replace(
                usual,
                latency=usual.latency * slow * rng.uniform(0.95, 1.05),
                refusals=usual.refusals * rng.uniform(0.85, 1.15),
                tokens=usual.tokens * rng.uniform(0.93, 1.07),
                ungrounded=usual.ungrounded * rng.uniform(0.85, 1.15),
            )
        return rate(at)

    return drifting


def healthy(
    seed: int, *, days: float = 1.0, rates: tuple[float, float] = (0.05, 0.5)
) -> list[list[str]]:
    """By day, the signals of the incidents that a healthy application has: none, it is hoped."""
    rng = random.Random(f"healthy-{seed}")
    per_second = math.exp(rng.uniform(math.log(rates[0]), math.log(rates[1])))
    app = Application(rng, World.drawn(rng))
    began = app.clock.time_ns() / 1e9
    try:
        rate, most = rhythm(rng, per_second / CALLS, days)
        app.run(days * DAY, _drifting(app, rate), most)
        found: list[list[str]] = [[] for _ in range(math.ceil(days))]
        for incident in app.door.incidents.history(100):
            found[int((incident.detected_at - began) // DAY)].append(incident.alerts[0].signal)
        return found
    finally:
        app.door.close()


def busy(seed: int, *, rates: tuple[float, float] = (5.0, 50.0)) -> list[str]:
    """An hour of a healthy application with much traffic, and a burst in it."""
    rng = random.Random(f"busy-{seed}")
    per_second = math.exp(rng.uniform(math.log(rates[0]), math.log(rates[1])))
    app = Application(rng, World.drawn(rng))
    try:
        begin = rng.uniform(600.0, 3_000.0)
        usual = per_second / CALLS

        def rate(at: float) -> float:
            return usual * (3.0 if begin <= at < begin + 180.0 else 1.0)

        app.run(3_600.0, _drifting(app, rate), 3.0 * usual)
        return [incident.alerts[0].signal for incident in app.door.incidents.history(100)]
    finally:
        app.door.close()


def matrix(runs: Sequence[Run]) -> tuple[list[str], list[list[object]]]:
    """What was found, by what went wrong: the headings and the rows of a table."""
    found = [*(str(c) for c in fd.IncidentClass), "unknown", "none"]
    rows: list[list[object]] = []
    for scenario in SCENARIOS:
        some = [run for run in runs if run.scenario == scenario]
        if some:
            rows.append([scenario, *(sum(r.found == c for r in some) for c in found)])
    return found, rows


def macro_f1(runs: Sequence[Run]) -> float:
    """The mean over the classes of the harmonic mean of precision and recall."""
    scores = []
    for c in sorted({str(run.expected) for run in runs}):
        right = sum(run.found == c == run.expected for run in runs)
        said = sum(run.found == c for run in runs)
        were = sum(run.expected == c for run in runs)
        scores.append(2 * right / (said + were))
    return sum(scores) / len(scores)
