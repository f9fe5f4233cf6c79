"""What a chain says of a text or a conversation, and how the verdicts of its policies add up to it.

No policy is asked here, and nothing awaited: the two ways of asking share all of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from firedoor.policies.base import Policy, Stage, Strictness
from firedoor.policies.content import rewrite, told
from firedoor.types import Verdict, VerdictStatus

__all__ = ["Batch", "ContentScreening", "Plan", "Run", "Screening", "Step", "gravest"]

_GRAVITY = (
    VerdictStatus.NOT_APPLICABLE,
    VerdictStatus.PASSED,
    VerdictStatus.SKIPPED,
    VerdictStatus.FLAGGED,
    VerdictStatus.REDACTED,
    VerdictStatus.ERRORED,
    VerdictStatus.BLOCKED,
)


@dataclass(slots=True)
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


@dataclass(slots=True)
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


@dataclass(slots=True)
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


class Plan(NamedTuple):
    """The steps of one stage at one strictness."""

    stage: Stage
    strictness: Strictness
    steps: tuple[Step, ...]


class Run:
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

    def screening(self) -> Screening:
        """What came of it."""
        return Screening(tuple(self.verdicts), self.blocked_by, self.flagged, self.text)


class Batch:
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

    def __init__(self, plan: Plan, value: Any) -> None:
        self.steps = plan.steps
        self.stage = plan.stage
        self.value = value
        self.texts: list[tuple[str, bool]] = []
        self.replaced: list[str] = []
        self.merged: list[Verdict] = []
        self.blocked_by: str | None = None
        self.flagged = False
        self.failure: str | None = None
        if plan.steps:
            try:
                self.texts = told(value, self.stage)
            except Exception as error:
                self.failure = f"content could not be read: {type(error).__name__}"

    def add(self, screening: Screening) -> bool:
        """Take the screening of the next text; whether there is any point in going on."""
        self.replaced.append(screening.text)
        self.blocked_by = screening.blocked_by
        self.flagged = self.flagged or screening.flagged
        self.merged = gravest(self.merged, screening.verdicts)
        return self.blocked_by is None

    def result(self) -> ContentScreening:
        """The screening of the value."""
        value = self.value
        if self.failure is None and self.blocked_by is None and self._changed:
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

    @property
    def _changed(self) -> bool:
        return self.replaced != [text for text, _ in self.texts]

    def _fail(self, why: str) -> None:
        run = Run("", overlapping=False)
        for step in self.steps:
            if run.due(step):
                run.take(step, step.failed(why))
        self.merged, self.blocked_by = run.verdicts, run.blocked_by
        self.flagged = self.flagged or run.flagged


def gravest(verdicts: Sequence[Verdict], more: Sequence[Verdict]) -> list[Verdict]:
    """What the same policies said of two texts, as one; the first may be empty yet."""
    if not verdicts:
        return list(more)
    return [_graver(one, other) for one, other in zip(verdicts, more, strict=True)]


def _graver(one: Verdict, other: Verdict) -> Verdict:
    if one is other:
        return one
    worse = max(one, other, key=lambda verdict: _GRAVITY.index(verdict.status))
    labels = tuple(dict.fromkeys(one.labels + other.labels))
    if worse.labels == labels and worse.replacement is None:
        return worse
    return replace(worse, labels=labels, replacement=None)
