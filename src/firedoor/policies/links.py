"""One policy at work on a stream: what it holds back, what it lets go, what it has to say.

A link answers the same however the text was cut into the pieces it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from firedoor.clock import Clock
from firedoor.policies.base import (
    OPEN_END,
    PASSIVE,
    Action,
    Context,
    Finding,
    SpanPolicy,
    substitute,
)
from firedoor.policies.screening import Step
from firedoor.types import Verdict, VerdictStatus

__all__ = ["Link", "Whole", "Window", "link_for"]

_LAZY = 4096
"""Characters a stage that only reads along lets come together before it looks at them."""


class Link:
    """One policy at work on a stream."""

    __slots__ = ("blocked", "ended", "failure", "flagged", "held", "holding", "step")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.blocked = False
        self.flagged = False
        self.ended = False
        self.failure: Verdict | None = None
        self.held = 0
        self.holding = not step.shadow
        """Whether it may ever hold text back."""

    def push(self, text: str, *, final: bool = False) -> str:
        """Take the next piece; what can be let go. After it, `blocked` may be set."""
        raise NotImplementedError

    def verdict(self) -> Verdict:
        """What the policy has to say by now."""
        raise NotImplementedError

    def fail(self, verdict: Verdict) -> None:
        """The policy is out: with it, the stream ends or goes on unjudged."""
        self.failure = verdict
        if not self.step.shadow:
            self.blocked = self.step.on_error == "block"
            self.flagged = self.step.on_error == "flag"


class Window(Link):
    """A policy that finds spans: holds back from the first position that is not settled.

    `_text` is the end of the text; everything before `_start` is settled and, unless the policy is
    passive, released. A little more than the policy looks behind is kept before it.
    """

    __slots__ = (
        "_action",
        "_clock",
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

    def __init__(self, step: Step, policy: SpanPolicy, context: Context, clock: Clock) -> None:
        super().__init__(step)
        self._policy = policy
        self._context = context
        self._clock = clock
        self._action = policy.action_at(context.strictness)
        self.holding = self.holding and self._action not in PASSIVE
        self._text = ""
        self._start = 0
        self._offset = 0
        self._found = 0
        self._labels: dict[str, None] = {}
        self._discarding = False
        self._parts: list[str] = []
        self._unread = 0

    def push(self, text: str, *, final: bool = False) -> str:
        """Take the next piece; what is settled, with the findings in it acted upon."""
        if self.blocked:
            return ""
        if self.failure is not None:
            return text
        self.ended = final
        if not self.holding:
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
        clock, timeout = self._clock, self.step.timeout
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
            if not self.holding
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
        self.held = len(text) - position if self.holding else 0

    def _fail(self, why: str) -> str:
        """Out of the pipeline; what is held goes out too, unless the failure ends the stream."""
        rest = self._text[self._start :] if self.holding else ""
        self._text, self.held = "", 0
        self.fail(self.step.failed(why))
        return "" if self.blocked else rest

    def verdict(self) -> Verdict:
        """`skipped` before the end, unless something was found."""
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


class Whole(Link):
    """A policy that judges a text as a whole: holds it until the end."""

    __slots__ = ("_parts", "_released", "_said")

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self._parts: list[str] = []
        self._said: Verdict | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self._parts)

    def push(self, text: str, *, final: bool = False) -> str:  # noqa: ARG002
        """Hold the piece; a shadowed policy only keeps a copy."""
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
        """`skipped` before the end."""
        if not self.ended:
            return self.step.without(VerdictStatus.SKIPPED, "has not seen the whole text")
        return self.step.passed if self._said is None else _noted(self.step, self._said)


def link_for(step: Step, context: Context, clock: Clock) -> Link:
    """The link for a step: by whether its policy can judge parts."""
    if isinstance(step.policy, SpanPolicy):
        return Window(step, step.policy, context, clock)
    return Whole(step)


def _noted(step: Step, verdict: Verdict) -> Verdict:
    if verdict.gate == step.gate and verdict.shadow == step.shadow:
        return verdict
    return replace(verdict, gate=step.gate, shadow=step.shadow)
