"""How soon the default rule for rates sees a shift, beside the best that is possible.

    python benchmarks/detection.py [--streams 1000] [--runs 400]

The optimum is Page's CUSUM that is told both rates and is evaluated after every call (Moustakides,
1986: no rule with as long a mean run between false alarms has a shorter worst delay). Ours,
`fd.rules.Cusum`, is told neither: it estimates the usual rate from the six hours before, looks for
any worsening, and is evaluated once a second on counts, as in an application. Both thresholds are
set to the same mean run between false alarms, measured on streams without a shift: the share of
streams without an alarm after n calls is exp(-n / mean run).

A delay is counted in calls, from the first call after the shift to the evaluation that alarms. What
a second holds is part of it, so that the traffic matters: at 10 calls a second a delay is 10 calls
longer on average than at one by that alone.

`default` is the rule with its own threshold at that traffic. Its mean run, too long to be met in a
simulation, is extrapolated from the measured one (a nat more is e times as long); the optimum beside
it has the same by Siegmund's approximation.

The vectorised rule here is checked against the real one, stream by stream, first.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time

import numpy as np
from _harness import table, versions

from firedoor.core import cusum
from firedoor.core.evidence import _STEPS
from firedoor.core.reading import Memory
from firedoor.core.rules import Cusum
from firedoor.core.series import Sample, Shape

SHIFTS = ((0.02, 0.06), (0.10, 0.20), (0.005, 0.05))
RULE = Cusum()
TARGET = 100_000
BAR = 1.5


def lgamma(x):
    """ln Gamma for x >= 0.5: Stirling's series after a shift by 8."""
    shift = np.ones_like(x)
    for i in range(8):
        shift *= x + i
    y = x + 8
    inverse = 1 / (y * y)
    return (
        (y - 0.5) * np.log(y)
        - y
        + 0.9189385332046727
        + (1 / 12 - inverse * (1 / 360 - inverse / 1260)) / y
        - np.log(shift)
    )


def evidence(hits, size, past_hits, past_size, excess):
    """`core.evidence.rate_evidence` on arrays."""
    usual = (past_hits + 0.5) / (past_size + 1)
    misses = size - hits
    a, b = past_hits + 0.5, past_size - past_hits + 0.5
    null = (
        lgamma(a + hits)
        - lgamma(a)
        + lgamma(b + misses)
        - lgamma(b)
        - lgamma(a + b + size)
        + lgamma(a + b)
    )
    rates = usual[:, None] + excess * np.array(_STEPS)
    fits = rates <= 0.999
    rates = np.where(fits, rates, 0.5)
    terms = hits[:, None] * np.log(rates) + misses[:, None] * np.log1p(-rates)
    terms = np.where(fits, terms, -np.inf)
    top = terms.max(axis=1)
    mixed = top + np.log(np.exp(terms - top[:, None]).sum(axis=1) / fits.sum(axis=1))
    return mixed - null


class Scan:
    """The rule on many streams of counts a second at once."""

    def __init__(self, rule, counts, per_second):
        self.n = per_second
        self.rule = rule
        self.excess = rule.excess or 0.02
        self.windows = np.array(cusum.windows(rule.window, rule.window), dtype=int)
        self.span = int(rule.baseline)
        self.sums = np.zeros((counts.shape[0] + 1, counts.shape[1]), dtype=np.int32)
        np.cumsum(counts, axis=0, out=self.sums[1:])

    def at(self, second):
        """The most evidence of any window that ends with `second` seconds, for each stream."""
        now = self.sums[second]
        whole = now - self.sums[max(0, second - self.span)]
        whole_size = min(second, self.span) * self.n
        best = np.full(now.shape, -np.inf)
        for window in self.windows:
            if second - window < self.rule.settle:
                break
            size = window * self.n
            if size < self.rule.minimum:
                continue
            past_size = whole_size - size
            if past_size < self.rule.warmup:
                break
            hits = now - self.sums[second - window]
            past = whole - hits
            usual = (past + 0.5) / (past_size + 1)
            rate = hits / size
            matters = (rate >= usual + self.excess) & (rate >= usual * self.rule.factor)
            where = np.flatnonzero(matters)
            if where.size:
                nats = evidence(
                    hits[where].astype(float),
                    float(size),
                    past[where].astype(float),
                    float(past_size),
                    self.excess,
                )
                best[where] = np.maximum(best[where], nats)
        return best


class Counts:
    """One stream as a series the real rule can read."""

    shape = Shape.RATE
    quantile = None

    def __init__(self, sums, per_second):
        self.sums = sums
        self.n = per_second

    def over(self, seconds, now, *, before=0.0):
        end = int(now - before)
        begin = max(0, end - int(seconds))
        hits = int(self.sums[end] - self.sums[begin])
        size = (end - begin) * self.n
        return Sample(size, hits, hits, hits / size if size else None, end - begin)

    def nested(self, windows, now, *, above=None):
        return [self.over(seconds, now) for seconds in windows]


def check(rng):
    """The arrays say what the rule says."""
    counts = rng.binomial(3, 0.02, (4_000, 4))
    counts[3_000:] = rng.binomial(3, 0.05, (1_000, 4))
    scan = Scan(RULE, counts, 3)
    for second in range(400, 4_000, 37):
        found = scan.at(second)
        for stream in range(4):
            series = Counts(scan.sums[:, stream], 3)
            look = cusum._Look(RULE, series, second, Memory(), RULE.baseline)
            best = look.best()
            want = -np.inf if best is None else best.nats
            assert best is None and found[stream] == -np.inf or abs(want - found[stream]) < 1e-6


def rule_maxima(rng, rate, per_second, calls, streams):
    """The most evidence that streams without a shift ever show within `calls`."""
    warm = RULE_WARM
    seconds = calls // per_second
    best = np.full(streams, -np.inf)
    for begin in range(0, streams, 250):
        some = min(250, streams - begin)
        counts = rng.binomial(per_second, rate, (warm + seconds, some)).astype(np.int16)
        scan = Scan(RULE, counts, per_second)
        for second in range(warm + 1, warm + seconds + 1):
            np.maximum(
                best[begin : begin + some],
                scan.at(second),
                out=best[begin : begin + some],
            )
    return best


def optimum_maxima(rng, before, after, calls, streams):
    """Likewise of the CUSUM that knows both rates."""
    up, down = math.log(after / before), math.log((1 - after) / (1 - before))
    score = np.zeros(streams)
    best = np.zeros(streams)
    for _ in range(calls // 1000):
        hits = rng.random((1000, streams)) < before
        steps = np.where(hits, up, down)
        for step in steps:
            np.maximum(score, 0, out=score)
            score += step
            np.maximum(best, score, out=best)
    return best


def threshold(maxima, calls, mean_run):
    """Where a share of exp(-calls / mean_run) of the streams stays below."""
    return float(np.quantile(maxima, math.exp(-calls / mean_run)))


def rule_delays(rng, before, after, per_second, *, limit, runs):
    """Calls from the shift to the alarm."""
    warm = RULE_WARM
    most = int(3_600 * max(1, 10 / per_second))
    counts = np.concatenate(
        [
            rng.binomial(per_second, before, (warm, runs)),
            rng.binomial(per_second, after, (most, runs)),
        ]
    ).astype(np.int16)
    scan = Scan(RULE, counts, per_second)
    delays = np.full(runs, np.inf)
    for second in range(1, most + 1):
        waiting = np.isinf(delays)
        if not waiting.any():
            break
        seen = scan.at(warm + second) >= limit
        delays[waiting & seen] = second * per_second
    return delays


def optimum_delays(rng, before, after, limit, runs):
    up, down = math.log(after / before), math.log((1 - after) / (1 - before))
    score = np.zeros(runs)
    # What the statistic is like when the shift comes: its usual state.
    for _ in range(3_000):
        np.maximum(score, 0, out=score)
        score += np.where(rng.random(runs) < before, up, down)
        score[score >= limit] = 0
    delays = np.full(runs, np.inf)
    for call in range(1, 1_000_000):
        np.maximum(score, 0, out=score)
        score += np.where(rng.random(runs) < after, up, down)
        delays[np.isinf(delays) & (score >= limit)] = call
        if not np.isinf(delays).any():
            break
    return delays


def siegmund(before, after, mean_run):
    """The optimum's threshold for a long mean run (Siegmund 1985, corrected for the excess).

    mean run = (exp(b) - b - 1) / |drift|, with b = threshold + the mean excess of a step over it.
    """
    up, down = math.log(after / before), math.log((1 - after) / (1 - before))
    drift = abs(before * up + (1 - before) * down)
    # The steps upwards are all of the same size: the excess is half of one.
    low, high = 1.0, 100.0
    for _ in range(100):
        b = (low + high) / 2
        if (math.exp(b) - b - 1) / drift < mean_run:
            low = b
        else:
            high = b
    return low - up / 2


RULE_WARM = 7_200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--traffic", type=int, nargs="*", default=[2, 10])
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    random.seed(asked.seed)
    began = time.perf_counter()
    check(rng)
    print(versions("numpy"))
    print("the arrays read the same as the rule: checked")
    rows = []
    worst = 0.0
    for before, after in SHIFTS:
        best_maxima = optimum_maxima(rng, before, after, TARGET, asked.streams * 2)
        best_limit = threshold(best_maxima, TARGET, TARGET)
        best = np.median(optimum_delays(rng, before, after, best_limit, asked.runs * 4))
        for per_second in asked.traffic:
            maxima = rule_maxima(rng, before, per_second, TARGET, asked.streams)
            limit = threshold(maxima, TARGET, TARGET)
            delays = rule_delays(rng, before, after, per_second, limit=limit, runs=asked.runs)
            ours = np.median(delays)
            worst = max(worst, ours / best)
            rows.append(
                (
                    f"{100 * before:g} % to {100 * after:g} %, {per_second}/s, {TARGET:.1g}",
                    best,
                    ours,
                    np.quantile(delays, 0.95),
                    ours / best,
                    limit,
                )
            )
            own = math.log(RULE.false_alarm_every * per_second) - cusum._LOOSE
            mean_run = TARGET * math.exp(own - limit)
            far_limit = siegmund(before, after, mean_run)
            far = np.median(optimum_delays(rng, before, after, far_limit, asked.runs * 4))
            delays = rule_delays(rng, before, after, per_second, limit=own, runs=asked.runs)
            ours = np.median(delays)
            rows.append(
                (
                    f"{100 * before:g} % to {100 * after:g} %, {per_second}/s, default: {mean_run:.1g}",
                    far,
                    ours,
                    np.quantile(delays, 0.95),
                    ours / far,
                    own,
                )
            )
            print(rows[-2], rows[-1], f"{time.perf_counter() - began:.0f} s", flush=True)
    print()
    print(
        table(
            (
                "shift, calls a second, mean run",
                "optimum, calls",
                "rule, calls",
                "rule, 95 %",
                "ratio",
                "threshold, nats",
            ),
            rows,
        )
    )
    print(f"\nworst ratio at equal mean runs of {TARGET:,} calls: {worst:.2f} (bar: {BAR})")
    return worst > BAR


if __name__ == "__main__":
    sys.exit(main())
