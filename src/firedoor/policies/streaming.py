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

from collections.abc import Callable, Generator, Sequence
from io import StringIO
from typing import Any, TypeAlias

from firedoor.policies.base import Context, Stage, Strictness
from firedoor.policies.chain import Chain
from firedoor.policies.links import Whole, link_for
from firedoor.policies.screening import Step
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
        reasoning: Passed to policies as `Context.reasoning`.

    Attributes:
        feed: Call it with the next piece; it answers what can be shown now, which may be empty.
            Empty after a block, and after the end.
    """

    __slots__ = ("_pipe", "_steps", "feed")

    def __init__(
        self,
        chain: Chain,
        stage: Stage | str = Stage.OUTPUT,
        *,
        strictness: Strictness | str = Strictness.NORMAL,
        context: Any = None,
        reasoning: bool = False,
    ) -> None:
        plan = chain.plan(stage, strictness)
        self._steps = plan.steps
        self._pipe = pipe = _Pipe(
            chain, Context(plan.stage, plan.strictness, "", context, reasoning), plan.steps
        )
        pieces = _held_back(pipe) if pipe.holding else _shown_at_once(pipe)
        next(pieces)
        self.feed: Callable[[str], str] = pieces.send

    @property
    def blocked_by(self) -> str | None:
        """The gate that ended the stream, or None."""
        return self._pipe.blocked_by

    @property
    def blocked(self) -> bool:
        """Whether a policy ended the stream."""
        return self._pipe.blocked_by is not None

    @property
    def holding(self) -> bool:
        """Whether text may be held back; if not, each piece is shown as it comes."""
        return self._pipe.holding

    @property
    def flagged(self) -> bool:
        """Whether a policy flagged the text so far, or failed with `on_error="flag"`."""
        return any(link.flagged for link in self._pipe.links)

    @property
    def needs_async(self) -> bool:
        """Whether the end must be awaited: `afinish` instead of `finish`."""
        return any(link.step.async_ for link in self._pipe.links)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One per policy of the stage, in the chain's order.

        Before the end, and for policies that a block left without the whole text, the verdict is
        `skipped` unless something was found: they have not seen what they would have to pass.
        """
        said = {link.step.gate: link.verdict() for link in self._pipe.links}
        return tuple(step.inactive or said[step.gate] for step in self._steps)

    def drain(self) -> str:
        """All that can be shown now, without collecting more.

        For a reader who has waited long enough. Calling it for every piece gives up the bound on
        the work.
        """
        shown = self._pipe.scan()
        return shown if self._pipe.holding else ""

    def finish(self) -> str:
        """The rest of the text, judged as ended. Call once, after the last piece.

        With `needs_async` use `afinish`; here, async policies are `errored`, and not run.
        """
        released = self.drain()
        pipe = self._pipe
        work = pipe.end()
        answer: Verdict | None = None
        while True:
            try:
                whole = work.send(answer)
            except StopIteration as stop:
                return released + str(stop.value)
            answer = pipe.chain.ask(whole.step, whole.text, pipe.context)

    async def afinish(self) -> str:
        """As `finish`, awaiting the async policies."""
        released = self.drain()
        pipe = self._pipe
        work = pipe.end()
        answer: Verdict | None = None
        while True:
            try:
                whole = work.send(answer)
            except StopIteration as stop:
                return released + str(stop.value)
            answer = await pipe.chain.aask(whole.step, whole.text, pipe.context)


class _Pipe:
    """The links of one stream, and the text that waits to be put through them."""

    __slots__ = (
        "_raw",
        "_seen",
        "blocked_by",
        "chain",
        "context",
        "ended",
        "holding",
        "links",
        "pending",
        "room",
    )

    def __init__(self, chain: Chain, context: Context, steps: Sequence[Step]) -> None:
        self.blocked_by: str | None = None
        self.chain = chain
        self.context = context
        self.ended = False
        self.pending = StringIO()
        self.room = 0
        """Characters that may be collected before the next scan."""
        self._seen = 0
        links = [link_for(step, context, chain.clock) for step in steps if step.inactive is None]
        # What reads raw text must see it before anything changes it; it changes nothing itself.
        self.links = sorted(links, key=lambda link: not link.step.raw)
        self.holding = any(link.holding for link in links)
        self._raw: list[str] | None = [] if any(isinstance(link, Whole) for link in links) else None

    def scan(self) -> str:
        """Put what was collected through the links; what comes out."""
        pending = self.pending
        text = pending.getvalue()
        pending.seek(0)
        pending.truncate()
        self.room = 0
        if self.ended:
            return ""
        self._seen += len(text)
        if self._raw is not None:
            self._raw.append(text)
        held = 0
        for index, link in enumerate(self.links):
            text = link.push(text)
            if link.blocked:
                return self._cut(index, text)
            held = max(held, link.held)
        if not self.holding:
            self.room = _MOST_DELAY  # of the scan, not of the text: that was shown as it came
        else:
            self.room = min(self._seen >> _DELAY_SHIFT, _MOST_DELAY)
            if held > _CHEAP:
                self.room = max(self.room, held >> 1)
        return text

    def end(self) -> _Asking:
        """End stage after stage; a generator that asks for the verdict of each whole-text policy."""
        if self.ended:
            return ""
        self.context.raw = "".join(self._raw or ())
        text = ""
        for index, link in enumerate(self.links):
            if isinstance(link, Whole):
                text = link.push(text)
                text += link.settle((yield link))
            else:
                text = link.push(text, final=True)
            if link.blocked:
                return self._cut(index, text)
        self.ended = True
        return text

    def _cut(self, index: int, text: str) -> str:
        """Pass what came before a block through the rest, which keep back what is not settled."""
        blocker = self.links[index]
        for link in self.links[index + 1 :]:
            text = link.push(text)
            if link.blocked:
                blocker = link
        self.blocked_by = blocker.step.gate
        self.ended = True
        return text


_Asking: TypeAlias = Generator[Whole, Verdict | None, str]
_Feeding: TypeAlias = Generator[str, str, None]


def _held_back(pipe: _Pipe) -> _Feeding:
    """From each piece to what can be shown: nothing, until enough has come for a scan."""
    write = pipe.pending.write
    shown = ""
    while True:
        # Counted down from 255 again and again: CPython makes no object for a number that small.
        turns, left = divmod(pipe.room - write((yield shown)), 256)
        while turns >= 0:
            while left >= 0:
                left -= write((yield ""))
            turns -= 1
            left += 256
        shown = pipe.scan()


def _shown_at_once(pipe: _Pipe) -> _Feeding:
    """From each piece to itself, until a scan of what was shown ends the stream."""
    write = pipe.pending.write
    piece = ""
    while True:
        room = pipe.room - write(piece := (yield piece))
        while room >= 0 and not pipe.ended:
            room -= write(piece := (yield piece))
        pipe.scan()
        if pipe.ended:
            piece = ""
