"""`firedoor status`: what is different from normal now, on one screen."""

from __future__ import annotations

import typer

from firedoor.cli import board as boards
from firedoor.cli.board import AsJson, State, clean, screen

__all__ = ["app", "status"]

app = typer.Typer(pretty_exceptions_show_locals=False)


@app.command()
def status(*, state: State = None, as_json: AsJson = False) -> None:
    """Show what is switched, since when, until when and by whom."""
    with boards.opened(state) as board:
        active, restored, sets = board.active(), board.restored(), board.known_good()
        where = boards.without_password(state or "")
        if as_json:
            boards.show_json(
                {
                    "state": where,
                    "version": board.version,
                    "switches": [boards.switch_data(s) for s in reversed(active)],
                    "restored": None if restored is None else boards.switch_data(restored),
                    "known_good": list(sets),
                }
            )
            return
        out = screen()
        count = f"{len(active)} switch{'es' if len(active) != 1 else ''} on"
        out.print(clean(f"{where}  board version {board.version}  {count}"), style="bold")
        if active:
            boards.show_switches(out, active)
        else:
            out.print("Nothing is switched: the application runs as it is configured.")
        if restored is not None:
            out.print(clean(f"restored to known-good {restored.target} by {restored.actor}"))
            out.print(f"  undo     {boards.undo(restored, state)}")
        if sets:
            out.print(clean(f"known-good: {', '.join(sets)}"))
