"""What a policy is: where it looks, what it does about what it finds, and what if it fails."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field

from firedoor.config import Seconds, declarative
from firedoor.types import Verdict, VerdictStatus

__all__ = [
    "OPEN_END",
    "Action",
    "Context",
    "Finding",
    "Policy",
    "SpanPolicy",
    "Stage",
    "Strictness",
    "substitute",
]


class Stage(StrEnum):
    """What kind of text a policy looks at."""

    INPUT = "input"
    """What the application sends to a model."""
    RETRIEVAL = "retrieval"
    """Documents that a retrieval answered."""
    TOOL_ARGUMENTS = "tool_arguments"
    """What a tool is about to be called with."""
    TOOL_RESULT = "tool_result"
    OUTPUT = "output"
    """What a model answered."""


class Action(StrEnum):
    """What a policy does about what it finds, from the mildest to the hardest."""

    ALLOW = "allow"
    """Let it through; the verdict is `passed` and its labels say what was there."""
    FLAG = "flag"
    """Let it through and say so."""
    REDACT = "redact"
    """Put a marker in the place of each finding."""
    REPLACE = "replace"
    """Put `replacement` in the place of each finding, or of a text judged as a whole."""
    BLOCK = "block"
    """Refuse the text."""


class Strictness(StrEnum):
    """How guarded the application is now; a switch raises it. In ascending order."""

    NORMAL = "normal"
    STRICT = "strict"
    LOCKDOWN = "lockdown"

    @property
    def rank(self) -> int:
        """0 for `normal`, rising."""
        return _RANKS[self]


_RANKS = {level: rank for rank, level in enumerate(Strictness)}

STATUS_OF = {
    Action.ALLOW: VerdictStatus.PASSED,
    Action.FLAG: VerdictStatus.FLAGGED,
    Action.REDACT: VerdictStatus.REDACTED,
    Action.REPLACE: VerdictStatus.REDACTED,
    Action.BLOCK: VerdictStatus.BLOCKED,
}
"""The verdict on a text in which a policy with this action found something."""

REWRITING = frozenset({Action.REDACT, Action.REPLACE})
PASSIVE = frozenset({Action.ALLOW, Action.FLAG})

OPEN_END = 1 << 62
"""End of a finding that covers everything to the end of the text, however long that will be."""


class Finding(NamedTuple):
    """A span of a text that a policy objects to: what it is, and `text[start:end]`."""

    kind: str
    start: int
    end: int


@dataclass(slots=True)
class Context:
    """What a policy may know besides the text it judges.

    Attributes:
        stage: Where the text comes from.
        strictness: How guarded the application is now.
        raw: The text as it came, before any policy changed it.
        request: What the caller of the chain passed along: the current request, or None.
        reasoning: The text is a model's reasoning ahead of its answer, as far as it tells it.
    """

    stage: Stage
    strictness: Strictness
    raw: str
    request: Any = None
    reasoning: bool = False


@declarative
class Policy(ABC):
    """A rule about content. Subclass it, or make one of a function with `policy`.

    Attributes:
        on: The stage, or stages, it looks at.
        action: What it does about what it finds.
        name: How verdicts name it: `policy:<name>`. Default: its kind.
        on_error: What a failure of the policy itself does to the text: `block` it, `flag` (let it
            through and count the call as flagged), or `allow`. The verdict is `errored` in each
            case, never `passed`. None: `block` where a finding would change or stop the text,
            `flag` where a finding would only be noted; a failure is never harsher than a finding.
        timeout: Seconds the policy may take for one text (for one scan of a stream). An async
            policy is cancelled then. A sync one cannot be stopped without a thread: it runs to
            its end, and when that was too late a finding still stands, but "nothing found" is
            `errored` and left to `on_error`.
        shadow: Only say what it would have done; nothing is changed, held back or stopped.
        level: The strictness from which it applies; below, its verdict is `not_applicable`.
        strict_action: The action from strictness `strict` on. None: `action`.
        overlap: On input only: may run while the model already generates. Nothing generated
            reaches the user or a tool before its verdict. It cannot change the text.
        reads: `current` is the text as earlier policies left it, `raw` the text as it came. A
            policy that reads raw text cannot change it.
    """

    kind: ClassVar[str] = "policy"
    """How a configuration names this sort of policy."""
    is_async: ClassVar[bool] = False

    on: Stage | tuple[Stage, ...] = Field(kw_only=True)
    action: Action = Field(default=Action.BLOCK, kw_only=True)
    name: str | None = Field(default=None, min_length=1, kw_only=True)
    on_error: Literal["block", "flag", "allow"] | None = Field(default=None, kw_only=True)
    timeout: Seconds | None = Field(default=None, kw_only=True)
    shadow: bool = Field(default=False, kw_only=True)
    level: Strictness = Field(default=Strictness.NORMAL, kw_only=True)
    strict_action: Action | None = Field(default=None, kw_only=True)
    overlap: bool = Field(default=False, kw_only=True)
    reads: Literal["current", "raw"] = Field(default="current", kw_only=True)

    def check(self) -> None:
        """No combination that could not be kept."""
        if not self.stages:
            raise ValueError(f"on={self.on!r} names no stage: use one of {', '.join(Stage)}")
        rewrites = not REWRITING.isdisjoint(self._actions())
        if self.overlap and self.stages != {Stage.INPUT}:
            raise ValueError(
                f"overlap=True needs on='input', not {self.on!r}: nothing else has a generation to overlap"
            )
        if self.overlap and rewrites:
            raise ValueError(
                "overlap=True cannot change a text that is already sent: use action='block' or 'flag'"
            )
        if self.reads == "raw" and rewrites:
            raise ValueError(
                "reads='raw' cannot change the text, as its findings lie in another one: "
                "use action='block' or 'flag', or put the policy first with reads='current'"
            )

    @property
    def stages(self) -> frozenset[Stage]:
        """The stages it looks at."""
        return frozenset((self.on,) if isinstance(self.on, str) else self.on)

    @property
    def gate(self) -> str:
        """How verdicts name it."""
        return f"policy:{self.name or self.kind}"

    def bound(self, redactor: Any) -> Self:  # noqa: ARG002
        """The policy as part of a door that has this redactor; most do not need one."""
        return self

    def action_at(self, strictness: Strictness) -> Action:
        """What it does about a finding at this strictness."""
        if self.strict_action is not None and strictness is not Strictness.NORMAL:
            return self.strict_action
        return self.action

    def on_error_at(self, strictness: Strictness) -> Literal["block", "flag", "allow"]:
        """What its own failure does to the text at this strictness."""
        if self.on_error is not None:
            return self.on_error
        return "flag" if self.action_at(strictness) in PASSIVE else "block"

    def verdict(
        self,
        context: Context,
        *,
        labels: Iterable[str] = (),
        reason: str | None = None,
        replacement: str | None = None,
    ) -> Verdict:
        """The verdict on a text in which something was found."""
        action = self.action_at(context.strictness)
        return Verdict(
            gate=self.gate,
            status=STATUS_OF[action],
            stage=context.stage,
            reason=reason,
            labels=tuple(dict.fromkeys(labels)),
            replacement=replacement if action in REWRITING else None,
        )

    @abstractmethod
    def judge(self, text: str, context: Context) -> Verdict | None:
        """What is wrong with `text`; None when nothing is. May raise: see `on_error`."""

    async def ajudge(self, text: str, context: Context) -> Verdict | None:
        """As `judge`, for policies with `is_async`."""
        return self.judge(text, context)

    def _actions(self) -> set[Action]:
        return {self.action} if self.strict_action is None else {self.action, self.strict_action}


@declarative
class SpanPolicy(Policy):
    """A policy that finds spans in a text, and can do so while the text still arrives.

    Attributes:
        replacement: What `action="replace"` puts in the place of a finding. Default: nothing.
    """

    replacement: str = Field(default="", kw_only=True)

    behind: ClassVar[int] = 0
    """Characters before a position that must be kept to judge it."""

    @abstractmethod
    def advance(
        self, text: str, start: int = 0, *, offset: int = 0, final: bool = True
    ) -> tuple[Sequence[Finding], int]:
        """The findings that are settled, and the position up to which everything is.

        The text may be the latest part of a longer one. What is answered must not depend on how
        that one was cut: whatever text may follow, the findings before the position stay and no
        other comes to lie there.

        Args:
            text: The part at hand; it begins at least `behind` + 1 characters before `start`,
                unless it begins with the whole.
            start: Everything before is settled; search from here, but look behind it freely.
            offset: Where `text` begins in the whole.
            final: Nothing follows: everything is settled.

        Returns:
            The findings from `start` on, in order and apart, none of them empty; and a position
            not before the last of them ends. With `final` it is the end of the text.
        """

    def find(self, text: str) -> Sequence[Finding]:
        """The findings in a whole text, in order and apart."""
        return self.advance(text)[0]

    def marker(self, kind: str, found: str) -> str:  # noqa: ARG002
        """What `action="redact"` puts in the place of a finding; never a part of it."""
        return f"<{kind}>"

    def judge(self, text: str, context: Context) -> Verdict | None:
        """The findings, acted upon."""
        findings = self.find(text)
        if not findings:
            return None
        action = self.action_at(context.strictness)
        return self.verdict(
            context,
            labels=(finding.kind for finding in findings),
            reason=f"{len(findings)} found",
            replacement=substitute(self, action, text, findings) if action in REWRITING else None,
        )


def substitute(
    policy: SpanPolicy,
    action: Action,
    text: str,
    findings: Sequence[Finding],
    *,
    start: int = 0,
    end: int | None = None,
) -> str:
    """`text[start:end]` with what the action says in the place of each finding."""
    parts = []
    for kind, first, last in findings:
        parts.append(text[start:first])
        parts.append(
            policy.replacement
            if action is Action.REPLACE
            else policy.marker(kind, text[first:last])
        )
        start = last
    parts.append(text[start:end])
    return "".join(parts)
