"""What may happen to an incident and in which order: `open → contained → stabilised → diagnosing → closed`.

Pure edits: each takes a record and the time, and answers the record as it is afterwards, or raises
`LifecycleError` with the reason and what comes first. Version and storage are the ledger's matter.

Containing comes before diagnosing because users are hurt for as long as somebody thinks; going
back to known-good comes before diagnosing because what holds the incident is an emergency measure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from firedoor.core.incident import (
    IN_FORCE,
    ActionRecord,
    ActionState,
    AlertRecord,
    Finding,
    IncidentRecord,
    TimelineEntry,
)
from firedoor.core.screen import clean, clip
from firedoor.errors import LifecycleError, UnknownIncident
from firedoor.types import IncidentState, Severity

__all__ = [
    "MOST_ENTRIES",
    "ORDER",
    "WINDOWS",
    "Check",
    "act",
    "alerted",
    "approve",
    "assign",
    "checks",
    "close",
    "contain",
    "diagnose",
    "find_action",
    "flapped",
    "note",
    "open_incident",
    "reassess",
    "recover",
    "recovered_alert",
    "reject",
    "relapse",
    "stabilise",
    "want",
]

ORDER: Final = (
    IncidentState.OPEN,
    IncidentState.CONTAINED,
    IncidentState.STABILISED,
    IncidentState.DIAGNOSING,
    IncidentState.CLOSED,
)
WINDOWS: Final = 3
"""Windows of its rule that a signal has to be back for."""

MOST_ENTRIES: Final = 500
"""Lines of a timeline; of a longer one the beginning and the end are kept."""

_BEGINNING = 100
_LONGEST = 500
"""Columns of a line of the timeline."""

_FIREDOOR = "firedoor"

_COMMANDS = {
    IncidentState.CONTAINED: "contain",
    IncidentState.STABILISED: "stabilise",
    IncidentState.DIAGNOSING: "diagnose",
    IncidentState.CLOSED: "close",
}
_REASONS = {
    IncidentState.OPEN: "users are still affected",
    IncidentState.CONTAINED: "it is held by an emergency measure and not yet back on known-good",
    IncidentState.STABILISED: "nobody has looked for the cause yet",
}
_ASKED = {
    IncidentState.STABILISED: "stabilising it before it is contained",
    IncidentState.DIAGNOSING: "diagnosis before containment",
    IncidentState.CLOSED: "closing it",
}
_DECIDABLE = frozenset({ActionState.SUGGESTED, ActionState.WAITING})


@dataclass(frozen=True, slots=True)
class Check:
    """One condition for closing.

    Attributes:
        name: `recovered`, `actions`, `owner` or `finding`.
        passed: Whether it is met.
        text: What is so, in one line.
        remedy: What to do where it is not met.
    """

    name: Literal["recovered", "actions", "owner", "finding"]
    passed: bool
    text: str
    remedy: str = ""


# Steps ---------------------------------------------------------------------------------------


def open_incident(record: IncidentRecord, *, now: float, text: str = "") -> IncidentRecord:
    """`record` as it begins: open, detected now unless it says when."""
    detected = now if record.detected_at is None else record.detected_at
    opened = replace(
        record,
        state=IncidentState.OPEN,
        detected_at=detected,
        first_bad_at=detected if record.first_bad_at is None else record.first_bad_at,
    )
    if any(entry.event == "detected" for entry in record.timeline):
        return opened
    return note(opened, text or record.title or "detected", event="detected", now=detected)


def contain(
    record: IncidentRecord, reason: str = "", *, now: float, actor: str = _FIREDOOR
) -> IncidentRecord:
    """Users are no longer hurt: an action holds it, or a person says so.

    Raises:
        LifecycleError: If it is contained already, or past that.
    """
    return _advance(record, IncidentState.CONTAINED, reason, now, actor, contained_at=now)


def stabilise(
    record: IncidentRecord, reason: str = "", *, now: float, actor: str = _FIREDOOR
) -> IncidentRecord:
    """The application runs on something known to be good.

    Raises:
        LifecycleError: If it is not contained yet, or past that.
    """
    return _advance(record, IncidentState.STABILISED, reason, now, actor, stabilised_at=now)


def diagnose(
    record: IncidentRecord, reason: str = "", *, now: float, actor: str = _FIREDOOR
) -> IncidentRecord:
    """Somebody looks for the cause.

    Raises:
        LifecycleError: If it is not contained and stabilised yet, or past that.
    """
    return _advance(record, IncidentState.DIAGNOSING, reason, now, actor, diagnosed_at=now)


def close(
    record: IncidentRecord,
    findings: Iterable[Finding] = (),
    *,
    waiver: str | None = None,
    owner: str | None = None,
    recovered: str | None = None,
    now: float,
    actor: str = _FIREDOOR,
    windows: int = WINDOWS,
) -> IncidentRecord:
    """End it, if every closure check is met.

    Args:
        record: The incident.
        findings: What it taught; they join those it has.
        waiver: Why it may close without a finding that has a probe.
        owner: Who leads, where nobody was named yet. Left out: whoever a finding is left to.
        recovered: How a person knows that the signals are back, where no signal can say so.
        now: Seconds since the epoch.
        actor: Who closes it.
        windows: Windows for which every signal has to be back.

    Raises:
        LifecycleError: Naming every check that is not met, and the way to meet it.
    """
    _in_order(record, IncidentState.CLOSED)
    learnt = (*record.findings, *findings)
    made = replace(
        record,
        findings=learnt,
        waiver=_line(waiver) or record.waiver,
        owner=_line(owner) or record.owner or next((f.owner for f in learnt if f.owner), None),
    )
    unmet = [c for c in checks(made, now=now, recovered=recovered, windows=windows) if not c.passed]
    if unmet:
        said = "; ".join(f"{check.text}: {check.remedy}" for check in unmet)
        raise LifecycleError(f"{record.id} cannot be closed. {said}")
    for action in made.actions:
        if action.state in _DECIDABLE:
            made = act(
                made,
                replace(action, state=ActionState.LAPSED, ended_at=now),
                now=now,
                actor=actor,
            )
        elif action.state in IN_FORCE:  # its own time was up, and nobody was there to say so
            gone = replace(action, state=ActionState.EXPIRED, ended_at=action.expires_at)
            made = act(made, gone, now=now, actor=actor)
    if made.recovered_at is None:
        made = replace(made, recovered_at=_recovered_at(made) or now)
    if recovered:
        made = note(made, f"recovered: {recovered}", event="recovered", now=now, actor=actor)
    lessons = f"{len(made.findings)} finding{'s' if len(made.findings) != 1 else ''}"
    reason = f"without a probe: {made.waiver}" if made.waiver else lessons
    return _advance(made, IncidentState.CLOSED, reason, now, actor, closed_at=now)


def relapse(
    record: IncidentRecord, reason: str, *, now: float, actor: str = _FIREDOOR
) -> IncidentRecord:
    """What held it holds no longer and users are hurt again: it is open again.

    The one way back. Whoever is diagnosing has to contain first, as at the beginning; the timeline
    keeps what was.

    Raises:
        LifecycleError: If it is closed; what happens then is a new incident.
    """
    if record.state is IncidentState.CLOSED:
        raise LifecycleError(f"{record.id} is closed: what happens now is a new incident")
    if record.state is IncidentState.OPEN:
        return record
    made = replace(
        record,
        state=IncidentState.OPEN,
        contained_at=None,
        stabilised_at=None,
        diagnosed_at=None,
        recovered_at=None,
    )
    return note(made, f"open again: {reason}", event="open", now=now, actor=actor)


def _advance(
    record: IncidentRecord,
    state: IncidentState,
    reason: str,
    now: float,
    actor: str,
    **times: Any,
) -> IncidentRecord:
    _in_order(record, state)
    made = replace(record, state=state, **times)
    text = f"{state.value}: {reason}" if reason.strip() else state.value
    return note(made, text, event=state.value, now=now, actor=actor)


def _in_order(record: IncidentRecord, state: IncidentState) -> None:
    have, want_ = ORDER.index(record.state), ORDER.index(state)
    if have >= want_:
        raise LifecycleError(f"{record.id} is {record.state} already", already=True)
    if want_ - have > 1:
        steps = [_COMMANDS[step] for step in ORDER[have + 1 : want_]]
        first = ", then ".join(f"`firedoor incidents {step} {record.id}`" for step in steps)
        asked = _ASKED[state]
        if state is IncidentState.DIAGNOSING and record.state is IncidentState.CONTAINED:
            asked = "diagnosis before the application is back on known-good"
        raise LifecycleError(
            f"{record.id} is {record.state}, {_REASONS[record.state]}: {asked} is refused. "
            f"First {first}"
        )


# Closure -------------------------------------------------------------------------------------


def checks(
    record: IncidentRecord, *, now: float, recovered: str | None = None, windows: int = WINDOWS
) -> tuple[Check, ...]:
    """The conditions for closing as they stand. Arguments as for `close`."""
    return (
        _check_recovered(record, now, recovered, windows),
        _check_actions(record, now),
        _check_owner(record),
        _check_findings(record),
    )


def _recovered_at(record: IncidentRecord) -> float | None:
    """When the last of its alerts was over; None while one fires, or where there is none."""
    ends = [alert.recovered_at for alert in record.alerts]
    if not ends or any(end is None for end in ends):
        return record.recovered_at if not ends else None
    return max(end for end in ends if end is not None)


def _check_recovered(
    record: IncidentRecord, now: float, recovered: str | None, windows: int
) -> Check:
    if recovered and recovered.strip():
        return Check("recovered", passed=True, text=f"recovered: {_line(recovered)}")
    firing = sorted({alert.name for alert in record.alerts if alert.recovered_at is None})
    if firing:
        return Check(
            "recovered",
            passed=False,
            text=f"{', '.join(firing)} still firing",
            remedy="wait, or say with --recovered how you know that users are well",
        )
    since = _recovered_at(record)
    if since is None:
        return Check(
            "recovered",
            passed=False,
            text="no signal says that it is over",
            remedy="say with --recovered how you know that users are well",
        )
    window = max((alert.window for alert in record.alerts), default=0.0)
    left = windows * window - (now - since)
    if left > 0:
        return Check(
            "recovered",
            passed=False,
            text=f"signals are back for less than {windows} windows of {window:g} s",
            remedy=f"wait {left:.0f} s more",
        )
    return Check("recovered", passed=True, text=f"every signal back for {windows} windows")


def _check_actions(record: IncidentRecord, now: float) -> Check:
    left = [
        action
        for action in record.actions
        if action.state in IN_FORCE and not (action.expires_at is not None and action.expires_at <= now)
    ]  # fmt: skip
    if left:
        named = ", ".join(f"{action.text or action.kind} ({action.id})" for action in left)
        return Check(
            "actions",
            passed=False,
            text=f"still in force: {named}",
            remedy="revert or promote each",
        )
    return Check("actions", passed=True, text="no temporary action in force")


def _check_owner(record: IncidentRecord) -> Check:
    if record.owner:
        return Check("owner", passed=True, text=f"owner: {record.owner}")
    return Check("owner", passed=False, text="nobody owns it", remedy="name an owner")


def _check_findings(record: IncidentRecord) -> Check:
    if record.waiver:
        return Check("finding", passed=True, text=f"waived: {record.waiver}")
    if not record.findings:
        return Check(
            "finding",
            passed=False,
            text="no finding",
            remedy="say what it taught, with a probe that would have caught it, or give a waiver",
        )
    bare = [finding for finding in record.findings if not (finding.probe or finding.waiver)]
    if bare:
        return Check(
            "finding",
            passed=False,
            text=f"without a probe: {bare[0].text!r}",
            remedy="name its probe, or waive it with the reason",
        )
    return Check("finding", passed=True, text=f"{len(record.findings)} with a probe or a waiver")


# What is known -------------------------------------------------------------------------------


def note(
    record: IncidentRecord,
    text: str,
    *,
    now: float,
    event: str = "note",
    actor: str = _FIREDOOR,
) -> IncidentRecord:
    """One line more on the timeline."""
    entry = TimelineEntry(now, event, clip(clean(text), _LONGEST), clip(clean(actor), 80))
    timeline = (*record.timeline, entry)
    if len(timeline) > MOST_ENTRIES:
        # What began it and what is now; not the flapping in between.
        timeline = timeline[:_BEGINNING] + timeline[_BEGINNING + 1 :]
    return replace(record, timeline=timeline)


def assign(
    record: IncidentRecord, owner: str, *, now: float, actor: str = _FIREDOOR
) -> IncidentRecord:
    """Name who leads.

    Raises:
        LifecycleError: If the name is empty.
    """
    name = _line(owner)
    if not name:
        raise LifecycleError(f"{record.id}: an owner needs a name")
    if name == record.owner:
        return record
    return note(
        replace(record, owner=name), f"owner: {name}", event="assigned", now=now, actor=actor
    )


def alerted(record: IncidentRecord, alert: AlertRecord, *, now: float) -> IncidentRecord:
    """An alert fires: a new one, or one of those it has, again."""
    for index, had in enumerate(record.alerts):
        if _place(had) != _place(alert):
            continue
        if had.recovered_at is None:
            return record
        again = replace(
            had,
            recovered_at=None,
            value=alert.value,
            sample=alert.sample,
            why=alert.why,
            flaps=had.flaps + 1,
        )
        alerts = (*record.alerts[:index], again, *record.alerts[index + 1 :])
        text = f"{alert.name} fires again: {alert.why or alert.signal}"
        made = replace(record, alerts=alerts, recovered_at=None)
        return note(made, text, event="alert_fired", now=now)
    text = f"{alert.name} fires: {alert.why or alert.signal}"
    made = replace(record, alerts=(*record.alerts, alert), recovered_at=None)
    return note(made, text, event="alert_fired", now=now)


def flapped(record: IncidentRecord, places: Collection[tuple[str | None, ...]]) -> IncidentRecord:
    """Alerts came back to firing before they were over: counted, and no news.

    Args:
        record: The incident.
        places: Name, journey, route and alias of each.
    """
    back = [a.recovered_at is None and _place(a) in places for a in record.alerts]
    if not any(back):
        return record
    alerts = zip(record.alerts, back, strict=True)
    return replace(record, alerts=tuple(replace(a, flaps=a.flaps + b) for a, b in alerts))


def recovered_alert(
    record: IncidentRecord,
    name: str,
    *,
    now: float,
    journey: str | None = None,
    route: str | None = None,
    alias: str | None = None,
) -> IncidentRecord:
    """An alert is over. With the last of them the incident has recovered."""
    place = (name, journey, route, alias)
    alerts = tuple(
        replace(alert, recovered_at=now)
        if _place(alert) == place and alert.recovered_at is None
        else alert
        for alert in record.alerts
    )
    if alerts == record.alerts:
        return record
    made = note(replace(record, alerts=alerts), f"{name} is over", event="alert_over", now=now)
    return recover(made, now=now) if all(a.recovered_at is not None for a in alerts) else made


def recover(record: IncidentRecord, *, now: float) -> IncidentRecord:
    """Every signal is back."""
    if record.recovered_at is not None:
        return record
    made = replace(record, recovered_at=now)
    return note(made, "every signal is back", event="recovered", now=now)


def reassess(
    record: IncidentRecord,
    severity: Severity,
    reasons: Iterable[str] = (),
    *,
    now: float,
    share: float | None = None,
    requests: int | None = None,
) -> IncidentRecord:
    """The severity and exposure as they are now."""
    made = replace(
        record,
        severity=severity,
        severity_reasons=tuple(reasons),
        share=record.share if share is None else share,
        requests=record.requests if requests is None else requests,
    )
    if severity is record.severity:
        return made
    why = f": {made.severity_reasons[0]}" if made.severity_reasons else ""
    text = f"{record.severity} → {severity}{why}"
    return note(made, text, event="severity", now=now)


# Actions -------------------------------------------------------------------------------------


def act(
    record: IncidentRecord,
    action: ActionRecord,
    *,
    now: float,
    text: str = "",
    actor: str | None = None,
) -> IncidentRecord:
    """An action as it is now: a new one, or the one with its id in its place."""
    had = {one.id for one in record.actions}
    actions = (
        tuple(action if one.id == action.id else one for one in record.actions)
        if action.id in had
        else (*record.actions, action)
    )
    if actions == record.actions:
        return record
    said = text or f"{action.state.value}: {action.text or action.kind}"
    return note(
        replace(record, actions=actions),
        said,
        event=f"action_{action.state.value}",
        now=now,
        actor=actor or action.actor,
    )


def find_action(record: IncidentRecord, action_id: str) -> ActionRecord:
    """The action with this id, or with an id that begins so, if it is the only one.

    Raises:
        UnknownIncident: If there is none or more than one.
    """
    begins = [action for action in record.actions if action.id.startswith(action_id)]
    exact = [action for action in begins if action.id == action_id]
    if action_id and len(exact or begins) == 1:
        return (exact or begins)[0]
    ids = ", ".join(f"{a.id} ({a.state.value}: {a.text or a.kind})" for a in record.actions)
    said = f"{action_id!r} begins more than one" if begins else f"no action {action_id!r}"
    raise UnknownIncident(f"{record.id}: {said}. It has {ids or 'none'}")


def approve(record: IncidentRecord, action_id: str, *, now: float, actor: str) -> IncidentRecord:
    """Let an action go on that waits for a person, or one that is only suggested.

    It stays `waiting` with `approved_by`: the application applies it at its next look.

    Raises:
        LifecycleError: If it is decided already, or nobody may approve it any more.
        UnknownIncident: If there is no such action.
    """
    action = find_action(record, action_id)
    _decidable(record, action, now, "approve")
    approved = replace(action, state=ActionState.WAITING, approved_by=_line(actor), actor=actor)
    return act(
        record,
        approved,
        now=now,
        text=f"approved: {action.text or action.kind}",
        actor=actor,
    )


def reject(
    record: IncidentRecord, action_id: str, reason: str = "", *, now: float, actor: str
) -> IncidentRecord:
    """Say no to an action that waits or is suggested.

    Raises:
        LifecycleError: If it is decided already.
        UnknownIncident: If there is no such action.
    """
    action = find_action(record, action_id)
    _decidable(record, action, now, "reject")
    rejected = replace(action, state=ActionState.REJECTED, ended_at=now, actor=actor)
    why = f" ({reason})" if reason.strip() else ""
    return act(
        record,
        rejected,
        now=now,
        text=f"rejected: {action.text or action.kind}{why}",
        actor=actor,
    )


def want(
    record: IncidentRecord,
    action_id: str,
    state: ActionState,
    reason: str = "",
    *,
    now: float,
    actor: str,
    done: bool = False,
) -> IncidentRecord:
    """Ask for an action in force to be taken back (`REVERTED`) or made permanent (`PROMOTED`).

    Args:
        record: The incident.
        action_id: Its id or the beginning of it.
        state: `REVERTED` or `PROMOTED`.
        reason: Why.
        now: Seconds since the epoch.
        actor: Who.
        done: It is done already, by hand: nothing is left for the application to do.

    Raises:
        LifecycleError: If nothing of the action is in force.
        UnknownIncident: If there is no such action.
    """
    action = find_action(record, action_id)
    if action.state not in IN_FORCE:
        raise LifecycleError(
            f"{record.id}: {action.text or action.kind} ({action.id}) is {action.state.value}: "
            "nothing of it is in force",
            already=action.state is state,
        )
    why = f" ({reason})" if reason.strip() else ""
    if done:
        return act(
            record,
            replace(action, state=state, wanted=None, ended_at=now, actor=actor),
            now=now,
            text=f"{state.value}: {action.text or action.kind}{why}",
            actor=actor,
        )
    if action.wanted is state:
        raise LifecycleError(
            f"{record.id}: to have {action.id} {state.value} is asked for already", already=True
        )
    verb = "revert" if state is ActionState.REVERTED else "promote"
    marked = replace(action, wanted=state, actor=actor)
    actions = tuple(marked if one.id == action.id else one for one in record.actions)
    return note(
        replace(record, actions=actions),
        f"asked to {verb}: {action.text or action.kind}{why}",
        event=f"action_{verb}",
        now=now,
        actor=actor,
    )


def _decidable(record: IncidentRecord, action: ActionRecord, now: float, verb: str) -> None:
    named = f"{record.id}: {action.text or action.kind} ({action.id})"
    if action.state not in _DECIDABLE:
        raise LifecycleError(
            f"{named} is {action.state.value}: nothing is left to {verb}", already=True
        )
    if action.approved_by is not None:
        raise LifecycleError(f"{named} was approved by {action.approved_by}", already=True)
    if action.approve_until is not None and now > action.approve_until:
        raise LifecycleError(
            f"{named} could be decided until {now - action.approve_until:.0f} s ago: it has lapsed; "
            "do it by hand if it is still right"
        )


def _place(alert: AlertRecord) -> tuple[str | None, ...]:
    return (alert.name, alert.journey, alert.route, alert.alias)


def _line(text: str | None) -> str:
    return clip(clean(text), _LONGEST) if text else ""
