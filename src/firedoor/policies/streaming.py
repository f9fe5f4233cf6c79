"""Filtering a text while it arrives, without showing what the whole would not show.

A stream is a pipeline with one stage per policy, each fed with what the one before released.

* A policy that finds spans holds back only text that may still become a finding (`advance`).
* A policy that judges a whole text holds everything until the end.
* A policy that changes nothing (`flag`, `allow`, shadow) holds nothing back: it reads along.

Every stage answers the same however its text was cut, hence so does the pipeline. A block ends the
stream before the finding: text that came before it and is settled for every other policy is still
released, nothing else.

Scanning every few characters would cost more than reading the text, so small pieces are collected
first: up to 1/32 of what has come so far, so that the first words of an answer are not delayed, at
most 1024 characters, and, as long as a candidate of some length is held back, half of that. This
keeps the work linear.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from firedoor.policies.base import (
    OPEN_END,
    PASSIVE,
    Action,
    Context,
    Finding,
    SpanPolicy,
    Stage,
    Strictness,
    substitute,
)
from firedoor.policies.chain import Chain, Step, level_of
from firedoor.types import Verdict, VerdictStatus

__all__ = ["StreamFilter"]

_DELAY_SHIFT = 5
_MOST_DELAY = 1024
_CHEAP = 128
"""Held characters that may be scanned again with every piece: the cost of the scan is in the call."""
_LAZY = 4096
"""Characters a stage that only reads along lets come together before it looks at them."""


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
        self._steps = chain.plan(stage, strictness)
        self._context = Context(Stage(stage), level_of(strictness), "", context)
        self._pending: list[str] = []
        self._waiting = 0
        self._needed = 0
        self._seen = 0
        self._ended = False
        links = [_link(step, self._context, chain) for step in self._steps if step.inactive is None]
        # What reads raw text must see it before anything changes it; it changes nothing itself.
        self._links = sorted(links, key=lambda link: not link.step.raw)
        self._raw: list[str] | None = (
            [] if any(isinstance(link, _Whole) for link in links) else None
        )

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
        self._pending.append(delta)
        self._waiting += len(delta)
        if self._waiting <= self._needed:
            return ""
        return self.drain()

    def drain(self) -> str:
        """All that can be shown now, without collecting more.

        For a reader who has waited long enough. Calling it for every piece gives up the bound on
        the work.
        """
        text = "".join(self._pending)
        self._pending.clear()
        self._seen += self._waiting
        self._waiting = 0
        if self._ended:
            return ""
        if self._raw is not None:
            self._raw.append(text)
        held = 0
        for index, link in enumerate(self._links):
            text = link.push(text)
            if link.blocked:
                return self._cut(index, text)
            held = max(held, link.held)
        self._needed = max(
            min(self._seen >> _DELAY_SHIFT, _MOST_DELAY), held >> 1 if held > _CHEAP else 0
        )
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
            if isinstance(link, _Whole):
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


class _Link:
    """One policy at work on a stream."""

    __slots__ = ("blocked", "ended", "failure", "flagged", "held", "step")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.blocked = False
        self.flagged = False
        self.ended = False
        self.failure: Verdict | None = None
        self.held = 0

    def push(self, text: str, *, final: bool = False) -> str:
        raise NotImplementedError

    def verdict(self) -> Verdict:
        raise NotImplementedError

    def fail(self, verdict: Verdict) -> None:
        """The policy is out: with it, the stream ends or goes on unjudged."""
        self.failure = verdict
        if not self.step.shadow:
            self.blocked = self.step.on_error == "block"
            self.flagged = self.step.on_error == "flag"


class _Window(_Link):
    """A policy that finds spans: holds back from the first position that is not settled.

    `_text` is the end of the text; everything before `_start` is settled and, unless the policy is
    passive, released. A little more than the policy looks behind is kept before it.
    """

    __slots__ = (
        "_action",
        "_chain",
        "_context",
        "_discarding",
        "_found",
        "_labels",
        "_offset",
        "_parts",
        "_policy",
        "_start",
        "_text",
        "_unread",
    )

    def __init__(self, step: Step, policy: SpanPolicy, context: Context, chain: Chain) -> None:
        super().__init__(step)
        self._policy = policy
        self._context = context
        self._chain = chain
        self._action = policy.action_at(context.strictness)
        self._text = ""
        self._start = 0
        self._offset = 0
        self._found = 0
        self._labels: dict[str, None] = {}
        self._discarding = False
        self._parts: list[str] = []
        self._unread = 0

    @property
    def _passive(self) -> bool:
        return self.step.shadow or self._action in PASSIVE

    def push(self, text: str, *, final: bool = False) -> str:
        if self.blocked:
            return ""
        if self.failure is not None:
            return text
        self.ended = final
        if self._passive:
            return self._read_along(text, final=final)
        self._text += text
        return self._scan(final=final)

    def _read_along(self, text: str, *, final: bool) -> str:
        self._parts.append(text)
        self._unread += len(text)
        if final or self._unread >= max(_LAZY, (len(self._text) - self._start) >> 1):
            self._text = "".join((self._text, *self._parts))
            self._parts.clear()
            self._unread = 0
            self._scan(final=final)
        return "" if self.blocked else text

    def _scan(self, *, final: bool) -> str:
        if self._discarding:
            self._text = ""
            return ""
        text, start = self._text, self._start
        clock, timeout = self._chain.clock, self.step.timeout
        began = clock.now() if timeout is not None else 0.0
        try:
            findings, position = self._policy.advance(text, start, offset=self._offset, final=final)
            late = timeout is not None and clock.now() - began > timeout
            if findings:
                return self._act(text, start, findings, position)
            released = text[start:position]
        except Exception as error:
            return self._fail(type(error).__name__)
        if late:
            return self._fail(f"took longer than {timeout:g} s")
        self._keep(text, position)
        return released

    def _act(self, text: str, start: int, findings: Sequence[Finding], position: int) -> str:
        self.blocked = self._action is Action.BLOCK and not self.step.shadow
        if self.blocked:
            findings = findings[:1]
            position = findings[0].start
        self._found += len(findings)
        self._labels.update(dict.fromkeys(finding.kind for finding in findings))
        if self.blocked:
            self._text, self.held = "", 0
            return text[start:position]
        self.flagged = self._action is Action.FLAG and not self.step.shadow
        released = (
            ""
            if self._passive
            else substitute(self._policy, self._action, text, findings, start=start, end=position)
        )
        if findings[-1].end == OPEN_END:
            self._discarding = True
            self._text = ""
            self._start = self.held = 0
        else:
            self._keep(text, position)
        return released

    def _keep(self, text: str, position: int) -> None:
        cut = max(0, position - self._policy.behind - 1)
        self._text = text[cut:]
        self._offset += cut
        self._start = position - cut
        self.held = 0 if self._passive else len(text) - position

    def _fail(self, why: str) -> str:
        """Out of the pipeline; what is held goes out too, unless the failure ends the stream."""
        rest = "" if self._passive else self._text[self._start :]
        self._text, self.held = "", 0
        self.fail(self.step.failed(why))
        return "" if self.blocked else rest

    def verdict(self) -> Verdict:
        if self.failure is not None:
            return self.failure
        if self._labels:
            return _noted(
                self.step,
                self._policy.verdict(
                    self._context, labels=self._labels, reason=f"{self._found} found"
                ),
            )
        if self.ended:
            return self.step.passed
        return self.step.without(VerdictStatus.SKIPPED, "has not seen the whole text")


class _Whole(_Link):
    """A policy that judges a text as a whole: holds it until the end."""

    __slots__ = ("_parts", "_released", "_said")

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self._parts: list[str] = []
        self._said: Verdict | None = None

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def push(self, text: str, *, final: bool = False) -> str:  # noqa: ARG002
        self._parts.append(text)
        return text if self.step.shadow else ""

    def settle(self, verdict: Verdict | None) -> str:
        """Take the policy's verdict on the whole; the text to go on with."""
        self.ended = True
        self._said = verdict
        text = self.text
        if self.step.shadow:
            return ""
        if verdict is None:
            return text
        if verdict.status is VerdictStatus.ERRORED:
            self.fail(verdict)
        elif verdict.status is VerdictStatus.BLOCKED:
            self.blocked = True
        elif verdict.status is VerdictStatus.FLAGGED:
            self.flagged = True
        elif verdict.status is VerdictStatus.REDACTED and verdict.replacement is not None:
            return verdict.replacement
        return "" if self.blocked else text

    def verdict(self) -> Verdict:
        if not self.ended:
            return self.step.without(VerdictStatus.SKIPPED, "has not seen the whole text")
        return self.step.passed if self._said is None else _noted(self.step, self._said)


def _link(step: Step, context: Context, chain: Chain) -> _Link:
    if isinstance(step.policy, SpanPolicy):
        return _Window(step, step.policy, context, chain)
    return _Whole(step)


def _noted(step: Step, verdict: Verdict) -> Verdict:
    if verdict.gate == step.gate and verdict.shadow == step.shadow:
        return verdict
    return replace(verdict, gate=step.gate, shadow=step.shadow)


_Asking: TypeAlias = Generator[_Whole, Verdict | None, str]
