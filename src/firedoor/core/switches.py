"""Switches as values: one override each, with who, why, until when. What they do: `snapshot.py`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from firedoor.errors import ConfigurationError

__all__ = [
    "ANYTHING",
    "JOURNEYS",
    "InFlight",
    "Kind",
    "Switch",
    "duration",
]

ANYTHING: Final = "*"
"""The target that means all of them."""

MAX_TEXT = 1_000
"""Characters a reason, an actor or a name may have: a board is read by every process."""


class Kind(StrEnum):
    """What a switch changes."""

    ALIAS = "alias"
    DISABLE = "disable"
    DEPTH = "depth"
    PROMPT = "prompt"
    STRICTNESS = "strictness"
    SAFE_MODE = "safe_mode"
    MINIMUM_TIER = "minimum_tier"
    CAP_BUDGET = "cap_budget"
    SHED_LOAD = "shed_load"
    RESTORE = "restore"
    """A whole known-good set, in the place of everything below it."""


class InFlight(StrEnum):
    """What streams that run already do when the switch is set. Mildest first."""

    KEEP = "keep"
    """They run to their end with what they began with."""
    DRAIN = "drain"
    """They end where the sentence being said ends."""
    CUT = "cut"
    """They end at their next chunk."""


_ROUTES = {
    Kind.DISABLE: ("llm", "retrieval", "tool", "model"),
    Kind.DEPTH: ("retrieval",),
    Kind.MINIMUM_TIER: ("llm",),
}
_LEAST = {Kind.DEPTH: 0, Kind.MINIMUM_TIER: 1}
_SHARES = {Kind.CAP_BUDGET, Kind.SHED_LOAD}

JOURNEYS = frozenset({Kind.SAFE_MODE, Kind.SHED_LOAD})
"""Switches whose target is the journey."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One override of how the application behaves, checked as it is made.

    Attributes:
        id: Unique on its board; what `revert` takes.
        kind: What it changes.
        target: What it acts on: a route (`tool:refund`), all routes of a kind (`tool:*`), a real
            model (`model:gpt-5`), an alias, a prompt, a journey, a budget, or `*`.
        value: The model, depth, revision, level or tier; the share of a budget's limit, or of a
            journey's requests that are turned away; None for `disable` and `safe_mode`; for
            `restore` the switches that are in force again.
        journey: The only journey it acts on; None: all.
        reason: Why, in a person's words.
        actor: Who.
        created_at: Seconds since the epoch.
        expires_at: Seconds since the epoch from which it is as if it had been reverted; None:
            never.
        in_flight: What streams that run already do.
        source: Empty for the board; else the file or flag system that holds it, which is where it
            is taken back.

    Raises:
        ConfigurationError: If a value cannot work; it names the value and the remedy.
    """

    id: str
    kind: Kind
    target: str
    value: Any
    journey: str | None
    reason: str
    actor: str
    created_at: float
    expires_at: float | None = None
    in_flight: InFlight = InFlight.KEEP
    source: str = ""

    def __post_init__(self) -> None:
        _text(self.reason, "reason", "say why in a few words: whoever is on call next reads it")
        _text(self.actor, "actor", "say who: a person's or a service's name")
        _text(self.target, "target", "name what it acts on")
        if self.journey is not None:
            _text(self.journey, "journey", "name it, or leave it out for all journeys")
        if self.expires_at is not None and not 0 <= self.expires_at <= _LAST:
            raise ConfigurationError(
                f"switch until={self.expires_at!r}: give seconds since the epoch, up to the year 9999"
            )
        object.__setattr__(self, "kind", _member(Kind, self.kind, "kind"))
        object.__setattr__(self, "in_flight", _member(InFlight, self.in_flight, "in_flight"))
        _check_target(self)
        _check_value(self)

    def expired(self, now: float) -> bool:
        """Whether its time is up at `now` (seconds since the epoch)."""
        return self.expires_at is not None and now >= self.expires_at

    @property
    def summary(self) -> str:
        """What it does, in one line for people."""
        where = f" on {self.journey}" if self.journey is not None else ""
        match self.kind:
            case Kind.ALIAS:
                return f"{self.target} → {self.value}{where}"
            case Kind.DISABLE:
                name = "everything" if self.target == ANYTHING else self.target
                return f"{name} is off{where}"
            case Kind.DEPTH:
                return f"{self.target} fetches at most {self.value}{where}"
            case Kind.PROMPT:
                return f"prompt {self.target} is at {self.value}{where}"
            case Kind.STRICTNESS:
                return f"strictness is {self.value}{where}"
            case Kind.SAFE_MODE:
                name = "every journey" if self.target == ANYTHING else self.target
                return f"{name} is in safe mode"
            case Kind.MINIMUM_TIER:
                return f"{self.target} begins at tier {self.value}{where}"
            case Kind.CAP_BUDGET:
                name = "every budget" if self.target == ANYTHING else f"budget {self.target}"
                return f"{name} ends at {100 * self.value:g} % of its limit{where}"
            case Kind.SHED_LOAD:
                name = "every journey" if self.target == ANYTHING else self.target
                share = "" if self.value == 1 else f"{100 * self.value:g} % of "
                return f"{share}{name} is turned away"
            case Kind.RESTORE:
                return f"switches are as in known-good {self.target}"


def _text(value: Any, field: str, remedy: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"switch {field}={value!r}: {remedy}")
    if len(value) > MAX_TEXT:
        raise ConfigurationError(
            f"switch {field} has {len(value)} characters; say it in {MAX_TEXT} or fewer"
        )


def _member(words: Any, value: Any, field: str) -> Any:
    try:
        return words(value)
    except ValueError:
        choices = ", ".join(str(word) for word in words)
        raise ConfigurationError(f"switch {field}={value!r}: use one of {choices}") from None


def _check_target(switch: Switch) -> None:
    target = switch.target
    kinds = _ROUTES.get(switch.kind)
    if kinds is not None:
        kind, colon, name = target.partition(":")
        anything = target == ANYTHING and switch.kind is Kind.DISABLE
        if not anything and (
            kind not in kinds or not colon or not name or (ANYTHING in name and name != ANYTHING)
        ):
            examples = " or ".join(f"{k}:NAME" for k in kinds)
            raise ConfigurationError(
                f"switch {switch.kind} target={target!r}: write {examples}, "
                f"or {kinds[0]}:* for all of them"
            )
    elif switch.kind is Kind.STRICTNESS and target != ANYTHING:
        raise ConfigurationError(
            f"switch strictness target={target!r}: it acts on everything; narrow it with journey="
        )
    elif switch.kind in JOURNEYS and switch.journey not in (None, target):
        raise ConfigurationError(
            f"switch {switch.kind} target={target!r}, journey={switch.journey!r}: the target is the "
            "journey; leave journey out"
        )


def _check_value(switch: Switch) -> None:
    kind, value = switch.kind, switch.value
    if kind in (Kind.ALIAS, Kind.PROMPT, Kind.STRICTNESS):
        if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
            raise ConfigurationError(f"switch {kind} value={value!r}: give its name")
    elif kind in _LEAST:
        if not isinstance(value, int) or isinstance(value, bool) or value < _LEAST[kind]:
            raise ConfigurationError(
                f"switch {kind} value={value!r}: give a whole number, {_LEAST[kind]} or more"
            )
    elif kind in _SHARES:
        # A cap at the whole limit would change nothing, nor would turning nobody away.
        if type(value) not in (int, float) or not (
            0 <= value < 1 if kind is Kind.CAP_BUDGET else 0 < value <= 1
        ):
            limits = "0 to below 1" if kind is Kind.CAP_BUDGET else "above 0, up to 1"
            raise ConfigurationError(f"switch {kind} value={value!r}: give a share, {limits}")
    elif kind is Kind.RESTORE:
        if not isinstance(value, tuple) or not all(isinstance(item, Switch) for item in value):
            raise ConfigurationError(f"switch restore value={value!r}: it holds switches")
    elif value is not None:
        raise ConfigurationError(f"switch {kind} value={value!r}: it takes none")


_LONGEST = 100 * 366 * 86_400.0
_LAST = 253_402_300_799.0  # in the year 9999, past which there are no dates
_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION = re.compile(r"\s*(?:(\d+(?:\.\d+)?)\s*([smhd])\s*)+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])", re.ASCII)


def duration(
    value: float | str,
    *,
    name: str = "ttl",
    otherwise: str = "leave it out to keep the switch until it is reverted",
) -> float:
    """Seconds of `90`, `"90"`, `"30m"`, `"1h30m"`, `"2d"`.

    Args:
        value: What was given.
        name: What it was given for.
        otherwise: What else one may do.

    Raises:
        ConfigurationError: If it is none of these, or not above zero.
    """
    seconds = math.nan
    if isinstance(value, str):
        text = value.strip().lower()
        if _DURATION.fullmatch(text):
            seconds = sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text))
        elif re.fullmatch(r"\d+(?:\.\d+)?", text, re.ASCII):
            seconds = float(text)
    elif type(value) in (int, float):
        seconds = float(value)
    if not 0 < seconds <= _LONGEST:
        raise ConfigurationError(
            f"{name}={value!r}: give seconds above zero and up to a hundred years, or a text like "
            f"'90s', '30m', '1h30m', '2d'; {otherwise}"
        )
    return seconds
