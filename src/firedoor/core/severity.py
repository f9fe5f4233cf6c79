"""How bad an incident is for users: SEV1 to SEV4 from criteria on exposure.

Pure. Severity is assessed again as exposure grows. While an incident is open it never falls by
itself: fewer users affected under containment is not fewer users harmed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from firedoor.config import Count, Rate, Seconds, declarative
from firedoor.core.facts import lasted
from firedoor.types import Severity

__all__ = ["Assessment", "Exposure", "Harm", "SeverityCriteria", "assess", "worst"]

_ORDER = (Severity.SEV1, Severity.SEV2, Severity.SEV3, Severity.SEV4)


class Harm(StrEnum):
    """Harm that no share of requests makes small."""

    UNSAFE = "unsafe"
    """Content reached a user that policy forbids."""
    LEAK = "leak"
    """A secret or another person's data left."""
    IRREVERSIBLE = "irreversible"
    """A tool did something that cannot be undone."""


_HARMED = {
    Harm.UNSAFE: "forbidden content reached users",
    Harm.LEAK: "secrets or personal data left",
    Harm.IRREVERSIBLE: "a tool did what cannot be undone",
}


@dataclass(frozen=True, slots=True)
class Exposure:
    """How far an incident reaches, as known now.

    Attributes:
        share: Share of the requests in scope that are affected, 0 to 1; None: not known.
        requests: Affected requests so far; None: not known.
        critical: Whether a journey that the application declares critical is affected.
        harms: Harm that is known to have happened.
        seconds: Since the first bad decision.
        contained: Whether an action holds it.
        scope: What the share is of: a journey's name; None: the whole door.
    """

    share: float | None = None
    requests: int | None = None
    critical: bool = False
    harms: frozenset[Harm] = frozenset()
    seconds: float = 0.0
    contained: bool = False
    scope: str | None = None


@declarative
class SeverityCriteria:
    """Which exposure makes which severity.

    Shares are of a critical journey's requests. On a journey that is not critical the same share
    is one severity less; harm weighs the same everywhere.

    Attributes:
        sev1_share: Share of affected requests from which on it is SEV1, 0 to 1.
        sev2_share: Likewise, SEV2.
        sev3_share: Likewise, SEV3. Less is SEV4.
        unknown_share: What it is at least while the share is not known.
        unsafe: What it is at least once forbidden content reached users.
        leak: What it is at least once secrets or personal data left.
        irreversible: What it is at least once a tool did what cannot be undone.
        few: Affected requests below which a share alone makes no more than SEV3: one of two is
            half, and says little.
        lasting: Seconds without containment after which it is one severity worse. None: time does
            not count.
    """

    sev1_share: Rate = Field(default=0.5, kw_only=True)
    sev2_share: Rate = Field(default=0.2, kw_only=True)
    sev3_share: Rate = Field(default=0.05, kw_only=True)
    unknown_share: Severity = Field(default=Severity.SEV3, kw_only=True)
    unsafe: Severity = Field(default=Severity.SEV2, kw_only=True)
    leak: Severity = Field(default=Severity.SEV1, kw_only=True)
    irreversible: Severity = Field(default=Severity.SEV1, kw_only=True)
    few: Count = Field(default=10, kw_only=True)
    lasting: Seconds | None = Field(default=3_600.0, kw_only=True)

    def check(self) -> None:
        """The worse the severity, the larger the share."""
        if not self.sev1_share >= self.sev2_share >= self.sev3_share:
            raise ValueError(
                f"sev1_share={self.sev1_share:g}, sev2_share={self.sev2_share:g}, "
                f"sev3_share={self.sev3_share:g}: give them in falling order, as in 0.5, 0.2, 0.05"
            )

    def of_harm(self, harm: Harm) -> Severity:
        """What `harm` makes it at least."""
        return {
            Harm.UNSAFE: self.unsafe,
            Harm.LEAK: self.leak,
            Harm.IRREVERSIBLE: self.irreversible,
        }[harm]

    def describe(self) -> dict[Severity, str]:
        """Each severity in words, made from the figures, so that the two never differ."""
        shares = (self.sev1_share, self.sev2_share, self.sev3_share)
        said: dict[Severity, str] = {}
        for index, severity in enumerate(_ORDER):
            parts = [f"{harm}" for harm in reversed(Harm) if self.of_harm(harm) is severity]
            if index < 3:
                other = f" ({_percent(shares[index - 1])} if not critical)" if index else ""
                parts.append(f"from {_percent(shares[index])} of a critical journey{other}")
            else:
                parts.append("less than that")
            said[severity] = ", or ".join(parts)
        return said

    def brief(self) -> str:
        """All of it in two or three short sentences."""
        shares = (self.sev1_share, self.sev2_share, self.sev3_share)
        parts = []
        for severity, share in zip(_ORDER, (*shares, None), strict=True):
            harms = [h.value for h in reversed(Harm) if self.of_harm(h) is severity]
            least = "less" if share is None else f"from {_percent(share)}"
            parts.append(", ".join([f"{severity} {least}", *harms]))
        worsens = self.worsens()
        return (
            f"{'; '.join(parts)}; of a critical journey, one less on others."
            f"{f' {worsens.capitalize()}.' if worsens else ''}"
        )

    def worsens(self) -> str:
        """The part time plays, in words; empty where it plays none."""
        if self.lasting is None:
            return ""
        return f"one worse after {lasted(self.lasting)} without containment"


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the criteria make of an exposure.

    Attributes:
        severity: In force now.
        measured: What the exposure of now alone would make it; `severity` is worse where it is
            held.
        reasons: Why, the deciding one first.
    """

    severity: Severity
    measured: Severity
    reasons: tuple[str, ...]


def worst(severities: Iterable[Severity]) -> Severity:
    """The worst of them; SEV4 if there is none."""
    return min(severities, key=_ORDER.index, default=Severity.SEV4)


def assess(
    exposure: Exposure,
    criteria: SeverityCriteria | None = None,
    *,
    previous: Severity | None = None,
    recovered: bool = False,
) -> Assessment:
    """The severity of an incident with this exposure.

    Args:
        exposure: As known now.
        criteria: Default: `SeverityCriteria()`.
        previous: What it was; it does not fall below that.
        recovered: The signals are back and a person or the monitor says so: it may fall.

    Returns:
        The severity with its reasons.
    """
    rules = SeverityCriteria() if criteria is None else criteria
    by_share, reason = _by_share(exposure, rules)
    found = [(by_share, reason)]
    found += [(rules.of_harm(harm), _HARMED[harm]) for harm in Harm if harm in exposure.harms]
    measured = worst(severity for severity, _ in found)
    found.sort(key=lambda pair: _ORDER.index(pair[0]))
    reasons = [f"{severity}: {reason}" for severity, reason in found]

    lasts = rules.lasting is not None and exposure.seconds >= rules.lasting
    if lasts and not exposure.contained and measured is not Severity.SEV1:
        measured = _ORDER[_ORDER.index(measured) - 1]
        reasons.insert(0, f"{measured}: not contained after {lasted(exposure.seconds)}")
    severity = measured
    if previous is not None and not recovered:
        severity = worst([measured, previous])
        if severity is not measured:
            reasons.insert(0, f"{severity}: held, as it was that bad and is not over")
    return Assessment(severity, measured, tuple(reasons))


def _by_share(exposure: Exposure, rules: SeverityCriteria) -> tuple[Severity, str]:
    share = exposure.share
    kind = "critical" if exposure.critical else "not critical"
    of = "all requests" if exposure.scope is None else f"the requests of {exposure.scope}"
    if share is None or not math.isfinite(share):
        return rules.unknown_share, f"share of {of} not known ({kind})"
    limits = (rules.sev1_share, rules.sev2_share, rules.sev3_share)
    index = next((i for i, limit in enumerate(limits) if share >= limit), 3)
    reason = f"{_percent(share)} of {of} affected ({kind})"
    if not exposure.critical:
        index = min(index + 1, 3)
    if exposure.requests is not None and exposure.requests < rules.few and index < 2:
        index = 2
        reason += f", {exposure.requests} in number"
    return _ORDER[index], reason


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
