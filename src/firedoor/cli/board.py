"""What the commands share that look at the switchboard of a running application, or change it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.text import Text

from firedoor.cli import application as applications
from firedoor.clock import SYSTEM_CLOCK
from firedoor.core.board import plain
from firedoor.core.switches import InFlight, Kind, Switch
from firedoor.errors import ConfigurationError, StoreError
from firedoor.shell.switchboard import Switchboard

if TYPE_CHECKING:
    from firedoor.stores import Store

__all__ = [
    "AsJson",
    "State",
    "clean",
    "clock_time",
    "connected",
    "now",
    "opened",
    "remaining",
    "screen",
    "show_json",
    "show_switches",
    "span",
    "switch_data",
    "to_paste",
    "undo",
    "without_password",
]

State = Annotated[
    str | None,
    typer.Option(
        "--state",
        "--app",
        envvar="FIREDOOR_STATE",
        help="The state the application uses: redis://HOST:PORT/DB or sqlite:///PATH; or the "
        "application itself, as MODULE:DOOR.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs.")]

_PASSWORD = re.compile(r"((?:^|&)\w*password=)[^&]*")
"""As a URL's options say it: both drivers take it there too."""

_REMEDY = (
    "Give the one that the application uses, as in --state redis://host:6379/0, "
    "--state sqlite:///path/to/file or --app module:door, or set FIREDOOR_STATE."
)


def screen(*, stderr: bool = False) -> Console:
    """Where people read. Nothing is wrapped: a command must stay whole to be copied."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)


def now() -> float:
    """Seconds since the epoch."""
    return SYSTEM_CLOCK.time_ns() / 1e9


@contextlib.contextmanager
def connected(state: str | None) -> Iterator[tuple[Store, Switchboard]]:
    """The store at `state` and the switchboard in it; what goes wrong is said in a sentence, with an exit code.

    Exit codes: 2 for a wrong use or a state that cannot be opened, 1 for one that stops answering.
    """
    try:
        if not state:
            raise ConfigurationError(f"there is no state to act on. {_REMEDY}")
        if applications.is_app(state):
            state = applications.load(state).state_url
        if state.startswith("memory:"):
            raise ConfigurationError(
                f"{state}: this state lives inside the application's own process, where no "
                f"other command can reach it. {_REMEDY} Without either, the application's "
                "switches_file and door.switches work."
            )
        from firedoor.stores import open_store  # noqa: PLC0415 - drivers load when they are needed

        with contextlib.closing(open_store(state)) as store:
            yield store, Switchboard(store, watch=False, offline="raise")
    except ConfigurationError as error:
        screen(stderr=True).print(f"firedoor: {clean(str(error))}", style="red")
        raise typer.Exit(2) from None
    except StoreError as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        said = f"firedoor: {without_password(state or '')} did not answer: {error}{cause}"
        screen(stderr=True).print(clean(said), style="red")
        screen(stderr=True).print(
            "Nothing was changed. Switches that were on stay on in every process that knew them; "
            "a process with a switches_file can still be told by it."
        )
        raise typer.Exit(1) from None


@contextlib.contextmanager
def opened(state: str | None) -> Iterator[Switchboard]:
    """The switchboard alone; see `connected`."""
    with connected(state) as (_, board):
        yield board


def clean(text: str) -> str:
    """`text` on one line without control characters: others wrote it, a terminal obeys them."""
    return "".join(char if char.isprintable() else " " for char in text)


def without_password(state: str) -> str:
    """The URL as it may be shown."""
    address, mark, options = state.partition("?")
    parts = urlsplit(address)
    if parts.password is not None:
        host = parts.netloc.rpartition("@")[2]
        address = f"{parts.scheme}://{parts.username or ''}:***@{host}{parts.path}"
    return address + mark + _PASSWORD.sub(r"\1***", options)


def undo(switch: Switch, state: str | None) -> str:
    """The command that takes `switch` back, as it can be pasted where this one was typed."""
    words = ["firedoor", "switch", "revert", switch.id, "--reason", "undo"]
    return to_paste(shlex.join(words), state, "--state", "FIREDOOR_STATE")


def to_paste(line: str, url: str | None, option: str, variable: str) -> str:
    """A command with its `option`, unless the environment's `variable` says the same."""
    if not url or url == os.environ.get(variable):
        return line
    if without_password(url) != url:
        return f"{line} {option} …  (the same one: its password is not shown)"
    return f"{line} {'--app' if applications.is_app(url) else option} {shlex.quote(url)}"


def clock_time(moment: float) -> str:
    """UTC, with the date where it is not today's."""
    then, today = datetime.fromtimestamp(moment, UTC), datetime.fromtimestamp(now(), UTC)
    return f"{then:%H:%M:%S} UTC" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M} UTC"


def span(seconds: float) -> str:
    """The two largest units: `2 d 3 h`, `28 m`, `12 s`."""
    left = max(0, round(seconds))
    if left < 60:
        return f"{left} s"
    left = round(left / 60) * 60
    parts = []
    for name, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])


def remaining(switch: Switch) -> str:
    """How long it stays: `until ...`."""
    if switch.expires_at is None:
        return "until it is reverted"
    return f"until {clock_time(switch.expires_at)} (in {span(switch.expires_at - now())})"


def switch_data(switch: Switch) -> dict[str, Any]:
    """The switch for programs."""
    data = plain(switch)
    if switch.kind is Kind.RESTORE:
        data["value"] = [kept.id for kept in switch.value]
    return {**data, "summary": switch.summary}


def show_switches(out: Console, switches: tuple[Switch, ...]) -> None:
    """Two lines each for people, newest first: the newest wins."""
    for switch in reversed(switches):
        streams = f", streams {switch.in_flight}" if switch.in_flight is not InFlight.KEEP else ""
        where = f"  [{switch.source}]" if switch.source else ""
        what = clean(f"{switch.summary}{streams}{where}")
        out.print(Text.assemble((f"{switch.id}  ", "bold"), (what, "yellow")))
        age = span(now() - switch.created_at)
        by = clean(f"  by {switch.actor}, {age} ago: {switch.reason}")
        stays = (remaining(switch), "" if switch.expires_at is not None else "red")
        out.print(Text.assemble(" " * (len(switch.id) + 2), stays, by))


def show_json(value: Any) -> None:
    """One JSON document on standard output."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    # Others wrote some of it, and half of a surrogate pair is no text in any encoding.
    typer.echo(text.encode("utf-8", "replace").decode("utf-8"))
