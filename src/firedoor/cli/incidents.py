"""`firedoor incidents`: what is wrong, what was done about it, and the next step."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Annotated

import typer

from firedoor.cli import board as boards
from firedoor.cli import incident_page as page
from firedoor.cli import ledger as ledgers
from firedoor.cli.board import AsJson, clean, screen
from firedoor.cli.ledger import LedgerUrl
from firedoor.core.incident import ActionState, Finding, IncidentRecord
from firedoor.core.lifecycle import find_action
from firedoor.errors import ConfigurationError, LifecycleError, UnknownIncident
from firedoor.incidents.book import Incident, Incidents
from firedoor.ledger.base import BATCH
from firedoor.types import IncidentClass, IncidentState, Severity

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="What is wrong, what was done about it, and the next step: open → contained → "
    "stabilised → diagnosing → closed.",
)

_ID = "Its id, or the beginning of it"
Id = Annotated[str, typer.Argument(metavar="INCIDENT", help=f"{_ID}.")]
MaybeId = Annotated[
    str | None, typer.Argument(metavar="[INCIDENT]", help=f"{_ID}; left out: the only open one.")
]
ActionId = Annotated[
    str | None,
    typer.Argument(metavar="[ACTION]", help="Its id, or the beginning of it; may be left out where it is the only one."),
]  # fmt: skip
Reason = Annotated[
    str, typer.Option("--reason", "-r", help="Why or how, in a few words; it goes on the timeline.")
]
Actor = Annotated[str | None, typer.Option(help="Who; your user name if left out.")]
Done = Annotated[
    bool, typer.Option("--done", help="It is done already, by hand: only the record does not know.")
]

_MOST = 1_000_000
"""Incidents counted before they are forgotten."""

_WAITING = (ActionState.WAITING, ActionState.SUGGESTED)
_ON = (ActionState.APPLYING, ActionState.APPLIED, ActionState.VERIFIED, ActionState.FAILED)


@app.callback(invoke_without_command=True)
def incidents(context: typer.Context, *, ledger: LedgerUrl = None, as_json: AsJson = False) -> None:
    """List the open incidents where no command is given."""
    for name in ("ledger", "as_json"):
        source = context.get_parameter_source(name)
        if context.invoked_subcommand and source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(
                f"give it after {context.invoked_subcommand}, whose option it is",
                param_hint="--json" if name == "as_json" else "--ledger",
            )
    if context.invoked_subcommand is None:
        _list(ledger, every=False, limit=20, service=None, as_json=as_json)


@app.command("list")
def list_(
    *,
    every: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest.")] = 20,
    service: Annotated[str | None, typer.Option(help="Only of this application.")] = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the open incidents, the most severe first."""
    _list(ledger, every=every, limit=limit, service=service, as_json=as_json)


def _list(url: str | None, *, every: bool, limit: int, service: str | None, as_json: bool) -> None:
    with ledgers.opened(url) as book:
        book.service = service
        found = book.history(limit) if every else book.current()[:limit]
        records = [one.record for one in found]
        if as_json:
            boards.show_json([page.data(book, record) for record in records])
            return
        page.show_list(screen(), records, url, every=every)


@app.command()
def show(incident: MaybeId = None, *, ledger: LedgerUrl = None, as_json: AsJson = False) -> None:
    """Show one incident: what is seen, what was done, the timeline, and the next step."""
    with ledgers.opened(ledger) as book:
        record = ledgers.the_one(book, incident).record
        if as_json:
            boards.show_json(page.data(book, record))
        else:
            page.show(screen(), book, record, ledger)


@app.command("open")
def open_(
    title: Annotated[str, typer.Argument(help="What users meet, in one line.")],
    *,
    service: Annotated[str, typer.Option(help="The application, as its door is named.")],
    kind: Annotated[
        IncidentClass | None, typer.Option("--class", help="Left out: not known.")
    ] = None,
    severity: Annotated[
        Severity, typer.Option(case_sensitive=False, help="How bad it is.")
    ] = Severity.SEV3,
    journey: Annotated[str | None, typer.Option(help="Where; left out: everywhere.")] = None,
    actor: Actor = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Open an incident that you have noticed and no alert has."""
    with ledgers.opened(ledger) as book:
        book.service = _said(service)
        record = book.declare(
            _said(title), incident_class=kind, severity=severity, journey=journey, actor=actor
        ).record
        if as_json:
            boards.show_json(page.data(book, record))
            return
        screen().print(clean(f"✓ {record.id}  opened: {record.title}"), style="green")
        page.show_next(screen(), book, record, ledger)


@app.command()
def contain(
    incident: Id,
    *,
    reason: Reason,
    actor: Actor = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Say that users are no longer hurt, and what holds it."""
    _step(ledger, as_json, incident, lambda one: one.contain(_said(reason), actor=actor))


@app.command()
def stabilise(
    incident: Id,
    *,
    reason: Reason,
    actor: Actor = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Say that the application is back on something known to be good, and what that is."""
    _step(ledger, as_json, incident, lambda one: one.stabilise(_said(reason), actor=actor))


@app.command()
def diagnose(
    incident: Id,
    *,
    reason: Reason = "",
    actor: Actor = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Begin to look for the cause. Refused before the incident is contained and stabilised."""
    _step(ledger, as_json, incident, lambda one: one.diagnose(reason, actor=actor))


@app.command()
def close(
    incident: Id,
    *,
    finding: Annotated[
        list[str] | None, typer.Option("--finding", "-f", help="What it taught; may be repeated.")
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option("--probe", "-p", help="The probe that would have caught it, one a finding."),
    ] = None,
    waiver: Annotated[
        str | None, typer.Option(help="Why there is no finding, or none with a probe.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Who sees to it.")] = None,
    recovered: Annotated[
        str | None,
        typer.Option(help="How you know that users are well, where no signal says so."),
    ] = None,
    actor: Actor = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """End it, if every closure check is met; `show` has them."""
    texts, probes = finding or [], probe or []
    if len(probes) > len(texts):
        raise typer.BadParameter(
            f"{len(probes)} for {len(texts)} findings: give a --finding for each",
            param_hint="--probe",
        )

    with ledgers.opened(ledger) as book:
        one = book.find(incident)
        before = one.record
        who = owner or before.owner or ""
        findings = [
            Finding(_said(text), owner=who, probe=name)
            for text, name in itertools.zip_longest(texts, probes)
        ]
        try:
            after = one.close(
                findings, waiver=waiver, owner=owner, recovered=recovered, actor=actor
            )
        except LifecycleError as error:
            if error.already or before.state is not IncidentState.DIAGNOSING or as_json:
                raise
            out = screen(stderr=True)
            out.print(f"firedoor: {before.id} cannot be closed yet.", style="red")
            given = replace(before, findings=(*before.findings, *findings), owner=who or None)
            page.show_closure(out, book, replace(given, waiver=waiver), ledger, recovered=recovered)
            raise typer.Exit(2) from None
        _confirm(book, before, after, ledger, as_json)


@app.command()
def assign(
    incident: Id,
    owner: Annotated[str, typer.Argument(help="Who leads.")],
    *,
    actor: Actor = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Name who leads."""
    _step(ledger, as_json, incident, lambda one: one.assign(owner, actor=actor))


@app.command()
def note(
    incident: Id,
    text: Annotated[str, typer.Argument(help="One line.")],
    *,
    actor: Actor = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write a line on the timeline."""
    _step(ledger, as_json, incident, lambda one: one.note(_said(text), actor=actor))


@app.command()
def approve(
    incident: Id,
    action: ActionId = None,
    *,
    actor: Actor = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Let an action go on that waits for a person, or that was only suggested.

    The application applies it at its next look, within a second or so.
    """
    _act(
        ledger, as_json, incident, action, _WAITING, lambda one, id_: one.approve(id_, actor=actor)
    )


@app.command()
def reject(
    incident: Id,
    action: ActionId = None,
    *,
    reason: Reason,
    actor: Actor = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Say no to an action that waits for a person."""
    _act(
        ledger,
        as_json,
        incident,
        action,
        _WAITING,
        lambda one, id_: one.reject(id_, reason=_said(reason), actor=actor),
    )


@app.command()
def revert(
    incident: Id,
    action: ActionId = None,
    *,
    reason: Reason,
    done: Done = False,
    actor: Actor = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Have an action in force taken back, exactly; the application does it at its next look."""
    _act(
        ledger,
        as_json,
        incident,
        action,
        _ON,
        lambda one, id_: one.revert(id_, reason=_said(reason), actor=actor, done=done),
    )


@app.command()
def promote(
    incident: Id,
    action: ActionId = None,
    *,
    reason: Reason,
    done: Done = False,
    actor: Actor = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Have an action in force made permanent; the application does it at its next look."""
    _act(
        ledger,
        as_json,
        incident,
        action,
        _ON,
        lambda one, id_: one.promote(id_, reason=_said(reason), actor=actor, done=done),
    )


@app.command()
def times(
    *,
    limit: Annotated[int, typer.Option(min=1, help="Of how many incidents, the newest.")] = 1000,
    service: Annotated[str | None, typer.Option(help="Only of this application.")] = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show how long incidents took to be detected, contained and over, class by class."""
    with ledgers.opened(ledger) as book:
        book.service = service
        found = book.times(limit)
        if as_json:
            boards.show_json(
                {
                    "unknown" if kind is None else kind.value: asdict(one)
                    for kind, one in found.items()
                }
            )
        else:
            page.show_times(screen(), found)


@app.command()
def prune(
    *,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", help="How long they have been closed and untouched: 90d, 36h."
        ),
    ],
    service: Annotated[str | None, typer.Option(help="Only of this application.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only counted.")] = False,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Forget closed incidents that are old; never one that is open, nor what a younger one repeats."""
    if not older_than.strip()[-1:].isalpha():
        raise typer.BadParameter(
            f"{older_than!r}: say 90d, 36h or the like", param_hint="--older-than"
        )
    with ledgers.opened(ledger) as book:
        book.service = service
        gone = list[str]()
        while batch := book.prune(older_than, limit=BATCH if yes else _MOST, dry_run=not yes):
            gone += batch
            if not yes:
                break
        if as_json:
            boards.show_json({"incidents": gone, "forgotten": yes})
            return
        out = screen()
        many = f"{len(gone)} closed incident{'' if len(gone) == 1 else 's'}"
        if yes or not gone:
            out.print(f"✓ {many} forgotten, untouched for {older_than}", style="green")
            return
        out.print(f"{many} untouched for {older_than}. None is forgotten yet:")
        of = "" if service is None else f" --service {shlex.quote(service)}"
        line = f"firedoor incidents prune --older-than {shlex.quote(older_than)}{of} --yes"
        out.print(f"  forget them  {ledgers.command(line, ledger)}")


def _step(
    url: str | None, as_json: bool, beginning: str, step: Callable[[Incident], IncidentRecord]
) -> None:
    with ledgers.opened(url) as book:
        one = book.find(beginning)
        before = one.record
        _confirm(book, before, step(one), url, as_json)


def _act(  # noqa: PLR0917 - what every command of an action has
    url: str | None,
    as_json: bool,
    beginning: str,
    action: str | None,
    states: tuple[ActionState, ...],
    step: Callable[[Incident, str], IncidentRecord],
) -> None:
    with ledgers.opened(url) as book:
        one = book.find(beginning)
        before = one.record
        chosen = _action(before, action, states)
        _confirm(book, before, step(one, chosen), url, as_json)


def _action(record: IncidentRecord, beginning: str | None, states: tuple[ActionState, ...]) -> str:
    if beginning is not None:
        return find_action(record, beginning).id
    fitting = [
        action
        for action in record.actions
        if action.state in states and (action.approved_by is None or states is _ON)
    ]
    if len(fitting) == 1:
        return fitting[0].id
    if not fitting:
        raise UnknownIncident(f"{record.id} has no action that is {' or '.join(states)}")
    ids = ", ".join(f"{a.id} ({a.text or a.kind})" for a in fitting)
    raise UnknownIncident(f"{record.id} has {len(fitting)}: say which of {ids}")


def _confirm(
    book: Incidents,
    before: IncidentRecord,
    after: IncidentRecord,
    url: str | None,
    as_json: bool,
) -> None:
    if as_json:
        boards.show_json(page.data(book, after))
        return
    out = screen()
    new = after.timeline[len(before.timeline) :] or after.timeline[-1:]
    for entry in new:
        out.print(clean(f"✓ {after.id}  {entry.text}  (by {entry.actor})"), style="green")
    page.show_next(out, book, after, url)


def _said(text: str) -> str:
    if not text.strip():
        raise ConfigurationError("it is empty: say it in a few words")
    return text
