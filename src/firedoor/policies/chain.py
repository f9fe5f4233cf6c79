"""The chain: policies in order, on one text or on a whole conversation.

The sync and the async way share every decision (`screening`), and differ only in how a policy is
asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any

from firedoor.clock import SYSTEM_CLOCK, Clock
from firedoor.errors import ConfigurationError
from firedoor.policies.base import Context, Policy, Stage, Strictness
from firedoor.policies.screening import Batch, ContentScreening, Plan, Run, Screening, Step
from firedoor.privacy import Redactor
from firedoor.types import Verdict

__all__ = ["Chain"]


class Chain:
    """Policies in the order given; immutable, and safe to share between threads and tasks.

    Args:
        policies: The policies. Those of other stages than the one screened are no part of it.
        shadow: Every policy only watches, whatever it says itself.
        clock: Measures time budgets.
        redactor: Makes the markers of policies that have no redactor of their own.

    Raises:
        ConfigurationError: If something else than a policy is given.
    """

    def __init__(
        self,
        policies: Sequence[Policy] = (),
        *,
        shadow: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        redactor: Redactor | None = None,
    ) -> None:
        self.shadow = shadow
        self.clock = clock
        self._overlapping = False
        self._plan([(gate, policy.bound(redactor)) for gate, policy in _name(policies)])

    def _plan(self, named: list[tuple[str, Policy]]) -> None:
        self._named = named
        self.policies = tuple(policy for _, policy in named)
        self._plans = {
            (str(stage), str(level)): Plan(
                stage,
                level,
                tuple(
                    Step(gate, policy, stage, level, shadow=self.shadow)
                    for gate, policy in named
                    if stage in policy.stages
                ),
            )
            for stage in Stage
            for level in Strictness
        }

    def applies(self, stage: Stage | str) -> bool:
        """Whether any policy looks at this stage."""
        return bool(self.plan(stage).steps)

    def gates(self, stage: Stage | str) -> list[str]:
        """What verdicts call the policies that look at this stage, in their order."""
        return [gate for gate, policy in self._named if Stage(stage) in policy.stages]

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

    def plan(self, stage: Stage | str, strictness: Strictness | str = Strictness.NORMAL) -> Plan:
        """What is done at a stage. A strictness nobody knows counts as the highest."""
        plan = self._plans.get((stage, strictness))
        return self._plans[Stage(stage), Strictness.LOCKDOWN] if plan is None else plan

    def screen(
        self,
        text: str,
        stage: Stage | str,
        strictness: Strictness | str = Strictness.NORMAL,
        context: Any = None,
        *,
        reasoning: bool = False,
    ) -> Screening:
        """Run the stage's policies over one text. Does not raise, whatever a policy does.

        An async policy that ends up here (see `needs_async`) is `errored`, not run.

        Args:
            text: The text.
            stage: Where it comes from.
            strictness: How guarded the application is now.
            context: Passed to policies as `Context.request`.
            reasoning: Passed to policies as `Context.reasoning`.
        """
        plan = self.plan(stage, strictness)
        run = Run(text, overlapping=self._overlapping)
        if plan.steps:
            about = Context(plan.stage, plan.strictness, text, context, reasoning)
            for step in plan.steps:
                if run.due(step):
                    run.take(step, self.ask(step, text if step.raw else run.text, about))
        return run.screening()

    async def ascreen(
        self,
        text: str,
        stage: Stage | str,
        strictness: Strictness | str = Strictness.NORMAL,
        context: Any = None,
        *,
        reasoning: bool = False,
    ) -> Screening:
        """As `screen`, awaiting the async policies."""
        plan = self.plan(stage, strictness)
        run = Run(text, overlapping=self._overlapping)
        if plan.steps:
            about = Context(plan.stage, plan.strictness, text, context, reasoning)
            for step in plan.steps:
                if run.due(step):
                    run.take(step, await self.aask(step, text if step.raw else run.text, about))
        return run.screening()

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
        batch = Batch(self.plan(stage, strictness), value)
        for text, reasoning in batch.texts:
            screening = self.screen(text, stage, strictness, context, reasoning=reasoning)
            if not batch.add(screening):
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
        batch = Batch(self.plan(stage, strictness), value)
        for text, reasoning in batch.texts:
            screening = await self.ascreen(text, stage, strictness, context, reasoning=reasoning)
            if not batch.add(screening):
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
