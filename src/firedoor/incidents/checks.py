"""Scores answers off the user's path: a bounded queue, one thread, a timeout, a budget.

A call only leaves its texts here, and only those of a sampled decision. What does not fit is
skipped and counted: checks wait for nobody, and nobody waits for them.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import threading
import zlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, cast

from firedoor.config import Budget
from firedoor.core.signals import CATALOGUE
from firedoor.errors import ConfigurationError, Saturated
from firedoor.extraction import Extract
from firedoor.extraction.asking import asked
from firedoor.incidents.allowance import Allowance
from firedoor.incidents.groundedness import Groundedness
from firedoor.incidents.scoring import CheckContext, CheckStatus, Score, score_of
from firedoor.incidents.signals import Signals
from firedoor.records import Decision
from firedoor.shell.call import Call
from firedoor.shell.current import Entered, attach, get_current, restore
from firedoor.shell.runtime import Runtime
from firedoor.shell.scope import REQUEST_KEY, Request
from firedoor.shell.witness import Heard
from firedoor.shell.workers import Workers
from firedoor.telemetry.evaluations import Evaluated
from firedoor.types import Outcome, RouteKind

__all__ = ["GROUNDEDNESS", "Check", "Checks"]

GROUNDEDNESS = "groundedness"
"""The check that comes with firedoor."""

_BROUGHT_FOR = frozenset({GROUNDEDNESS, "ungrounded_rate"})
_BROUGHT_SAMPLE = 0.25
_BROUGHT_BUDGET = Budget(calls=120, per=60.0)
"""At 3 ms a check less than a hundredth of one processor, and enough of a sample in five minutes."""

Check = Callable[
    [str, CheckContext],
    "float | bool | Score | Awaitable[float | bool | Score | None] | None",
]
"""Gets an answer and its context; says how good it is, 0 to 1, or None where it cannot tell."""

_MOST_WAITING = 256
_MOST_CHARACTERS = 8_000_000
_MOST_ANSWER = 64_000
_MOST_PROMPT = 64_000
_MOST_LEFT_RUNNING = 8
_MOST_CHECKS = 16
_LAST = 50
_IDLE_SECONDS = 5.0
_REPLIES = (Outcome.ANSWERED, Outcome.DEGRADED, Outcome.REFUSED)
_NAME = re.compile(r"[A-Za-z0-9][\w.:-]{0,63}")


@dataclass(slots=True)
class _Registered:
    """One check, and what came of it so far."""

    name: str
    run: Check
    own: bool
    sample: int
    seed: int
    timeout: float
    allowance: Allowance
    routes: frozenset[str] | None
    threshold: float
    counts: Counter[str] = field(default_factory=Counter)
    total: float = 0.0
    last: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_LAST))

    def wants(self, decision: Decision) -> bool:
        """Whether this decision is one of the sample: the same for the same id, everywhere."""
        if self.routes is not None and decision.route not in self.routes:
            return False
        return zlib.crc32(decision.id.encode(), self.seed) < self.sample


@dataclass(frozen=True, slots=True)
class _Job:
    check: _Registered
    answer: str
    context: CheckContext
    size: int


class Checks:
    """The checks of one door. Thread-safe; a `Witness` of its calls once there is one.

    Args:
        runtime: The door's parts.
        signals: Where scores go.
    """

    def __init__(self, runtime: Runtime, signals: Signals) -> None:
        self._runtime = runtime
        self._signals = signals
        self._checks: tuple[_Registered, ...] = ()
        self._workers = Workers(runtime.clock, most_abandoned=_MOST_LEFT_RUNNING)
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._size = 0
        self._serving = False
        self._busy = False

    def add(
        self,
        name: Any,
        fn: Any = None,
        *,
        sample: float = 1.0,
        timeout: float = 5.0,
        budget: Budget | None = None,
        routes: Any = None,
        threshold: float = 0.5,
    ) -> None:
        """Score answers from now on; see `Firedoor.check`."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"door.check({name!r}): name it with up to 64 letters, digits and . : _ -"
            )
        where = f"door.check({name!r}"
        if fn is None and name != GROUNDEDNESS:
            raise ConfigurationError(
                f"{where}): only {GROUNDEDNESS!r} comes with firedoor; give a function of the "
                "answer and its context"
            )
        if fn is not None and not callable(fn):
            raise ConfigurationError(
                f"{where}, {fn!r}): give a function (answer, context) -> score"
            )
        _within(where, "sample", sample, 0, 1)
        _within(where, "threshold", threshold, 0, 1)
        _within(where, "timeout", timeout, 0.001, 3600)
        if routes is not None and (isinstance(routes, str) or not all(
            isinstance(route, str) and route.startswith("llm:") for route in routes
        )):  # fmt: skip
            raise ConfigurationError(
                f"{where}, routes={routes!r}): list routes of model calls, as in ['llm:answer']"
            )
        if len(self._checks) >= _MOST_CHECKS and name not in {c.name for c in self._checks}:
            raise ConfigurationError(f"{where}): a door has {_MOST_CHECKS} checks at most")
        made = _Registered(
            name,
            Groundedness(self._runtime) if fn is None else cast("Check", fn),
            own=fn is None,
            sample=int(sample * 2**32),
            seed=zlib.crc32(name.encode()),
            timeout=float(timeout),
            allowance=Allowance(budget, name),
            routes=None if routes is None else frozenset(routes),
            threshold=float(threshold),
        )
        if name not in self._signals.names():
            self._signals.register(name, shape="mean", unit="1", higher_is_worse=False)
        elif name != GROUNDEDNESS and name in CATALOGUE:
            raise ConfigurationError(f"{where}): there is a signal of that name; choose another")
        self._checks = (*(check for check in self._checks if check.name != name), made)
        self._runtime.witness = self

    def bring(self, signals: Collection[str]) -> None:
        """Run the default check where one of these signals needs it and nobody declared it."""
        known = {check.name for check in self._checks}
        if _BROUGHT_FOR.isdisjoint(signals) or GROUNDEDNESS in known or len(known) >= _MOST_CHECKS:
            return
        self.add(GROUNDEDNESS, sample=_BROUGHT_SAMPLE, budget=_BROUGHT_BUDGET)

    # On the path of calls --------------------------------------------------------------------

    def ended(self, call: Call, decision: Decision) -> None:
        """Keep what a call brought to its request, or queue its answer for the checks."""
        said, call.said = call.said, None
        request = call.request
        if decision.kind is not RouteKind.LLM:
            if request is not None:
                _hear(request, decision, said)
            return
        if not said or decision.synthetic or decision.outcome not in _REPLIES or decision.truncated:
            return
        wanted = [check for check in self._checks if check.wants(decision)]
        if not wanted:
            return
        context = _context(call, request, decision)
        answer = said[:_MOST_ANSWER]
        texts = (answer, context.question, *context.prompt)
        # Documents are kept by the request anyway while it lasts.
        size = sum(map(len, texts)) + sum(map(len, context.documents))
        for check in wanted:
            self._put(_Job(check, answer, context, size))

    def _put(self, job: _Job) -> None:
        if self._pid != os.getpid():  # the thread did not come along in a fork
            self._reset()
        with self._changed:
            full = len(self._jobs) >= _MOST_WAITING or self._size + job.size > _MOST_CHARACTERS
            if not full:
                self._jobs.append(job)
                self._size += job.size
                if not self._serving:
                    self._serving = True
                    threading.Thread(
                        target=self._serve, name="firedoor-checks", daemon=True
                    ).start()
                self._changed.notify()
        if full:
            self._count(job, CheckStatus.SKIPPED)

    # Off it -------------------------------------------------------------------------------------

    def _serve(self) -> None:
        changed = self._changed
        while True:
            with changed:
                while not self._jobs:
                    if not changed.wait(_IDLE_SECONDS) and not self._jobs:
                        self._serving = False
                        return
                job = self._jobs.popleft()
                self._size -= job.size
                self._busy = True
            try:
                self._judge(job)
            except Exception as error:
                self._runtime.internal("checks", error)
            finally:
                del job  # no text is kept while this thread waits
                with changed:
                    self._busy = False
                    changed.notify_all()

    def _judge(self, job: _Job) -> None:
        check = job.check
        if not check.allowance.left(self._runtime.time_ns() / 1e9):
            self._count(job, CheckStatus.SKIPPED)
            return
        # What a check asks of the door's own routes is not traffic: it is in no signal.
        request = Request(self._runtime, "check", synthetic=True)
        try:
            score = score_of(self._value(job, request))
        except _LateError:
            self._count(job, CheckStatus.TIMED_OUT, error="timeout")
        except Saturated:
            self._count(job, CheckStatus.SKIPPED)
            return
        except Exception as error:
            self._count(job, CheckStatus.ERRORED, error=type(error).__name__)
        else:
            check.allowance.spend(request.cost_usd + (score.cost_usd or 0.0))
            self._tell(job, score)
            return
        check.allowance.spend(request.cost_usd)

    def _value(self, job: _Job, request: Request) -> Any:
        check = job.check
        if check.own:
            return check.run(job.answer, job.context)
        work = _Work(check.run, job)
        previous = get_current()
        own = Entered({REQUEST_KEY: request})
        attach(own)
        try:
            self._workers.run(work, check.timeout, late=lambda _: None)
        except TimeoutError:
            work.cancel()
            raise _LateError from None
        finally:
            restore(own, previous)
        if work.error is not None:
            raise work.error
        return work.value

    def _tell(self, job: _Job, score: Score) -> None:
        check, decision = job.check, job.context.decision
        if score.score is None:
            self._count(job, CheckStatus.NOT_APPLICABLE)
            return
        self._signals.observe(
            check.name,
            score.score,
            journey=decision.journey,
            route=decision.route,
            alias=decision.alias,
        )
        self._count(job, CheckStatus.SCORED, score)

    def _count(
        self,
        job: _Job,
        status: CheckStatus,
        score: Score | None = None,
        *,
        error: str | None = None,
    ) -> None:
        runtime, check, decision = self._runtime, job.check, job.context.decision
        with self._changed:
            check.counts[status] += 1
            if score is not None:
                check.total += score.score or 0.0
            if status is not CheckStatus.SKIPPED:
                check.last.append(
                    {
                        "decision_id": decision.id,
                        "route": decision.route,
                        "status": str(status),
                        "score": None if score is None else score.score,
                        "claims": None if score is None else score.claims,
                        "unsupported": None if score is None else score.unsupported,
                    }
                )
        runtime.recorder.checked(check.name, str(status))
        if status is CheckStatus.SKIPPED or status is CheckStatus.NOT_APPLICABLE:
            return
        value = None if score is None else score.score
        runtime.recorder.evaluation(
            check.name,
            Evaluated.of(decision),
            value=value,
            label=None if value is None else "pass" if value >= check.threshold else "fail",
            explanation=self._explained(score),
            error_type=error,
        )

    def _explained(self, score: Score | None) -> str | None:
        if score is None:
            return None
        told = None
        if score.claims:
            told = f"{score.unsupported or 0} of {score.claims} claims unsupported"
        if score.explanation and self._runtime.capture == "redacted":
            why = self._runtime.clean(score.explanation)
            told = why if told is None else f"{told}:\n{why}"
        return told

    # Operation -----------------------------------------------------------------------------------

    def drain(self, seconds: float = 30.0) -> bool:
        """Wait until every queued check is done, for so many seconds of real time at most."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._busy, seconds)

    def close(self) -> None:
        """Let go of what still waits; it is counted as skipped."""
        with self._changed:
            left = list(self._jobs)
            self._jobs.clear()
            self._size = 0
        for job in left:
            self._count(job, CheckStatus.SKIPPED)

    def snapshot(self) -> dict[str, Any]:
        """By check: how many answers it scored, what became of the others, and the last results."""
        with self._changed:
            waiting = Counter(job.check.name for job in self._jobs)
            return {
                check.name: {
                    **{str(status): check.counts[status] for status in CheckStatus},
                    "mean": check.total / scored if (scored := check.counts["scored"]) else None,
                    "waiting": waiting[check.name],
                    "last": list(check.last),
                }
                for check in self._checks
            }


class _LateError(Exception):
    """A check took longer than it may; never leaves here."""


class _Work:
    """One run of a check in a worker thread. What it raises is kept apart from a timeout of ours."""

    __slots__ = ("_fn", "_job", "_loop", "_task", "error", "value")

    def __init__(self, fn: Check, job: _Job) -> None:
        self._fn = fn
        self._job: _Job | None = job
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self.value: Any = None
        self.error: Exception | None = None

    def __call__(self) -> None:
        job, self._job = self._job, None
        assert job is not None
        try:
            found: Any = self._fn(job.answer, job.context)
            if inspect.isawaitable(found):
                found = asyncio.run(self._awaited(found))
            self.value = found
        except asyncio.CancelledError:
            return
        except Exception as error:
            self.error = error

    async def _awaited(self, found: Any) -> Any:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        return await found

    def cancel(self) -> None:
        """Have an async check stop; a sync one cannot be stopped."""
        loop, task = self._loop, self._task
        if loop is not None and task is not None and not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)


def _within(where: str, name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigurationError(f"{where}, {name}={value!r}): give a number from {low} to {high}")


def _hear(request: Request, decision: Decision, said: Any) -> None:
    """File what a retrieval or a tool brought with its request and those around it."""
    around: Request | None = request
    while around is not None:
        heard = around.heard = around.heard or Heard()
        if decision.kind is RouteKind.TOOL:
            if isinstance(said, str):
                heard.told(said)
        else:
            heard.retrieved = True
            if isinstance(said, Extract):
                heard.found(_named(said))
                heard.unread |= said.unknown is not None or (
                    bool(said.sources) and not said.documents
                )
        around = around.parent


def _named(said: Extract) -> list[str]:
    """Texts under their documents' names, where each text has one: an answer may cite it."""
    if len(said.sources) != len(said.documents):
        return list(said.documents)
    return [
        text if source.id.startswith("#") else f"{source.id}\n{text}"
        for source, text in zip(said.sources, said.documents, strict=True)
    ]


def _context(call: Call, request: Request | None, decision: Decision) -> CheckContext:
    question, prompt = asked(call.arguments)
    heard: Heard | None = None
    around = request
    while around is not None:
        # The nearest request that looked for something; failing that, the nearest with a tool.
        if around.heard is not None and (heard is None or not heard.retrieved):
            heard = around.heard
        around = around.parent
    kept: list[str] = []
    room = _MOST_PROMPT
    for text in prompt:
        if room <= 0:
            break
        kept.append(text[:room])
        room -= len(text)
    return CheckContext(
        decision,
        question[-_MOST_PROMPT:],
        () if heard is None else tuple(heard.documents),
        () if heard is None else tuple(heard.results),
        tuple(kept),
        retrieved=heard is not None and heard.retrieved,
        unread=heard is not None and heard.unread,
        in_request=request is not None,
    )
