"""How `firedoor status` tells of gates and budgets, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from firedoor.cli.board import clean, span
from firedoor.core.spending import window_at
from firedoor.shell.budget_report import BudgetReport, Counter
from firedoor.shell.presence import EVERY, Process

__all__ = ["budgets_data", "show_budgets", "show_processes"]

COUNTERS_SHOWN = 5
"""Of one budget, the fullest: a budget per user may have any number."""

NEAR = 0.8
"""The share of a limit from which a budget is not at rest."""

_LATE = 2 * EVERY + 1.0
"""Seconds of silence after which a process is told as late."""


def show_processes(
    out: Console, running: Sequence[Process], now: float, *, every: bool = False
) -> None:
    """Every process, and of its gates those that hold calls back; with `every`, all."""
    if not running:
        out.print(
            "No process is heard of: none runs with this state, or none is of a version that says."
        )
    for one in running:
        silent = now - one.at
        notes = [
            "" if one.told.get("enforce", True) else "only watching (enforce=False)",
            "" if one.told.get("enabled", True) else "turned off (enabled=False)",
            f"silent for {span(silent)}" if silent > _LATE else "",
        ]
        lines = [line for line in _gates(one.told, silent) if every or line[0]]
        quiet = "gates at rest" if not lines else ""
        head = "  ".join(word for word in (*notes, quiet) if word)
        out.print(
            Text.assemble((clean(one.service), "bold"), clean(f"  {one.name}  {head}").rstrip())
        )
        for noted, gate, told in lines:
            style = "yellow" if noted else ""
            out.print(Text.assemble(f"  {gate:<9}", (clean(told), style)))


def _gates(told: Mapping[str, Any], silent: float) -> Iterable[tuple[bool, str, str]]:
    """Whether it is not at rest, which gate, and how it stands; told `silent` seconds ago."""
    for name, one in _items(told, "breakers"):
        state = str(one.get("state"))
        after, refused = one.get("retry_after"), one.get("refused") or 0
        text = f"{name} is {state.replace('_', '-')}"
        text += f", tries again in {span(after - silent)}" if after else ""
        text += f", {refused} refused" if refused else ""
        yield state not in ("closed", "disabled"), "breaker", text
    for name, one in _items(told, "limiters"):
        waiting, shed, full = one.get("waiting"), one.get("shed"), one.get("limit")
        text = f"{name} runs {one.get('running')} of {full}, {waiting} waiting, {shed} shed so far"
        yield bool(waiting) or one.get("running") == full, "limiter", text
    retries = told.get("retries") or {}
    refused = retries.get("refused") or 0
    if retries:
        left = retries.get("left") or 0.0
        yield left < 1, "retries", f"{left:.0f} left in the budget, {refused} refused so far"
    abandoned = (told.get("workers") or {}).get("abandoned") or 0
    if abandoned:
        yield True, "threads", f"{abandoned} calls ran out of time and still run"


def _items(told: Mapping[str, Any], gate: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    known = told.get(gate)
    return sorted(known.items()) if isinstance(known, dict) else ()


def show_budgets(
    out: Console, budgets: Sequence[BudgetReport], now: float, *, every: bool = False
) -> None:
    """Every budget with what was spent of it in the window of now, the fullest counters first."""
    if budgets:
        out.print("budgets", style="bold")
    for budget in budgets:
        current = _current(budget, now)
        unit, limit = budget.unit, budget.limit
        of = "" if limit is None else f" of {_amount(limit, unit)}"
        per = budget.per if isinstance(budget.per, str) else span(budget.per or 0)
        if not current and every:
            out.print(clean(f"  budget   {budget.name}: nothing spent{of} per {per}"))
        for counter in current[: None if every else COUNTERS_SHOWN]:
            share = budget.share(counter)
            whose = "" if counter.scope == "-" else f" {counter.scope}"
            held = f", {_amount(counter.held, unit)} held" if counter.held else ""
            percent = "" if share is None else f" ({share:.0%})"
            text = (
                f"{budget.name}{whose}: {_amount(counter.settled, unit)} spent{held}{of}{percent}"
            )
            style = "red" if share and share >= 1 else "yellow" if share and share >= NEAR else ""
            out.print(Text.assemble("  budget   ", (clean(text), style)))
        if not every and len(current) > COUNTERS_SHOWN:
            out.print(f"           and {len(current) - COUNTERS_SHOWN} more, less full (--all)")


def budgets_data(budgets: Sequence[BudgetReport], now: float) -> list[dict[str, Any]]:
    """The same for programs; amounts are in the budget's unit, dollars as micro-dollars."""
    return [
        {**asdict(budget), "counters": [asdict(one) for one in _current(budget, now)]}
        for budget in budgets
    ]


def _current(budget: BudgetReport, now: float) -> list[Counter]:
    """The counters of the window that runs; all of them where the window is not known."""
    if budget.per is None:
        return list(budget.counters)
    window = window_at(budget.per, now).label
    return [one for one in budget.counters if one.window == window]


def _amount(amount: int, unit: str | None) -> str:
    match unit:
        case "usd":
            dollars = amount / 1e6
            return f"${dollars:,.2f}" if dollars >= 1 or not dollars else f"${dollars:.4f}"
        case None:
            return f"{amount:,}"
        case _:
            return f"{amount:,} {unit}"
