"""What a person sees of the drill, on eighty columns or more; and what a program is told instead."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import firedoor as fd
from firedoor.drill.copilot import Answer
from firedoor.drill.run import Opening, Report
from firedoor.drill.stage import Observation, Scene, Take
from firedoor.types import Outcome

__all__ = ["JsonScreen", "RichScreen"]

WIDE = 140
"""Columns from which the table of decisions gives each field a column of its own."""

CALLS_SHOWN = 3
"""Of a scene in the table: its last ones."""

PASSED, FAILED = "[green]✓[/]", "[bold red]✗[/]"

_COLOURS = {
    Outcome.ANSWERED: "green",
    Outcome.REFUSED: "yellow",
    Outcome.ABANDONED: "yellow",
    Outcome.CANCELLED: "yellow",
}


class JsonScreen:
    """One JSON document at the end; nothing before it."""

    def opened(self, opening: Opening) -> None:
        """Nothing."""

    def act(self, title: str) -> None:
        """Nothing."""

    def playing(self, scene: Scene) -> contextlib.AbstractContextManager[object]:  # noqa: ARG002
        """Nothing."""
        return contextlib.nullcontext()

    def played(self, take: Take) -> None:
        """Nothing."""

    def closed(self, report: Report) -> None:
        """Print the report."""
        print(json.dumps(report.to_dict(), indent=2))


class RichScreen:
    """Scene by scene, then the table of decisions. Plain and without motion where not a terminal.

    Args:
        console: Where to print.
        redactor: What answers pass before they are shown: a screen is photographed too.
    """

    def __init__(self, console: Console, redactor: fd.Redactor) -> None:
        self._console = console
        self._redactor = redactor

    def opened(self, opening: Opening) -> None:
        """Say what is real, and what answers."""
        endpoint, settings = opening.endpoint, opening.settings
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="bold")
        facts.add_column(overflow="fold")
        nature = {
            "model": "a real model, on this machine",
            "extractive": "no model: sentences picked from the documents",
            "remote": endpoint.base_url,
        }[endpoint.kind]
        facts.add_row("endpoint", f"{escape(endpoint.model)} · {escape(nature)}")
        facts.add_row("", f"[dim]{escape(endpoint.why)}[/]")
        where = opening.proxy_url.removeprefix("http://")
        facts.add_row("client", f"openai over HTTP, through a fault proxy at {where}")
        facts.add_row(
            "documents",
            f"{opening.documents} docstrings of Python {opening.python}, "
            f"indexed in {opening.indexed_s:.1f} s",
        )
        facts.add_row("capture", _CAPTURE[settings.capture])
        facts.add_row("spans", escape(str(settings.spans)))
        self._console.print(
            Panel(facts, title="[bold]firedoor demo[/]", box=box.ROUNDED, padding=(0, 1))
        )

    def act(self, title: str) -> None:
        """Print a heading."""
        self._console.print(f"\n[bold]{escape(title)}[/]")

    def playing(self, scene: Scene) -> contextlib.AbstractContextManager[object]:
        """Turn a wheel, on a terminal."""
        if not self._console.is_terminal:
            return contextlib.nullcontext()
        return self._console.status(escape(scene.title), spinner_style="dim")

    def played(self, take: Take) -> None:
        """Tell what happened and what was recorded."""
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column(width=1)
        head.add_column(ratio=1)
        head.add_column(justify="right", no_wrap=True)
        mark = PASSED if take.passed else FAILED
        head.add_row(mark, escape(take.scene.title), f"[dim]{_seconds(take.seconds)}[/]")
        told: list[Text | str] = [self._got(take.answer)]
        healthy = take.scene.name in _HEALTHY
        if not healthy:
            told.insert(0, f"[dim]{escape(take.scene.meaning)}[/]")
        if not healthy or not take.passed:
            told.append(_recorded(take))
        told += [_told(line) for line in take.told]
        told += [_missed(each) for each in take.observations if not each.passed]
        self._console.print(head, *(Padding(each, (0, 0, 0, 2)) for each in told))
        if take.page:
            # As it is on the screen of whoever is called: not a column more.
            self._console.print(Text(f"\n{take.page}\n", no_wrap=True, overflow="crop"), width=80)

    def _got(self, answer: Answer) -> Text:
        shown = self._redactor.redact(" ".join(answer.text.split()))
        text = Text(overflow="ellipsis", no_wrap=True)
        text.append("user saw  ", style="dim")
        text.append(str(shown) or "nothing")
        if answer.error is not None:
            text.append(f" ⚡ {type(answer.error).__name__}", style="red")
        return text

    def closed(self, report: Report) -> None:
        """Print the table of decisions, the checks and the verdict."""
        console = self._console
        console.print()
        wide = console.width >= WIDE
        shown = [one for take in report.takes for one in take.answer.decisions[-CALLS_SHOWN:]]
        console.print(_wide(shown) if wide else _narrow(shown))
        console.print("\n[bold]Checked in everything that was written[/]")
        for each in report.checks:
            mark = PASSED if each.passed else FAILED
            console.print(f"{mark} {escape(each.label)}: {each.observed}")
        console.print(
            f"\n{len(report.decisions)} decisions, {report.spans} spans in "
            f"[bold]{escape(str(report.opening.settings.spans))}[/]",
            soft_wrap=True,
        )
        if report.incidents:
            ledger = f"sqlite:///{report.opening.settings.ledger}"
            console.print(
                f"{len(report.incidents)} incidents in the ledger: "
                f"[bold]firedoor incidents --ledger {escape(ledger)}[/]",
                soft_wrap=True,
            )
        if report.otlp:
            console.print(f"and over OTLP to {escape(report.otlp)}", soft_wrap=True)
        failed = sum(not take.passed for take in report.takes)
        failed += sum(not each.passed for each in report.checks)
        if failed:
            console.print(f"[bold red]{failed} of the drill's expectations failed.[/]")
        else:
            console.print(
                f"[bold green]All {len(report.takes)} scenes were recorded as they happened[/] "
                f"in {report.seconds:.1f} s."
            )


_HEALTHY = ("whole", "streamed", "async")

_CAPTURE = {
    "redacted": "redacted: texts are recorded, every secret in them replaced",
    "none": "none: no text is recorded",
}


def _recorded(take: Take) -> Text:
    text = Text()
    text.append("recorded  ", style="dim")
    decision = take.decision
    if decision is None:
        return text.append("nothing", style="bold red")
    text.append(decision.outcome, style=_COLOURS.get(decision.outcome, "red"))
    facts = [
        f"fault {decision.fault}" if decision.fault else "",
        f"error {decision.error_type}" if decision.error_type else "",
        "truncated" if decision.truncated else "",
        f"told by {decision.refusal}" if decision.refusal else "",
        f"tier {decision.tier}, {decision.model}" if decision.degraded and decision.model else "",
        f"budget {decision.budget}" if decision.budget not in (None, "ok") else "",
        f"switched by {', '.join(decision.switches)}" if decision.switches else "",
        _redactions(take.answer.decisions),
    ]
    return text.append("".join(f" · {fact}" for fact in facts if fact))


def _told(line: str) -> Text:
    label, rest = line[:10], line[10:]
    return Text.assemble((label, "dim"), rest)


def _missed(observation: Observation) -> str:
    return (
        f"[red]{escape(observation.label)}: expected {escape(observation.wanted)}, "
        f"observed {escape(observation.observed)}[/]"
    )


def _narrow(decisions: Iterable[fd.Decision]) -> Table:
    table = _table()
    table.add_column("time\n", width=8)
    table.add_column("route\nmodel", width=21, overflow="ellipsis")
    table.add_column("outcome\nfinish", width=9)
    table.add_column("latency\nfirst", width=8, justify="right")
    table.add_column("tokens\nredacted", width=8, justify="right")
    table.add_column("fault\nerror", ratio=1, overflow="ellipsis")
    journey: str | None = None
    for one in decisions:
        if one.journey != journey:
            journey = one.journey
            table.add_row("", Text(journey or "no journey", style="bold"))
        table.add_row(
            _time(one),
            _two(one.route, one.model),
            _two(_outcome(one), _finish(one)),
            _two(_seconds(one.latency_s), _seconds(one.first_token_s)),
            _two(_tokens(one), _redacted(one)),
            _two(one.fault, (one.error_type or "").rpartition(".")[2]),
        )
    return table


def _table() -> Table:
    return Table(
        title="Decisions, the last of each scene",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        expand=True,
    )


def _two(upper: str | Text | None, lower: str | None) -> Text:
    """Two lines; one where there is no second."""
    text = Text(no_wrap=True)
    text.append(upper if isinstance(upper, Text) else Text(upper or ""))
    return text.append(f"\n{lower}", style="dim") if lower else text


def _wide(decisions: Iterable[fd.Decision]) -> Table:
    table = _table()
    for name in ("time", "journey", "route", "model", "outcome"):
        table.add_column(name, no_wrap=True)
    for name in ("latency", "first tok", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("finish", no_wrap=True)
    table.add_column("fault", no_wrap=True)
    table.add_column("error", overflow="ellipsis", no_wrap=True)
    table.add_column("redacted", justify="right", no_wrap=True)
    for one in decisions:
        table.add_row(
            _time(one),
            one.journey or "",
            one.route,
            one.model or "",
            _outcome(one),
            _seconds(one.latency_s),
            _seconds(one.first_token_s),
            _tokens(one),
            _finish(one),
            str(one.fault or ""),
            one.error_type or "",
            _redacted(one),
        )
    return table


def _time(decision: fd.Decision) -> str:
    return time.strftime("%H:%M:%S", time.localtime(decision.time))


def _outcome(decision: fd.Decision) -> Text:
    return Text(decision.outcome, style=_COLOURS.get(decision.outcome, "red"))


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"


def _tokens(decision: fd.Decision) -> str:
    usage = decision.usage
    if usage is None:
        return ""
    least = "≥" if usage.certainty == "at_least" else ""
    counts = [
        "?" if count is None else f"{least}{count}"
        for count in (usage.input_tokens, usage.output_tokens)
    ]
    return "/".join(counts)


def _finish(decision: fd.Decision) -> str:
    return ",".join(decision.finish_reasons)


def _redacted(decision: fd.Decision) -> str:
    count = sum(decision.redactions.values())
    return str(count) if count else ""


def _redactions(decisions: Iterable[fd.Decision]) -> str:
    kinds: dict[str, int] = {}
    for decision in decisions:
        for kind, count in decision.redactions.items():
            kinds[kind] = kinds.get(kind, 0) + count
    return "replaced " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()) if kinds else ""
