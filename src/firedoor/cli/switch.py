"""`firedoor switch`: change what a running application does, from outside it."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from firedoor.cli import board as boards
from firedoor.cli.board import AsJson, State, clean, screen
from firedoor.core.board import Entry
from firedoor.core.switches import InFlight, Kind, Switch
from firedoor.errors import ConfigurationError
from firedoor.shell.presence import Process, processes
from firedoor.shell.switchboard import Switchboard

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_show_locals=False,
    no_args_is_help=True,
    help="Change what a running application does: models, routes, depth, prompts, strictness.",
)

Reason = Annotated[
    str, typer.Option("--reason", "-r", help="Why, in a few words; whoever is on call reads it.")
]
Actor = Annotated[str | None, typer.Option(help="Who; your user name if left out.")]
Ttl = Annotated[
    str | None, typer.Option(help="How long: 90s, 30m, 1h30m, 2d. Left out: until reverted.")
]
Journey = Annotated[str | None, typer.Option(help="Only on this journey.")]
Streams = Annotated[
    InFlight,
    typer.Option(
        "--in-flight",
        help="Streams that run already: keep; drain, to the end of the sentence; cut, at once.",
    ),
]
Route = Annotated[str, typer.Argument(help="tool:refund, tool:*, llm:answer, *, or model:NAME.")]


@app.command()
def alias(
    name: Annotated[str, typer.Argument(help="The model name the application asks for.")],
    model: Annotated[str, typer.Argument(help="The model it gets instead.")],
    *,
    reason: Reason,
    ttl: Ttl = None,
    journey: Journey = None,
    in_flight: Streams = InFlight.KEEP,
    actor: Actor = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Give calls for one model another one."""
    terms = _terms(reason, actor, ttl, journey, in_flight)
    _set(state, as_json, lambda board: board.alias(name, model, **terms))


@app.command()
def disable(
    route: Route,
    *,
    reason: Reason,
    ttl: Ttl = None,
    journey: Journey = None,
    in_flight: Streams = InFlight.KEEP,
    actor: Actor = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Turn a route, all routes of a kind, everything, or a model off."""
    terms = _terms(reason, actor, ttl, journey, in_flight)
    _set(state, as_json, lambda board: board.disable(route, **terms))


@app.command()
def depth(
    route: Annotated[str, typer.Argument(help="retrieval:kb or retrieval:*.")],
    most: Annotated[int, typer.Argument(min=0, help="Documents to fetch at most.")],
    *,
    reason: Reason,
    ttl: Ttl = None,
    journey: Journey = None,
    in_flight: Streams = InFlight.KEEP,
    actor: Actor = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Cap how many documents a search fetches."""
    terms = _terms(reason, actor, ttl, journey, in_flight)
    _set(state, as_json, lambda board: board.depth(route, most, **terms))


@app.command()
def prompt(
    name: Annotated[str, typer.Argument(help="The prompt.")],
    revision: Annotated[str, typer.Argument(help="The revision to hold it at.")],
    *,
    reason: Reason,
    ttl: Ttl = None,
    journey: Journey = None,
    in_flight: Streams = InFlight.KEEP,
    actor: Actor = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Hold a prompt at a revision."""
    terms = _terms(reason, actor, ttl, journey, in_flight)
    _set(state, as_json, lambda board: board.prompt(name, revision, **terms))


@app.command()
def strictness(
    level: Annotated[str, typer.Argument(help="normal, strict or lockdown.")],
    *,
    reason: Reason,
    ttl: Ttl = None,
    journey: Journey = None,
    in_flight: Streams = InFlight.KEEP,
    actor: Actor = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Set how strict the content policies are."""
    terms = _terms(reason, actor, ttl, journey, in_flight)
    _set(state, as_json, lambda board: board.strictness(level, **terms))


@app.command()
def safe_mode(
    journey: Annotated[str, typer.Argument(help="The journey, or * for every one.")],
    *,
    reason: Reason,
    ttl: Ttl = None,
    in_flight: Streams = InFlight.KEEP,
    actor: Actor = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Let a journey answer with its safe responses only."""
    terms = _terms(reason, actor, ttl, None, in_flight)
    _set(state, as_json, lambda board: board.safe_mode(journey, **terms))


@app.command()
def cap_budget(
    budget: Annotated[str, typer.Argument(help="Its name, as in day or llm:answer/day; or '*'.")],
    share: Annotated[float, typer.Argument(help="Of its limit: 0 to below 1.")],
    *,
    reason: Reason,
    ttl: Ttl = None,
    journey: Journey = None,
    actor: Actor = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Let a budget end at a share of its limit."""
    terms = _terms(reason, actor, ttl, journey, InFlight.KEEP)
    _set(state, as_json, lambda board: board.cap_budget(budget, share, **terms))


@app.command()
def shed_load(
    journey: Annotated[str, typer.Argument(help="The journey to turn away, or '*'.")],
    share: Annotated[float, typer.Argument(help="Of its requests: up to 1, all of them.")] = 1.0,
    *,
    reason: Reason,
    ttl: Ttl = None,
    actor: Actor = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Turn the requests of a journey away, or a share of them, with its safe responses."""
    terms = _terms(reason, actor, ttl, None, InFlight.KEEP)
    _set(state, as_json, lambda board: board.shed_load(journey, share, **terms))


@app.command()
def minimum_tier(
    route: Annotated[str, typer.Argument(help="llm:answer or llm:*.")],
    tier: Annotated[int, typer.Argument(min=1, help="The first tier to try; 0 is the first.")],
    *,
    reason: Reason,
    ttl: Ttl = None,
    journey: Journey = None,
    in_flight: Streams = InFlight.KEEP,
    actor: Actor = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Begin the ladder of a model route lower down."""
    terms = _terms(reason, actor, ttl, journey, in_flight)
    _set(state, as_json, lambda board: board.minimum_tier(route, tier, **terms))


@app.command()
def restore(
    name: Annotated[str, typer.Argument(help="The known-good set.")],
    *,
    reason: Reason,
    ttl: Ttl = None,
    in_flight: Streams = InFlight.KEEP,
    actor: Actor = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Put the switches back as they were when a set was marked known-good."""
    terms = _terms(reason, actor, ttl, None, in_flight)
    _set(state, as_json, lambda board: board.restore(name, **terms))


@app.command()
def revert(
    switch: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
    *,
    reason: Reason,
    actor: Actor = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Take a switch back: what was under it is in force again."""
    with boards.opened(state) as board:
        wanted = _whole(board, switch)
        before = board.active()
        gone = board.revert(wanted, reason=_said(reason), actor=_person(actor))
        back = tuple(s for s in board.active() if s not in before)
        if as_json:
            boards.show_json(
                {
                    "reverted": None if gone is None else boards.switch_data(gone),
                    "in_force_again": [boards.switch_data(s) for s in back],
                }
            )
            return
        out = screen()
        if gone is None:
            out.print(f"{wanted} was over before: nothing to do.")
            for entry in board.history()[::-1]:
                if entry.subject == wanted:
                    out.print(f"  {_told(entry)}")
                    break
            return
        out.print(f"✓ no longer: {clean(gone.summary)}  ({gone.id})", style="green")
        for uncovered in [s for s in board.active() if _same_place(s, gone)] or back:
            out.print(f"  in force again  {clean(uncovered.summary)}  ({uncovered.id})")


@app.command("list")
def list_(*, state: State = None, as_json: AsJson = False) -> None:
    """Show the switches in force, newest first."""
    with boards.opened(state) as board:
        active = board.active()
        if as_json:
            boards.show_json([boards.switch_data(s) for s in reversed(active)])
        elif active:
            boards.show_switches(screen(), active)
        else:
            screen().print("No switch is on.")


@app.command()
def history(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many lines, the newest.")] = 20,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show what was set, reverted and expired: who, when, why."""
    with boards.opened(state) as board:
        entries = board.history()[-limit:]
        if as_json:
            boards.show_json([_entry_data(e) for e in entries])
            return
        out = screen()
        if not entries:
            out.print("Nothing was ever set.")
        for e in entries:
            what = f"  {e.switch.summary}" if e.switch is not None else ""
            out.print(clean(f"{_told(e)}  {e.subject}{what}"))


@app.command()
def known_good(
    name: Annotated[str | None, typer.Argument(help="Its name; left out: show them all.")] = None,
    *,
    reason: Annotated[str | None, typer.Option("--reason", "-r", help="Why it is good.")] = None,
    actor: Actor = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Mark the switches of now as known-good, to restore later; or list what is marked."""
    if name is not None and reason is None:
        raise typer.BadParameter("say why these switches are good", param_hint="--reason")
    with boards.opened(state) as board:
        if name is not None:
            board.mark_known_good(name, reason=_said(reason or ""), actor=_person(actor))
        sets = board.known_good()
        shown = list(sets.values()) if name is None else [sets[name]]
        if as_json:
            boards.show_json(
                [
                    {
                        "name": g.name,
                        "at": g.at,
                        "actor": g.actor,
                        "reason": g.reason,
                        "switches": [boards.switch_data(s) for s in g.switches],
                    }
                    for g in shown
                ]
            )
            return
        out = screen()
        if name is not None:
            out.print(f"✓ marked known-good: {clean(name)}", style="green")
        elif not shown:
            out.print("No set was marked known-good.")
        for good in shown:
            what = ", ".join(s.summary for s in good.switches) or "no switch on"
            by = f" by {good.actor}" if good.actor else ""
            out.print(clean(f"  {good.name}  {boards.clock_time(good.at)}{by}: {what}"))
        if name is not None:
            out.print(f"  back to it  firedoor switch restore {name} --reason …")


def _terms(
    reason: str, actor: str | None, ttl: str | None, journey: str | None, in_flight: InFlight
) -> dict[str, Any]:
    return {
        "reason": reason,
        "actor": _person(actor),
        "ttl": ttl,
        "journey": journey,
        "in_flight": in_flight.value,
    }


def _person(actor: str | None) -> str:
    if actor is not None and actor.strip():
        return actor
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a user that has no name.
        raise typer.BadParameter("this user has no name here", param_hint="--actor") from None


def _said(reason: str) -> str:
    if not reason.strip():
        raise ConfigurationError("--reason is empty: say why in a few words")
    return reason


def _whole(board: Switchboard, beginning: str) -> str:
    """The id that begins so, if it is only one of those in force; else as it was typed."""
    restored = board.restored()
    on = {s.id for s in board.active()} | ({restored.id} if restored is not None else set())
    begins = sorted(id_ for id_ in on if id_.startswith(beginning))
    if beginning in on or not begins:
        return beginning
    if len(begins) > 1:
        raise ConfigurationError(f"{beginning!r} begins {', '.join(begins)}: say which")
    return begins[0]


def _same_place(one: Switch, other: Switch) -> bool:
    return (one.kind, one.target, one.journey) == (other.kind, other.target, other.journey)


def _set(state: str | None, as_json: bool, act: Callable[[Switchboard], Switch]) -> None:
    with boards.connected(state) as (store, board):
        before = board.active()
        switch = act(board)
        command = boards.undo(switch, state)
        heard = processes(store)
        if as_json:
            boards.show_json(
                {
                    "switch": boards.switch_data(switch),
                    "undo": command,
                    "processes": [one.name for one in heard],
                }
            )
        else:
            _confirm(switch, before, board.active())
            _show_reach(heard)
            screen().print(f"  undo     {command}")


def _show_reach(heard: Sequence[Process]) -> None:
    """Who follows it. A state that nobody uses takes a switch as well, and nothing changes."""
    out = screen()
    if heard:
        many = f"{len(heard)} processes" if len(heard) > 1 else "1 process"
        services = ", ".join(sorted({one.service for one in heard}))
        out.print(clean(f"  reaches  {many} of {services}"))
    else:
        out.print(
            "  reaches  nobody: no process is heard of with this state. Is it the application's?",
            style="red",
        )


def _confirm(switch: Switch, before: tuple[Switch, ...], active: tuple[Switch, ...]) -> None:
    out = screen()
    out.print(f"✓ {clean(switch.summary)}  ({switch.id})", style="green")
    out.print(f"  stays    {boards.remaining(switch)}")
    out.print(clean(f"  by       {switch.actor}: {switch.reason}"))
    streams = {
        InFlight.KEEP: "run to their end as they began",
        InFlight.DRAIN: "end with the sentence being said",
        InFlight.CUT: "end at their next chunk",
    }
    out.print(f"  streams  {streams[switch.in_flight]}")
    if switch.kind is Kind.RESTORE:
        for one in active:
            out.print(clean(f"  on       {one.summary}  ({one.id})"))
        for one in before:
            if one not in active:
                out.print(clean(f"  off      {one.summary}  ({one.id})"))
        late = len(switch.value) - len(active)
        if late > 0:
            out.print(f"  {late} of the set stay off: their own time is up")
    for under in (s for s in before if _same_place(s, switch)):
        out.print(clean(f"  over     {under.summary}  ({under.id}), in force again after it"))


def _told(entry: Entry) -> str:
    who = f" by {entry.actor}" if entry.actor else ""
    why = f" ({entry.reason})" if entry.reason else ""
    return clean(f"{boards.clock_time(entry.at)}  {entry.action}{who}{why}")


def _entry_data(entry: Entry) -> dict[str, Any]:
    data = {
        "action": entry.action.value,
        "at": entry.at,
        "subject": entry.subject,
        "actor": entry.actor,
        "reason": entry.reason,
    }
    return data if entry.switch is None else {**data, "switch": boards.switch_data(entry.switch)}
