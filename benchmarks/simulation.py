"""Incidents in a running application: are they seen, told apart, and not seen where there are none?

    python benchmarks/simulation.py [--runs 26] [--days 120] [--jobs 2] [--seed 0]

Each run is another application (tests/support/simulated.py): its usual rates, its traffic (log-
uniform over 0.05 to 200 calls a second), when the fault begins, which it is and how severe, all
drawn by the seed. It runs behind a door with the default alerts, in simulated time, by the public
names only. Found is the class of the incident five minutes (or fifty requests) after it was opened,
with the first actions at work. The time before the fault is shortened (ten minutes are enough
to learn from at 200 calls a second; at 0.05, what 400 to 600 requests take), nothing else.

A healthy day has a night, four bursts of up to six times the traffic, and rates that drift by the
hour; an application runs for three days. Most days are of 0.05 to 0.5 calls a second, and for an
hour each of 5 to 50.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import itertools
import statistics
import sys
import time
from pathlib import Path

from _harness import table, versions

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.simulated import (
    SCENARIOS,
    busy,
    healthy,
    macro_f1,
    matrix,
    simulate,
)

F1 = 0.95
CALM = 0.99


def one(task):
    """One run, in a process of its own."""
    kind, name, seed = task
    if kind == "fault":
        return simulate(name, seed)
    return healthy(seed, days=3.0) if kind == "days" else busy(seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=26, help="for each of the eight scenarios")
    parser.add_argument("--days", type=int, default=120, help="healthy days")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    began = time.perf_counter()
    seeds = range(asked.seed, asked.seed + asked.runs)
    faults = [("fault", name, seed) for name in SCENARIOS for seed in seeds]
    days = [("days", "", asked.seed + number) for number in range(-(-asked.days // 3))]
    hours = [("hours", "", asked.seed + number) for number in range(asked.days // 5)]
    with concurrent.futures.ProcessPoolExecutor(asked.jobs) as pool:
        runs = list(pool.map(one, faults, chunksize=2))
        calm = list(pool.map(one, days))
        calm_hours = list(pool.map(one, hours))
    print(versions("firedoor"))
    print(f"\n{len(runs)} runs with a fault\n")
    classes, rows = matrix(runs)
    print(table(("fault", *classes), rows))
    score = macro_f1(runs)
    early = sum(run.early for run in runs)
    print(f"\nmacro-F1 {score:.3f} (bar: {F1}); incidents before the fault in {early} runs")
    lines = []
    for name, group in itertools.groupby(runs, key=lambda run: run.scenario):
        some = list(group)
        seen = [run for run in some if run.delay is not None]
        if seen:
            lines.append(
                (
                    name,
                    f"{len(seen)}/{len(some)}",
                    statistics.median(run.delay for run in seen),
                    statistics.median(run.calls for run in seen),
                    statistics.median(run.incidents for run in seen),
                )
            )
    print()
    print(table(("fault", "seen", "median delay, s", "calls", "incidents"), lines))
    for run in runs:
        if run.found != run.expected:
            print(f"  {run}")
    total = 3 * len(days) + len(hours) / 24
    bad = sum(map(bool, itertools.chain.from_iterable(calm))) + sum(map(bool, calm_hours))
    print(
        f"\n{total:.0f} healthy days: {bad} with an incident ({100 * (1 - bad / total):.1f} % calm)"
    )
    print(f"of {len(hours)} busy hours, {sum(map(bool, calm_hours))} had one")
    print(collections.Counter(itertools.chain.from_iterable(itertools.chain(*calm, calm_hours))))
    print(f"{time.perf_counter() - began:.0f} s")
    return score < F1 or bad > (1 - CALM) * total


if __name__ == "__main__":
    sys.exit(main())
