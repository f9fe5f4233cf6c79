"""`firedoor status`: what is different from normal now, on one screen."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from firedoor.cli import board as boards
from firedoor.cli import gates
from firedoor.cli.board import AsJson, State, clean, screen
from firedoor.shell.budget_report import report
from firedoor.shell.presence import processes
from firedoor.shell.switchboard import Switchboard

__all__ = ["app", "status"]

app = typer.Typer(pretty_exceptions_show_locals=False)


@app.command()
def status(
    *,
    state: State = None,
    as_json: AsJson = False,
    every: Annotated[
        bool, typer.Option("--all", help="Also the gates and budgets that are at rest.")
    ] = False,
) -> None:
    """Show what is switched, which gates hold back, what budgets have left, in every process."""
    with boards.connected(state) as (store, board):
        running, budgets, now = processes(store), report(store), store.now()
        where = boards.without_password(state or "")
        if as_json:
            boards.show_json(
                {
                    "state": where,
                    **_switches_data(board),
                    "processes": [{**one.told, "process": one.name} for one in running],
                    "budgets": gates.budgets_data(budgets, now),
                }
            )
            return
        out = screen()
        count = f"{len(board.active())} switch{'es' if len(board.active()) != 1 else ''} on"
        out.print(clean(f"{where}  board version {board.version}  {count}"), style="bold")
        _show_switches(board, state)
        out.print()
        gates.show_processes(out, running, now, every=every)
        gates.show_budgets(out, budgets, now, every=every)


def _switches_data(board: Switchboard) -> dict[str, Any]:
    restored = board.restored()
    return {
        "version": board.version,
        "switches": [boards.switch_data(s) for s in reversed(board.active())],
        "restored": None if restored is None else boards.switch_data(restored),
        "known_good": list(board.known_good()),
    }


def _show_switches(board: Switchboard, state: str | None) -> None:
    out, active, restored, sets = screen(), board.active(), board.restored(), board.known_good()
    if active:
        boards.show_switches(out, active)
    else:
        out.print("Nothing is switched: the application runs as it is configured.")
    if restored is not None:
        out.print(clean(f"restored to known-good {restored.target} by {restored.actor}"))
        out.print(f"  undo     {boards.undo(restored, state)}")
    if sets:
        out.print(clean(f"known-good: {', '.join(sets)}"))
