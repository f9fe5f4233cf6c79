"""The record of an incident, as the ledger keeps it: frozen values with an exact JSON form.

What may happen to one is in `lifecycle.py`; this is only what is known of it. Times are seconds
since the epoch.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from firedoor.types import Evidence, IncidentClass, IncidentState, Mode, Severity

__all__ = [
    "IN_FORCE",
    "OVER",
    "SCHEMA",
    "ActionRecord",
    "ActionState",
    "AlertRecord",
    "Finding",
    "IncidentRecord",
    "TimelineEntry",
    "from_dict",
    "to_dict",
]

SCHEMA: Final = 1
"""Version of the JSON form. A reader refuses a newer one."""


class ActionState(StrEnum):
    """Where an action stands."""

    SUGGESTED = "suggested"
    """Shown to a person, who does it or not."""
    WAITING = "waiting"
    """It runs as soon as a person approves it."""
    APPLYING = "applying"
    """Begun; written down before anything is changed, so that a crash leaves a trace."""
    APPLIED = "applied"
    """In force; its signal has not been seen to recover yet."""
    VERIFIED = "verified"
    """In force, and its signal recovered within the window."""
    FAILED = "failed"
    """It did not help within its window: the next one follows."""
    ERRORED = "errored"
    """It could not be applied."""
    REJECTED = "rejected"
    LAPSED = "lapsed"
    """Nobody approved it in time."""
    REVERTED = "reverted"
    EXPIRED = "expired"
    """Its own time was up."""
    PROMOTED = "promoted"
    """A person made it permanent."""


IN_FORCE: Final = frozenset(
    {
        ActionState.APPLYING,
        ActionState.APPLIED,
        ActionState.VERIFIED,
        ActionState.FAILED,
    }
)
"""Something of it may still act: it has to be reverted or promoted before the incident closes."""

OVER: Final = frozenset(
    {
        ActionState.ERRORED,
        ActionState.REJECTED,
        ActionState.LAPSED,
        ActionState.REVERTED,
        ActionState.EXPIRED,
        ActionState.PROMOTED,
    }
)


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """One action of an incident.

    Attributes:
        id: 12 hexadecimal digits; what `approve`, `reject` and `revert` take.
        kind: Which action, as in `switch_alias`.
        text: What it does, in one line for people.
        mode: How far it may go by itself.
        state: Where it stands.
        step: Its place on the ladder: 0 is the alert's first action.
        target: What it writes to, as in `alias:gpt-5`; one automatic writer per target.
        parameters: Its fields, as plain values.
        touches: Whom it touches: `journeys`, `routes`, `share` of requests, and a `text`.
        alert: The alert it answers.
        requested_at: When it was decided on.
        approved_by: Who let it go on, where somebody had to.
        applied_at: When it took effect.
        verify_until: When it must have helped.
        verified_at: When its signal was seen to be back; None: it has not helped, or no more.
        expires_at: When it ends by itself.
        ended_at: When it was reverted, rejected, promoted, or ran out.
        undo: What `revert` needs for the exact inverse (ids of switches), as plain values.
        approve_until: Until when it may be approved; None: without end.
        wanted: `reverted` or `promoted`: what a person asked for and the application has not done
            yet.
        actor: Who did the last step.
        error: The type of what went wrong, never its message.
    """

    id: str
    kind: str
    text: str
    mode: Mode = Mode.AUTO
    state: ActionState = ActionState.SUGGESTED
    step: int = 0
    target: str = ""
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    touches: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    alert: str | None = None
    requested_at: float = 0.0
    approved_by: str | None = None
    applied_at: float | None = None
    verify_until: float | None = None
    verified_at: float | None = None
    expires_at: float | None = None
    ended_at: float | None = None
    approve_until: float | None = None
    wanted: ActionState | None = None
    undo: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    actor: str = "firedoor"
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One firing of an alert.

    Attributes:
        name: The alert's name.
        signal: The signal it is on.
        journey: Where it fired; None: the whole door.
        route: As in `llm:answer`.
        alias: The model name the application asks for.
        since: When the signal was first in breach.
        fired_at: When the alert began to fire.
        recovered_at: When it was over; None while it fires.
        value: What the signal showed when it fired.
        baseline: What it was before, or the limit.
        sample: Observations behind `value`.
        incident_class: The class it declares.
        why: The rule's own words.
        window: Seconds the rule looks back on: the unit of "recovered for N windows".
        flaps: How often it came back to firing within the incident, whether it had been over or
            only on its way there.
    """

    name: str
    signal: str
    journey: str | None = None
    route: str | None = None
    alias: str | None = None
    since: float = 0.0
    fired_at: float = 0.0
    recovered_at: float | None = None
    value: float = 0.0
    baseline: float | None = None
    sample: int = 0
    incident_class: IncidentClass | None = None
    why: str = ""
    window: float = 300.0
    flaps: int = 0


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One line of what happened, for people.

    Attributes:
        at: When.
        event: A short machine-readable word: `detected`, `classified`, `action_applied`, ...
        text: One line, redacted.
        actor: Who; `firedoor` for what it did by itself.
    """

    at: float
    event: str
    text: str
    actor: str = "firedoor"


@dataclass(frozen=True, slots=True)
class Finding:
    """What an incident taught.

    Attributes:
        text: One line.
        owner: Who sees to it.
        probe: The id of a probe that would have caught it; None: none yet.
        waiver: Why there is no probe; a finding needs one of the two.
        default: A patch of the configuration that becomes the default.
    """

    text: str
    owner: str = ""
    probe: str | None = None
    waiver: str | None = None
    default: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class IncidentRecord:
    """Everything that is known of one incident.

    Attributes:
        id: As in `INC-7f3a91c2`.
        service: The door's name.
        version: Grows by one with every change; what compare-and-set compares.
        state: Where its lifecycle stands.
        severity: In force; while the incident is open it does not fall by itself.
        incident_class: None: it fits no class, which is said as `unknown`.
        contributing: Other classes that users meet.
        title: One line.
        why: The classifier's sentence.
        evidence: The signals, the most telling first.
        severity_reasons: Why it is that severe.
        journey: Where it is; None: the whole door.
        route: As in `llm:answer`.
        alias: The model name the application asks for.
        control: The gate that failed or acted, where one is known.
        signature: What it looks like where that tells one kind from another, as an error's type.
        fingerprint: The recurrence key.
        recurrence_of: The id of the last closed incident with the same fingerprint.
        owner: Who leads.
        critical: Whether a journey declared critical is affected.
        share: Share of the requests in scope that are affected, 0 to 1; None: not known.
        requests: Affected requests; None: not known.
        alerts: Every firing, oldest first.
        actions: Every action, oldest first.
        timeline: Oldest first.
        findings: What it taught.
        waiver: Why it may close without a finding that has a probe.
        first_bad_at: The first bad decision.
        detected_at: When the first alert fired.
        contained_at: When an action held it, or a person said so.
        stabilised_at: When the application was back on known-good.
        diagnosed_at: When diagnosis began.
        recovered_at: When the signals were back.
        closed_at: When it was closed.
        updated_at: The last change.
        told: The state that spans and notifications have told of last. Whoever writes it tells,
            so that of many processes one does.
    """

    id: str
    service: str
    version: int = 0
    state: IncidentState = IncidentState.OPEN
    severity: Severity = Severity.SEV3
    incident_class: IncidentClass | None = None
    contributing: tuple[IncidentClass, ...] = ()
    title: str = ""
    why: str = ""
    evidence: tuple[Evidence, ...] = ()
    severity_reasons: tuple[str, ...] = ()
    journey: str | None = None
    route: str | None = None
    alias: str | None = None
    control: str | None = None
    signature: str = ""
    fingerprint: str = ""
    recurrence_of: str | None = None
    owner: str | None = None
    critical: bool = False
    share: float | None = None
    requests: int | None = None
    alerts: tuple[AlertRecord, ...] = ()
    actions: tuple[ActionRecord, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    findings: tuple[Finding, ...] = ()
    waiver: str | None = None
    first_bad_at: float | None = None
    detected_at: float | None = None
    contained_at: float | None = None
    stabilised_at: float | None = None
    diagnosed_at: float | None = None
    recovered_at: float | None = None
    closed_at: float | None = None
    updated_at: float = 0.0
    told: IncidentState | None = None

    @property
    def open(self) -> bool:
        """Whether it is not closed."""
        return self.state is not IncidentState.CLOSED

    @property
    def signals(self) -> tuple[str, ...]:
        """The names of the signals it was seen by, each once."""
        return tuple(dict.fromkeys([a.signal for a in self.alerts]))

    @property
    def time_to_detect(self) -> float | None:
        """Seconds from the first bad decision to the first alert."""
        return _between(self.first_bad_at, self.detected_at)

    @property
    def time_to_contain(self) -> float | None:
        """Seconds from the first bad decision to containment."""
        return _between(self.first_bad_at, self.contained_at)

    @property
    def time_to_recover(self) -> float | None:
        """Seconds from the first bad decision until the signals were back."""
        return _between(self.first_bad_at, self.recovered_at)


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


def to_dict(value: Any) -> Any:
    """A record in plain JSON types, every field by its name."""
    if dataclasses.is_dataclass(value):
        return {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_dict(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): to_dict(one) for key, one in value.items()}
    return str(value) if isinstance(value, StrEnum) else value


def from_dict(cls: Any, data: Mapping[str, Any]) -> Any:
    """The record that `to_dict` made this of; fields it does not know are passed over.

    Raises:
        ValueError: If a value fits no field, or a required field is missing.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    try:
        return cls(**{name: _read(hints[name], one) for name, one in data.items() if name in known})
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from None


def _read(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin = typing.get_origin(hint)
    if origin in {typing.Union, types.UnionType}:
        return _read(next(a for a in typing.get_args(hint) if a is not type(None)), value)
    if origin is tuple:
        return tuple(_read(typing.get_args(hint)[0], one) for one in value)
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    return float(value) if hint is float else value
