"""Filtering a text while it arrives, without showing what the whole would not show.

A stream is a pipeline with one stage per policy, each fed with what the one before released.

* A policy that finds spans holds back only text that may still become a finding (`advance`).
* A policy that judges a whole text holds everything until the end.
* A policy that changes nothing (`flag`, `allow`, shadow) holds nothing back: it reads along. If
  all are such, every piece is shown as it comes, and looked at with those that follow.

Every stage answers the same however its text was cut, hence so does the pipeline. A block ends the
stream before the finding: text that came before it and is settled for every other policy is still
released, nothing else.

Scanning every few characters would cost more than reading the text, so small pieces are collected
first: up to 1/32 of what has come so far, so that the first words of an answer are not delayed, at
most 4096 characters, and, as long as a candidate of some length is held back, half of that. This
keeps the work linear.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

from firedoor.policies.base import (
    Context,
    Stage,
    Strictness,
)
from firedoor.policies.chain import Chain
from firedoor.policies.links import Whole, link_for
from firedoor.types import Verdict

__all__ = ["StreamFilter"]

_DELAY_SHIFT = 5
_MOST_DELAY = 4096
_CHEAP = 128
"""Held characters that may be scanned again with every piece: the cost of the scan is in the call."""


class StreamFilter:
    """The output policies of a chain, on a text that comes in pieces.

    Feed it every piece and pass on what it returns; then `finish`. The pieces it returns make up
    the text that `Chain.screen` would answer for the whole; after a block, a beginning of it that
    ends before what was blocked. Not for use by several threads at once.

    Args:
        chain: The policies.
        stage: Which of them.
        strictness: As it is now; it does not change while the stream runs.
        context: Passed to policies as `Context.request`.

    Attributes:
        blocked_by: The gate that ended the stream, or None.
    """

    __slots__ = (
        "_chain",
        "_context",
        "_ended",
        "_holding",
        "_links",
        "_pending",
        "_raw",
        "_room",
        "_seen",
        "_steps",
        "blocked_by",
    )

    def __init__(
        self,
        chain: Chain,
        stage: Stage | str = Stage.OUTPUT,
        *,
        strictness: Strictness | str = Strictness.NORMAL,
        context: Any = None,
    ) -> None:
        self.blocked_by: str | None = None
        self._chain = chain
        plan = chain.plan(stage, strictness)
        self._steps = plan.steps
        self._context = Context(plan.stage, plan.strictness, "", context)
        self._pending: list[str] = []
        self._room = 0
        self._seen = 0
        self._ended = False
        links = [
            link_for(step, self._context, chain.clock)
            for step in self._steps
            if step.inactive is None
        ]
        # What reads raw text must see it before anything changes it; it changes nothing itself.
        self._links = sorted(links, key=lambda link: not link.step.raw)
        self._holding = any(link.holding for link in links)
        self._raw: list[str] | None = [] if any(isinstance(link, Whole) for link in links) else None

    @property
    def blocked(self) -> bool:
        """Whether a policy ended the stream."""
        return self.blocked_by is not None

    @property
    def flagged(self) -> bool:
        """Whether a policy flagged the text so far, or failed with `on_error="flag"`."""
        return any(link.flagged for link in self._links)

    @property
    def needs_async(self) -> bool:
        """Whether the end must be awaited: `afinish` instead of `finish`."""
        return any(link.step.async_ for link in self._links)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One per policy of the stage, in the chain's order.

        Before the end, and for policies that a block left without the whole text, the verdict is
        `skipped` unless something was found: they have not seen what they would have to pass.
        """
        said = {link.step.gate: link.verdict() for link in self._links}
        return tuple(step.inactive or said[step.gate] for step in self._steps)

    def feed(self, delta: str) -> str:
        """Take the next piece; what can be shown now, which may be empty. Empty after a block."""
        # Most pieces come no further: three steps, each of a kind that CPython has a short way for.
        self._pending.append(delta)
        self._room = room = self._room - len(delta)
        if room >= 0:
            return "" if self._holding else delta
        shown = self._scan()
        return shown if self._holding or self._ended else delta

    def drain(self) -> str:
        """All that can be shown now, without collecting more.

        For a reader who has waited long enough. Calling it for every piece gives up the bound on
        the work.
        """
        shown = self._scan()
        return shown if self._holding else ""

    def _scan(self) -> str:
        """Put what was collected through the links; what comes out."""
        text = "".join(self._pending)
        self._pending.clear()
        self._room = 0
        if self._ended:
            return ""
        self._seen += len(text)
        if self._raw is not None:
            self._raw.append(text)
        held = 0
        for index, link in enumerate(self._links):
            text = link.push(text)
            if link.blocked:
                return self._cut(index, text)
            held = max(held, link.held)
        if not self._holding:
            self._room = _MOST_DELAY  # of the scan, not of the text: that was shown as it came
        else:
            self._room = min(self._seen >> _DELAY_SHIFT, _MOST_DELAY)
            if held > _CHEAP:
                self._room = max(self._room, held >> 1)
        return text

    def finish(self) -> str:
        """The rest of the text, judged as ended. Call once, after the last piece.

        With `needs_async` use `afinish`; here, async policies are `errored`, and not run.
        """
        released = self.drain()
        return released + self._run(self._end())

    async def afinish(self) -> str:
        """As `finish`, awaiting the async policies."""
        released = self.drain()
        work = self._end()
        answer: Verdict | None = None
        while True:
            try:
                whole = work.send(answer)
            except StopIteration as stop:
                return released + str(stop.value)
            answer = await self._chain.aask(whole.step, whole.text, self._context)

    def _run(self, work: _Asking) -> str:
        answer: Verdict | None = None
        while True:
            try:
                whole = work.send(answer)
            except StopIteration as stop:
                return str(stop.value)
            answer = self._chain.ask(whole.step, whole.text, self._context)

    def _end(self) -> _Asking:
        """End stage after stage; a generator that asks for the verdict of each whole-text policy."""
        if self._ended:
            return ""
        self._context.raw = "".join(self._raw or ())
        text = ""
        for index, link in enumerate(self._links):
            if isinstance(link, Whole):
                text = link.push(text)
                text += link.settle((yield link))
            else:
                text = link.push(text, final=True)
            if link.blocked:
                return self._cut(index, text)
        self._ended = True
        return text

    def _cut(self, index: int, text: str) -> str:
        """Pass what came before a block through the rest, which keep back what is not settled."""
        blocker = self._links[index]
        for link in self._links[index + 1 :]:
            text = link.push(text)
            if link.blocked:
                blocker = link
        self.blocked_by = blocker.step.gate
        self._ended = True
        return text


_Asking: TypeAlias = Generator[Whole, Verdict | None, str]
