"""What the benchmarks share: interleaved rounds, ratios within a round, tables.

Every case runs once in each round, in a shuffled order, so that neighbours on a shared machine and
drift hit all cases alike. A ratio is formed inside a round and then summarised, never between two
medians taken minutes apart.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib import metadata
from typing import NamedTuple

Case = Callable[[int], float]
"""Runs something n times; answers the seconds that took."""


class Spread(NamedTuple):
    """The least, the middle and the greatest of some figures."""

    least: float
    median: float
    greatest: float


def spread(figures: Iterable[float]) -> Spread:
    """Summarise the figures of several rounds."""
    ordered = sorted(figures)
    return Spread(ordered[0], statistics.median(ordered), ordered[-1])


def ratios(figures: Sequence[float], base: Sequence[float]) -> Spread:
    """`figures` over `base`, round by round."""
    return spread(a / b for a, b in zip(figures, base, strict=True))


def added(figures: Sequence[float], base: Sequence[float]) -> Spread:
    """`figures` less `base`, round by round."""
    return spread(a - b for a, b in zip(figures, base, strict=True))


def interleave(
    cases: Mapping[str, Case], *, rounds: int = 9, seconds: float = 0.06, seed: int = 7
) -> dict[str, list[float]]:
    """Microseconds per run of every case, one figure per round.

    Args:
        cases: By name.
        rounds: How often each case is measured.
        seconds: How long a case runs in a round.
        seed: Of the order in each round.
    """
    times = {name: _calibrate(case, seconds) for name, case in cases.items()}
    figures: dict[str, list[float]] = {name: [] for name in cases}
    order = random.Random(seed)
    names = list(cases)
    for _ in range(rounds):
        order.shuffle(names)
        for name in names:
            gc.collect()
            figures[name].append(cases[name](times[name]) / times[name] * 1e6)
    return figures


def side_by_side(
    pairs: Mapping[str, tuple[Case, Case]],
    *,
    rounds: int = 9,
    seconds: float = 0.06,
    seed: int = 7,
) -> dict[str, tuple[list[float], list[float]]]:
    """As `interleave`, of two cases each that are to be compared: one runs right after the other.

    On a machine that others load as well, what slows one of them then slows both. They run equally
    often, as often as the first can in the time.
    """
    times = {name: _calibrate(first, seconds) for name, (first, _) in pairs.items()}
    figures: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in pairs}
    order = random.Random(seed)
    names = list(pairs)
    for _ in range(rounds):
        order.shuffle(names)
        for name in names:
            for which in order.sample((0, 1), 2):
                gc.collect()
                took = pairs[name][which](times[name])
                figures[name][which].append(took / times[name] * 1e6)
    return figures


def _calibrate(case: Case, seconds: float) -> int:
    n = 5
    while True:
        # The least of three: a hiccup would make every round so short that starting a case is
        # what is measured.
        took = min(case(n) for _ in range(3))
        if took > seconds / 5 or n >= 2_000_000:
            return max(5, min(2_000_000, int(n * seconds / max(took, 1e-9))))
        n *= 5


def loop(call: Callable[[], object]) -> Case:
    """A case that calls `call`."""

    def run(n: int) -> float:
        began = time.perf_counter()
        for _ in range(n):
            call()
        return time.perf_counter() - began

    return run


def async_loop(call: Callable[[], Awaitable[object]]) -> Case:
    """A case that awaits `call()` in one task."""

    async def body(n: int) -> float:
        began = time.perf_counter()
        for _ in range(n):
            await call()
        return time.perf_counter() - began

    return lambda n: asyncio.run(body(n))


def in_threads(call: Callable[[], object], count: int) -> Case:
    """A case that makes its n calls in `count` threads that begin together."""

    def run(n: int) -> float:
        share = max(1, n // count)
        gate = threading.Barrier(count + 1)

        def body() -> None:
            gate.wait()
            for _ in range(share):
                call()

        threads = [threading.Thread(target=body) for _ in range(count)]
        for thread in threads:
            thread.start()
        gate.wait()
        began = time.perf_counter()
        for thread in threads:
            thread.join()
        return (time.perf_counter() - began) * n / (share * count)

    return run


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers to three figures, the first column to the left."""
    cells = [list(headings), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    lines = [
        "| "
        + " | ".join(
            text.rjust(width) if i else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def versions(*packages: str) -> str:
    """The interpreter and those of `packages` that are installed, in one line."""
    found = [f"Python {sys.version.split()[0]}"]
    for package in packages:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)
