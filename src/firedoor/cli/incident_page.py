"""Incidents on a terminal: readable at three in the morning, without colour, in 80 columns."""

from __future__ import annotations

import shlex
from typing import Any

from rich.console import Console
from rich.text import Text

from firedoor.cli.board import clean, clock_time, now, span
from firedoor.cli.ledger import command, label, severity_style, width
from firedoor.core.facts import facts
from firedoor.core.incident import IN_FORCE, ActionRecord, ActionState, IncidentRecord, to_dict
from firedoor.core.lasting import Times, Took
from firedoor.core.lifecycle import checks
from firedoor.core.screen import clip
from firedoor.incidents.book import Incidents
from firedoor.types import IncidentClass, IncidentState

__all__ = ["data", "show", "show_closure", "show_list", "show_next", "show_times"]

_NEXT = {
    IncidentState.OPEN: ("contain", "users are affected: do what the runbook says first, then"),
    IncidentState.CONTAINED: ("stabilise", "go back to what is known to be good, then"),
    IncidentState.STABILISED: ("diagnose", "now there is time to look for the cause"),
}
_STATES = {
    IncidentState.OPEN: "bold red",
    IncidentState.CONTAINED: "yellow",
    IncidentState.STABILISED: "cyan",
    IncidentState.DIAGNOSING: "cyan",
    IncidentState.CLOSED: "green",
}


def data(book: Incidents, record: IncidentRecord) -> dict[str, Any]:
    """The incident for programs: every field, its times, and its closure checks."""
    made: dict[str, Any] = to_dict(record)
    made["time_to_detect"] = record.time_to_detect
    made["time_to_contain"] = record.time_to_contain
    made["time_to_recover"] = record.time_to_recover
    if record.open:
        made["checks"] = to_dict(checks(record, now=book.time(), windows=book.windows))
    return made


def show_list(out: Console, records: list[IncidentRecord], url: str | None, *, every: bool) -> None:
    """Three lines each at most: how bad, what, and what waits for a person."""
    if not records:
        out.print("No incident was ever opened." if every else "No incident is open.")
        if not every:
            out.print(f"  closed ones  {command('firedoor incidents list --all', url)}")
        return
    for record in records:
        _headline(out, record)
        title = _class(record) + (f": {record.title}" if record.title else "")
        out.print(f"      {clip(clean(title), width(out) - 6)}")
        for action in _undecided(record):
            out.print(Text(f"      waits for you: {clean(_what(action))}", "bold"))
            line = f"firedoor incidents approve {record.id} {action.id[:6]}"
            out.print(f"      {command(line, url)}")
    if not every:
        worst = records[0].id
        out.print(f"\nread   {command(f'firedoor runbook {worst}', url)}")
        out.print(f"all    {command(f'firedoor incidents show {worst}', url)}")


def _headline(out: Console, record: IncidentRecord) -> None:
    since = record.first_bad_at or record.detected_at
    age = "" if since is None else span((record.closed_at or now()) - since)
    owner = record.owner or ("" if not record.open else "no owner")
    where = record.journey or record.service
    out.print(
        Text.assemble(
            (record.severity.value, severity_style(record)),
            (f"  {record.id}", "bold"),
            (f"  {record.state.value:<10}", _STATES[record.state]),
            f"  {clip(clean(where), 22):<22}  {age:>8}  {clip(clean(owner), 14)}".rstrip(),
        )
    )


def show(out: Console, book: Incidents, record: IncidentRecord, url: str | None) -> None:
    """Everything about one incident, the next step last, where the eye is."""
    known = facts(record)
    out.print(
        Text.assemble(
            (record.severity.value, severity_style(record)),
            (f"  {record.id}  ", "bold"),
            (record.state.value, _STATES[record.state]),
            f"  {_class(record)}",
        )
    )
    label(out, "what", record.title or "not said")
    label(out, "where", _where(record))
    label(out, "owner", record.owner or "nobody", "" if record.owner else "bold red")
    for reason in record.severity_reasons[:3]:
        label(out, "severity", reason)
    label(out, "since", _times(record))
    if record.recurrence_of:
        label(out, "again", f"it repeats {record.recurrence_of}")
    if record.why:
        label(out, "why", record.why)
    for index, evidence in enumerate(record.evidence[:6]):
        parts = [f"{evidence.signal} {evidence.value:.3g}"]
        if evidence.baseline is not None:
            parts.append(f"against {evidence.baseline:.3g}")
        if evidence.sample:
            parts.append(f"of {evidence.sample}")
        parts.append(f"weight {evidence.weight:.2g}")
        label(out, "seen" if not index else "", ", ".join(parts))
    if not record.evidence and "signals" in known:
        label(out, "seen", known["signals"])
    for alert in record.alerts:
        if alert.flaps:
            times = "once" if alert.flaps == 1 else f"{alert.flaps} times"
            label(out, "flaps", f"{alert.name} has come back {times}")
    for index, action in enumerate(record.actions):
        _show_action(out, "actions" if not index else "", action)
    for index, finding in enumerate(record.findings):
        told = f"probe {finding.probe}" if finding.probe else (finding.waiver or "no probe")
        label(out, "findings" if not index else "", f"{finding.text} ({told})")
    _timeline(out, record)
    show_next(out, book, record, url)


def _show_action(out: Console, name: str, action: ActionRecord) -> None:
    in_force = action.state in IN_FORCE
    state = action.state.value
    if action.state is ActionState.FAILED:
        state = "did not help, still on"
    parts = [f"{action.id[:6]} {state}: {_what(action)}"]
    if action.approved_by:
        parts.append(f"approved by {action.approved_by}")
    if in_force and action.expires_at is not None:
        parts.append(f"until {clock_time(action.expires_at)}")
    if action.wanted is not None:
        parts.append(f"asked to be {action.wanted.value}")
    if action.error:
        parts.append(action.error)
    style = "bold" if action.state is ActionState.WAITING else ("yellow" if in_force else "")
    label(out, name, ", ".join(parts), style, hang=8)


def _timeline(out: Console, record: IncidentRecord) -> None:
    shown = record.timeline
    out.print()
    for entry in shown:
        by = "" if entry.actor == "firedoor" else f" ({entry.actor})"
        label(out, clock_time(entry.at).removesuffix(" UTC")[-8:], f"{entry.text}{by}")
    if shown:
        out.print("times are UTC", style="dim")


def show_next(out: Console, book: Incidents, record: IncidentRecord, url: str | None) -> None:
    """What a person does now, as lines to paste."""
    if not record.open:
        label(out, "closed", _times(record), "green")
        return
    out.print()
    for action in _undecided(record):
        until = ""
        if action.approve_until is not None:
            until = f", until {clock_time(action.approve_until)}"
        label(out, "decide", f"{_what(action)} waits for you{until}", "bold")
        for verb, more in (("approve", ""), ("reject", " -r WHY")):
            line = f"firedoor incidents {verb} {record.id} {action.id[:6]}{more}"
            out.print(f"          {command(line, url)}")
    for action in record.actions:
        if action.approved_by and action.state is ActionState.WAITING:
            label(out, "soon", f"{_what(action)}: the application applies it at its next look")
        elif action.wanted is not None and action.state in IN_FORCE:
            label(
                out,
                "soon",
                f"{_what(action)}: the application will have it {action.wanted.value} at its next "
                "look",
            )
    if record.state is IncidentState.DIAGNOSING:
        show_closure(out, book, record, url)
        return
    verb, said = _NEXT[record.state]
    more = "" if verb == "diagnose" else " -r WHAT-HOLDS-IT" if verb == "contain" else " -r HOW"
    label(out, "next", said)
    if record.state is IncidentState.OPEN:
        out.print(f"          {command(f'firedoor runbook {record.id}', url)}")
    out.print(f"          {command(f'firedoor incidents {verb} {record.id}{more}', url)}")


def show_closure(
    out: Console,
    book: Incidents,
    record: IncidentRecord,
    url: str | None,
    *,
    recovered: str | None = None,
) -> None:
    """What closing it asks for, and the lines that do it."""
    label(out, "next", "close it when all of this is so")
    words = ["firedoor", "incidents", "close", record.id]
    for check in checks(record, now=book.time(), recovered=recovered, windows=book.windows):
        mark = "[x]" if check.passed else "[ ]"
        remedy = "" if check.passed else f": {check.remedy}"
        label(out, "", f"{mark} {check.text}{remedy}", "" if check.passed else "bold", hang=4)
        if not check.passed:
            words += {
                "recovered": [],
                "actions": [],
                "owner": ["--owner", "NAME"],
                "finding": ["-f", "WHAT-IT-TAUGHT", "-p", "PROBE"],
            }[check.name]
    for action in record.actions:
        if action.state in IN_FORCE and action.wanted is None:
            line = f"firedoor incidents revert {record.id} {action.id[:6]} -r WHY"
            out.print(f"          {command(line, url)}")
    out.print(f"          {command(shlex.join(words), url)}")


def show_times(out: Console, found: dict[IncidentClass | None, Times]) -> None:
    """One line a class: median and longest."""
    if not found:
        out.print("No incident was ever opened.")
        return
    out.print(
        f"{'class':<20}{'incidents':>10}{'detected':>16}{'contained':>17}{'over':>17}", style="bold"
    )
    for kind, one in found.items():
        name = "unknown" if kind is None else kind.value.replace("_", " ")
        detect, contain, recover = map(_took, (one.detect, one.contain, one.recover))
        out.print(f"{name:<20}{one.incidents:>10}{detect:>16}{contain:>17}{recover:>17}")
    out.print("from the first bad decision on: median (longest)", style="dim")


def _took(step: Took) -> str:
    if step.median is None or step.longest is None:
        return "-"
    return f"{_brief(step.median)} ({_brief(step.longest)})".replace(" ", "").replace("(", " (")


def _brief(seconds: float) -> str:
    return span(seconds) if seconds >= 60 else f"{seconds:.3g} s"


def _undecided(record: IncidentRecord) -> list[ActionRecord]:
    if not record.open:
        return []
    return [
        action
        for action in record.actions
        if action.state in {ActionState.WAITING, ActionState.SUGGESTED}
        and action.approved_by is None
        and (action.approve_until is None or action.approve_until >= now())
    ]


def _what(action: ActionRecord) -> str:
    return action.text or action.kind.replace("_", " ")


def _class(record: IncidentRecord) -> str:
    kind = record.incident_class
    words = "fits no class" if kind is None else kind.value.replace("_", " ")
    also = ", ".join(one.value.replace("_", " ") for one in record.contributing)
    return f"{words} (also {also})" if also else words


def _where(record: IncidentRecord) -> str:
    parts = [record.service]
    named = (("journey", record.journey), ("route", record.route), ("model", record.alias))
    parts += [f"{word} {value}" for word, value in named if value]
    if record.share is not None:
        affected = f"{100 * record.share:.3g} % of requests"
        parts.append(f"{affected} ({record.requests})" if record.requests else affected)
    return ", ".join(parts)


def _times(record: IncidentRecord) -> str:
    begun = record.first_bad_at or record.detected_at
    parts = [] if begun is None else [f"{clock_time(begun)}"]
    steps = (
        ("detected", record.time_to_detect),
        ("contained", record.time_to_contain),
        ("over", record.time_to_recover),
    )
    parts += [f"{word} after {_brief(seconds)}" for word, seconds in steps if seconds is not None]
    return ", ".join(parts) or "not known"
