"""The chain: policies in order, on one text or on a whole conversation.

Sans-I/O but for awaiting: the sync and the async way share every decision, and differ only in
how a policy is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from firedoor.clock import SYSTEM_CLOCK, Clock
from firedoor.errors import ConfigurationError
from firedoor.policies.base import Context, Policy, Stage, Strictness
from firedoor.policies.content import rewrite, texts
from firedoor.types import Verdict, VerdictStatus

__all__ = ["Chain", "ContentScreening", "Screening"]

_GRAVITY = (
    VerdictStatus.NOT_APPLICABLE,
    VerdictStatus.PASSED,
    VerdictStatus.SKIPPED,
    VerdictStatus.FLAGGED,
    VerdictStatus.REDACTED,
    VerdictStatus.ERRORED,
    VerdictStatus.BLOCKED,
)


@dataclass(frozen=True, slots=True)
class _Screened:
    verdicts: tuple[Verdict, ...]
    blocked_by: str | None
    flagged: bool

    def explain(self) -> str:
        """Who refused, what and why, without any of the text: the words of a `PolicyBlocked`."""
        for verdict in self.verdicts:
            if verdict.gate == self.blocked_by:
                found = f" ({', '.join(verdict.labels)})" if verdict.labels else ""
                why = f": {verdict.reason}" if verdict.reason else ""
                return f"{verdict.gate} refused the {verdict.stage.replace('_', ' ')}{found}{why}"
        return "nothing was refused"


@dataclass(frozen=True, slots=True)
class Screening(_Screened):
    """What a chain made of one text.

    Attributes:
        verdicts: One per policy of the stage, in order. Every policy has one, also those that did
            not run: `skipped` after a block, `not_applicable` below their strictness.
        blocked_by: The gate that refused the text, by a finding or because it failed and its
            `on_error` is `block`; None when it may be used.
        flagged: A policy flagged the text, or failed with `on_error="flag"`.
        text: The text to use. After a block it is as far as the chain had come: do not use it.
    """

    text: str


@dataclass(frozen=True, slots=True)
class ContentScreening(_Screened):
    """What a chain made of a conversation, of arguments, of documents.

    Attributes:
        verdicts: One per policy, the gravest over all texts with the labels of all.
        blocked_by: As of `Screening`.
        flagged: As of `Screening`.
        value: The value to use: the one given, where nothing was changed; otherwise a copy along
            the path of each change.
    """

    value: Any


class Step:
    """One policy of a plan, with all that does not depend on the text worked out before."""

    __slots__ = (
        "async_",
        "gate",
        "inactive",
        "on_error",
        "passed",
        "policy",
        "raw",
        "shadow",
        "stage",
        "timeout",
    )

    def __init__(
        self, gate: str, policy: Policy, stage: Stage, strictness: Strictness, *, shadow: bool
    ) -> None:
        self.policy = policy
        self.stage = stage
        self.gate = gate
        self.shadow = shadow or policy.shadow
        self.raw = policy.reads == "raw"
        self.async_ = policy.is_async
        self.on_error = policy.on_error_at(strictness)
        self.timeout = policy.timeout
        self.passed = Verdict(self.gate, VerdictStatus.PASSED, stage=stage, shadow=self.shadow)
        self.inactive: Verdict | None = None
        if strictness.rank < policy.level.rank:
            self.inactive = Verdict(
                self.gate,
                VerdictStatus.NOT_APPLICABLE,
                stage=stage,
                reason=f"applies from strictness {policy.level}",
                shadow=self.shadow,
            )

    def without(self, status: VerdictStatus, reason: str) -> Verdict:
        """The verdict of a policy that did not get to judge."""
        return Verdict(self.gate, status, stage=self.stage, reason=reason, shadow=self.shadow)

    def failed(self, why: str) -> Verdict:
        """The verdict of a policy that could not judge; the reason tells what came of it."""
        effect = {"block": "blocked", "flag": "flagged", "allow": "let through"}[self.on_error]
        return self.without(VerdictStatus.ERRORED, f"{why}; {effect}")

    def overran(self, verdict: Verdict | None) -> Verdict:
        """The verdict of a sync policy that answered too late."""
        late = f"took longer than {self.timeout:g} s"
        if verdict is None:
            return self.failed(late)
        return replace(verdict, reason=f"{verdict.reason}; {late}" if verdict.reason else late)


class _Run:
    """One text on its way through a plan."""

    __slots__ = ("blocked_by", "flagged", "overlapping", "text", "verdicts")

    def __init__(self, text: str, *, overlapping: bool) -> None:
        self.text = text
        self.verdicts: list[Verdict] = []
        self.blocked_by: str | None = None
        self.flagged = False
        self.overlapping = overlapping

    def due(self, step: Step) -> bool:
        """Whether the step is to be asked; its verdict is noted if not."""
        if step.inactive is not None:
            self.verdicts.append(step.inactive)
            return False
        if self.blocked_by is not None:
            self.verdicts.append(
                step.without(VerdictStatus.SKIPPED, f"{self.blocked_by} had refused")
            )
            return False
        return True

    def take(self, step: Step, verdict: Verdict | None) -> None:
        """Note what a policy said, and do it unless it only watches."""
        if verdict is None:
            self.verdicts.append(step.passed)
            return
        if verdict.gate != step.gate:
            verdict = replace(verdict, gate=step.gate)
        status = verdict.status
        if step.shadow:
            self.verdicts.append(replace(verdict, shadow=True))
            return
        if status is VerdictStatus.REDACTED and self.overlapping:
            status = VerdictStatus.BLOCKED
            verdict = replace(
                verdict,
                status=status,
                replacement=None,
                reason="asked to change a text that was already sent",
            )
        self.verdicts.append(verdict)
        if status is VerdictStatus.BLOCKED:
            self.blocked_by = step.gate
        elif status is VerdictStatus.REDACTED:
            self.text = self.text if verdict.replacement is None else verdict.replacement
        elif status is VerdictStatus.FLAGGED:
            self.flagged = True
        elif status is VerdictStatus.ERRORED:
            if step.on_error == "block":
                self.blocked_by = step.gate
            self.flagged = self.flagged or step.on_error == "flag"


class Chain:
    """Policies in the order given; immutable, and safe to share between threads and tasks.

    Args:
        policies: The policies. Those of other stages than the one screened are no part of it.
        shadow: Every policy only watches, whatever it says itself.
        clock: Measures time budgets.

    Raises:
        ConfigurationError: If something else than a policy is given.
    """

    def __init__(
        self, policies: Sequence[Policy] = (), *, shadow: bool = False, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.shadow = shadow
        self.clock = clock
        self._overlapping = False
        self._plan(_name(policies))

    def _plan(self, named: list[tuple[str, Policy]]) -> None:
        self._named = named
        self.policies = tuple(policy for _, policy in named)
        self._plans: dict[tuple[str, str], tuple[Step, ...]] = {
            (stage, level): tuple(
                Step(gate, policy, stage, level, shadow=self.shadow)
                for gate, policy in named
                if stage in policy.stages
            )
            for stage in Stage
            for level in Strictness
        }

    def applies(self, stage: Stage | str) -> bool:
        """Whether any policy looks at this stage."""
        return bool(self._plans[Stage(stage), Strictness.NORMAL])

    def needs_async(self, stage: Stage | str | None = None) -> bool:
        """Whether a policy of the stage (of any stage) must be awaited.

        A guard around a sync function asks this when it is made, and refuses then.
        """
        stages = tuple(Stage) if stage is None else (Stage(stage),)
        return any(
            policy.is_async for policy in self.policies if not policy.stages.isdisjoint(stages)
        )

    def split(self, stage: Stage | str) -> tuple[Chain, Chain]:
        """The stage's policies as two chains: one to finish before the call, one to run beside it.

        The first ends before anything is sent; the second, policies with `overlap=True`, starts on
        its text while the model generates. Until the second has ended, nothing generated may reach
        the user or a tool; if it blocks, what was generated is thrown away. A change it asks for
        cannot be made any more, and blocks. Sync policies among them need a worker thread.
        """
        here = [(gate, policy) for gate, policy in self._named if Stage(stage) in policy.stages]
        parts = []
        for overlapping in (False, True):
            part = Chain(shadow=self.shadow, clock=self.clock)
            part._overlapping = overlapping
            part._plan([(gate, policy) for gate, policy in here if policy.overlap is overlapping])
            parts.append(part)
        return parts[0], parts[1]

    def plan(
        self, stage: Stage | str, strictness: Strictness | str = Strictness.NORMAL
    ) -> tuple[Step, ...]:
        """The steps for one stage. A strictness nobody knows counts as the highest."""
        plan = self._plans.get((stage, strictness))
        return self._plans[Stage(stage), Strictness.LOCKDOWN] if plan is None else plan

    def screen(
        self,
        text: str,
        stage: Stage | str,
        strictness: Strictness | str = Strictness.NORMAL,
        context: Any = None,
    ) -> Screening:
        """Run the stage's policies over one text. Does not raise, whatever a policy does.

        An async policy that ends up here (see `needs_async`) is `errored`, not run.

        Args:
            text: The text.
            stage: Where it comes from.
            strictness: How guarded the application is now.
            context: Passed to policies as `Context.request`.
        """
        run = _Run(text, overlapping=self._overlapping)
        steps = self.plan(stage, strictness)
        if steps:
            about = Context(Stage(stage), level_of(strictness), text, context)
            for step in steps:
                if run.due(step):
                    run.take(step, self.ask(step, text if step.raw else run.text, about))
        return Screening(tuple(run.verdicts), run.blocked_by, run.flagged, run.text)

    async def ascreen(
        self,
        text: str,
        stage: Stage | str,
        strictness: Strictness | str = Strictness.NORMAL,
        context: Any = None,
    ) -> Screening:
        """As `screen`, awaiting the async policies."""
        run = _Run(text, overlapping=self._overlapping)
        steps = self.plan(stage, strictness)
        if steps:
            about = Context(Stage(stage), level_of(strictness), text, context)
            for step in steps:
                if run.due(step):
                    run.take(step, await self.aask(step, text if step.raw else run.text, about))
        return Screening(tuple(run.verdicts), run.blocked_by, run.flagged, run.text)

    def screen_content(
        self,
        value: Any,
        stage: Stage | str,
        strictness: Strictness | str = Strictness.NORMAL,
        context: Any = None,
    ) -> ContentScreening:
        """Run the stage's policies over every text in `value`; see `content.texts` for which.

        The value itself is never changed. Stops at the first text that is blocked.
        """
        batch = _Batch(self.plan(stage, strictness), value, stage)
        for text in batch.texts:
            if not batch.add(self.screen(text, stage, strictness, context)):
                break
        return batch.result()

    async def ascreen_content(
        self,
        value: Any,
        stage: Stage | str,
        strictness: Strictness | str = Strictness.NORMAL,
        context: Any = None,
    ) -> ContentScreening:
        """As `screen_content`, awaiting the async policies."""
        batch = _Batch(self.plan(stage, strictness), value, stage)
        for text in batch.texts:
            if not batch.add(await self.ascreen(text, stage, strictness, context)):
                break
        return batch.result()

    def ask(self, step: Step, text: str, about: Context) -> Verdict | None:
        """What a policy says of a text; a failure is an answer too."""
        if step.async_:
            return step.failed("async policy in sync code")
        if step.timeout is None:
            try:
                return step.policy.judge(text, about)
            except Exception as error:
                return step.failed(type(error).__name__)
        started = self.clock.now()
        try:
            verdict = step.policy.judge(text, about)
        except Exception as error:
            return step.failed(type(error).__name__)
        return step.overran(verdict) if self.clock.now() - started > step.timeout else verdict

    async def aask(self, step: Step, text: str, about: Context) -> Verdict | None:
        """As `ask`, awaiting an async policy no longer than its time budget."""
        if not step.async_:
            return self.ask(step, text, about)
        try:
            if step.timeout is None:
                return await step.policy.ajudge(text, about)
            return await _within(self.clock, step.timeout, step.policy.ajudge(text, about))
        except _OverranError:
            return step.failed(f"took longer than {step.timeout:g} s")
        except Exception as error:
            return step.failed(type(error).__name__)


class _Batch:
    """The screenings of the texts of one value, becoming one."""

    __slots__ = (
        "blocked_by",
        "failure",
        "flagged",
        "merged",
        "replaced",
        "stage",
        "steps",
        "texts",
        "value",
    )

    def __init__(self, steps: tuple[Step, ...], value: Any, stage: Stage | str) -> None:
        self.steps = steps
        self.value = value
        self.stage = Stage(stage)
        self.texts: list[str] = []
        self.replaced: list[str] = []
        self.merged: list[Verdict] = []
        self.blocked_by: str | None = None
        self.flagged = False
        self.failure: str | None = None
        if steps:
            try:
                self.texts = list(texts(value, self.stage))
            except Exception as error:
                self.failure = f"content could not be read: {type(error).__name__}"

    def add(self, screening: Screening) -> bool:
        self.replaced.append(screening.text)
        self.blocked_by = screening.blocked_by
        self.flagged = self.flagged or screening.flagged
        verdicts = screening.verdicts
        self.merged = (
            [_graver(a, b) for a, b in zip(self.merged, verdicts, strict=True)]
            if self.merged
            else list(verdicts)
        )
        return self.blocked_by is None

    def result(self) -> ContentScreening:
        value = self.value
        if self.failure is None and self.blocked_by is None and self.replaced != self.texts:
            try:
                replaced = iter(self.replaced)
                value = rewrite(value, lambda _: next(replaced), self.stage)
            except Exception as error:
                self.failure = f"content could not be changed: {type(error).__name__}"
        if self.failure is not None:
            self._fail(self.failure)
        elif not self.texts:
            self.merged = [
                step.without(VerdictStatus.NOT_APPLICABLE, "no text") for step in self.steps
            ]
        return ContentScreening(tuple(self.merged), self.blocked_by, self.flagged, value)

    def _fail(self, why: str) -> None:
        run = _Run("", overlapping=False)
        for step in self.steps:
            if run.due(step):
                run.take(step, step.failed(why))
        self.merged, self.blocked_by = run.verdicts, run.blocked_by
        self.flagged = self.flagged or run.flagged


def _graver(one: Verdict, other: Verdict) -> Verdict:
    if one is other:
        return one
    worse = max(one, other, key=lambda verdict: _GRAVITY.index(verdict.status))
    labels = tuple(dict.fromkeys(one.labels + other.labels))
    if worse.labels == labels and worse.replacement is None:
        return worse
    return replace(worse, labels=labels, replacement=None)


def level_of(strictness: Strictness | str) -> Strictness:
    try:
        return Strictness(strictness)
    except ValueError:
        return Strictness.LOCKDOWN


def _name(policies: Sequence[Policy]) -> list[tuple[str, Policy]]:
    """Each policy with its gate; the second of a name is `name-2`, so that verdicts tell them apart."""
    named = []
    counts: dict[str, int] = {}
    for policy in policies:
        if not isinstance(policy, Policy):
            raise ConfigurationError(
                f"policies=[... {policy!r}]: not a policy; make one of a function with @door.policy(on=...)"
            )
        gate = policy.gate
        counts[gate] = count = counts.get(gate, 0) + 1
        named.append((gate if count == 1 else f"{gate}-{count}", policy))
    return named


class _OverranError(Exception):
    """A policy's time budget is used up; apart from a TimeoutError of the policy's own."""


async def _within(
    clock: Clock, seconds: float, work: Coroutine[Any, Any, Verdict | None]
) -> Verdict | None:
    """The result of `work`, or _OverranError after `seconds` of the clock; `work` is cancelled then.

    Does not wait for cancelled work to give in: a policy that swallows its cancellation must not
    hold the call.
    """
    task = asyncio.ensure_future(work)
    timer = asyncio.ensure_future(_sleep(clock.asleep(seconds)))
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise _OverranError
    finally:
        timer.cancel()
        if not task.done():
            task.cancel()
            task.add_done_callback(_retrieve)


async def _sleep(until: Awaitable[None]) -> None:
    await until


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Read the outcome of work that nobody waits for, so that asyncio does not complain of it."""
    if not task.cancelled():
        task.exception()
