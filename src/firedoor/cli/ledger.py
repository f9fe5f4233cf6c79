"""What the commands share that look at incidents, or change them, from outside the application."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from firedoor.cli import application as applications
from firedoor.cli.board import clean, screen, to_paste, without_password
from firedoor.core.incident import IncidentRecord
from firedoor.core.runbook import Runbook
from firedoor.core.screen import columns, wrap
from firedoor.errors import ConfigurationError, LifecycleError, StoreError, UnknownIncident
from firedoor.incidents.book import Incident, Incidents
from firedoor.types import Severity

__all__ = [
    "LedgerUrl",
    "command",
    "label",
    "opened",
    "severity_style",
    "the_one",
    "width",
]

LedgerUrl = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        "--app",
        envvar="FIREDOOR_LEDGER",
        help="Where the application keeps incidents: sqlite:///PATH or postgresql://HOST/DB; or "
        "the application itself, as MODULE:DOOR.",
    ),
]

_REMEDY = (
    "Give the one that the application uses, as in --ledger sqlite:////var/lib/app/incidents.db, "
    "--ledger postgresql://host/database or --app module:door, or set FIREDOOR_LEDGER."
)
_LABEL = 10
_MOST = 100
"""Columns beyond which lines are hard to read."""

_STYLES = {Severity.SEV1: "bold white on red", Severity.SEV2: "bold red", Severity.SEV3: "yellow"}


@contextlib.contextmanager
def opened(url: str | None) -> Iterator[Incidents]:
    """The incidents in a ledger; what goes wrong is said in a sentence, with an exit code.

    Exit codes: 2 for a wrong use, a step that is refused, or a ledger that cannot be opened; 1 for
    one that stops answering. A step that was taken before is said and is no error.
    """
    try:
        if not url:
            raise ConfigurationError(f"there is no ledger to look at. {_REMEDY}")
        own: list[Runbook] = []
        if applications.is_app(url):
            door = applications.load(url)
            url, own = door.ledger_url, door.incidents.runbooks
        if url.startswith("memory:"):
            raise ConfigurationError(
                f"{url}: these incidents live inside the application's own process, where "
                f"no other command can reach them. {_REMEDY}"
            )
        # They load when they are needed: neither drivers nor detectors are free.
        from firedoor.ledger import open_ledger  # noqa: PLC0415
        from firedoor.privacy import Redactor  # noqa: PLC0415

        ledger = open_ledger(url)
        with contextlib.closing(ledger):
            clean = Redactor().redact_text
            yield Incidents(ledger, clean=clean, offline="raise", runbooks=own)
    except LifecycleError as error:
        if error.already:
            screen().print(clean(f"{error}: nothing to do."))
            raise typer.Exit from None
        _stop(str(error), 2)
    except (ConfigurationError, UnknownIncident) as error:
        _stop(str(error), 2)
    except StoreError as error:
        _stop(f"{without_password(url or '')} did not answer: {error}", 1, "Nothing was changed.")


def _stop(text: str, code: int, more: str = "") -> None:
    out = screen(stderr=True)
    out.print(clean(f"firedoor: {text}"), style="red")
    if more:
        out.print(more)
    raise typer.Exit(code) from None


def the_one(book: Incidents, beginning: str | None) -> Incident:
    """The incident meant: by the beginning of its id, or the only open one."""
    if beginning is not None:
        return book.find(beginning)
    current = book.current()
    if len(current) == 1:
        return current[0]
    if not current:
        raise UnknownIncident("no incident is open; `firedoor incidents list --all` has the others")
    ids = ", ".join(f"{one.id} ({one.severity})" for one in current[:5])
    raise UnknownIncident(f"{len(current)} incidents are open: say which of {ids}")


def command(line: str, url: str | None) -> str:
    """A command as it can be pasted where this one was typed."""
    return to_paste(line, url, "--ledger", "FIREDOOR_LEDGER")


def width(out: Console) -> int:
    """Columns that texts are wrapped to."""
    return max(40, min(out.width, _MOST))


def label(out: Console, name: str, text: str, style: str = "", *, hang: int = 0) -> None:
    """A text beside its label, wrapped; commands are printed by themselves, and whole."""
    begin = f"{name:<{_LABEL - 1}} "
    lines = wrap(text, width(out), first=begin, rest=" " * (columns(begin) + hang))
    for index, line in enumerate(lines):
        if index:
            out.print(Text(line, style=style))
        else:
            out.print(Text.assemble((begin, "bold"), (line[len(begin) :], style)))


def severity_style(record: IncidentRecord) -> str:
    """How its severity is set off; the words say it without colour as well."""
    return _STYLES.get(record.severity, "") if record.open else "dim"
