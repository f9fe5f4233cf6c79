"""Rules: what is in breach, what is not, and what cannot be said."""

import random

import pytest

import firedoor as fd
from firedoor.core.reading import Memory
from firedoor.core.rules import Above, Below, Cusum, Shift
from firedoor.core.series import Shape
from support.exact import ExactSeries


def rate(rng, share, size):
    return (rng.random() < share for _ in range(size))


def run(rule, series, times, memory=None):
    memory = memory or Memory()
    return [rule.judge(series, now, memory) for now in times]


def test_above_breaches_over_the_limit_and_clears_only_well_below_it():
    series = ExactSeries()
    series.feed(0, 300, [1] * 12 + [0] * 88)
    reading = Above(0.1).judge(series, 300, Memory())
    assert (reading.breached, reading.cleared, reading.value) == (True, False, 0.12)

    between = ExactSeries()
    between.feed(0, 300, [1] * 9 + [0] * 91)
    reading = Above(0.1).judge(between, 300, Memory())
    assert (reading.breached, reading.cleared) == (False, False)

    over = ExactSeries()
    over.feed(0, 300, [1] * 8 + [0] * 92)
    assert Above(0.1).judge(over, 300, Memory()).cleared


def test_a_few_observations_say_nothing_and_none_say_less():
    series = ExactSeries()
    reading = Above(0.1).judge(series, 10, Memory())
    assert (reading.breached, reading.no_data, reading.warming) == (None, True, False)
    series.feed(0, 10, [1] * 19)
    reading = Above(0.1).judge(series, 10, Memory())
    assert (reading.breached, reading.no_data, reading.warming) == (None, False, True)


def test_below_is_above_turned_round():
    series = ExactSeries(Shape.MEAN)
    series.feed(0, 300, [0.5] * 30)
    assert Below(0.6).judge(series, 300, Memory()).breached
    assert not Below(0.45).judge(series, 300, Memory()).breached
    assert not Below(0.45).judge(series, 300, Memory()).cleared
    assert Below(0.4).judge(series, 300, Memory()).cleared


@pytest.mark.parametrize("rule", [Shift(), Cusum()])
def test_a_rate_that_triples_is_seen_and_one_that_stays_is_not(rule):
    rng = random.Random(3)
    series = ExactSeries()
    series.feed(0, 7_200, rate(rng, 0.05, 7_200))
    calm = run(rule, series, range(600, 7_200, 30))
    assert not any(reading.breached for reading in calm)
    series.feed(7_200, 8_400, rate(rng, 0.20, 1_200))
    after = run(rule, series, range(7_200, 8_400, 10))
    assert any(reading.breached for reading in after)
    seen = next(reading for reading in after if reading.breached)
    assert seen.baseline == pytest.approx(0.05, abs=0.02)
    assert 0.1 <= seen.value <= 0.3


@pytest.mark.parametrize("rule", [Shift(), Cusum()])
def test_what_lasts_does_not_become_usual_and_what_ends_is_over(rule):
    rng = random.Random(4)
    series = ExactSeries()
    series.feed(0, 7_200, rate(rng, 0.05, 7_200))
    series.feed(7_200, 21_600, rate(rng, 0.25, 14_400))
    memory = Memory()
    run(rule, series, range(7_200, 7_900, 10), memory)
    held = run(rule, series, range(8_000, 21_600, 60), memory)
    assert all(reading.breached and not reading.cleared for reading in held)
    series.feed(21_600, 28_800, rate(rng, 0.05, 7_200))
    back = run(rule, series, range(21_600, 28_800, 10), memory)
    assert any(reading.cleared for reading in back)
    first = next(index for index, reading in enumerate(back) if reading.cleared)
    assert first * 10 <= 600
    assert not any(reading.breached for reading in back[first:])


def test_after_a_breach_the_past_from_before_it_counts_and_the_breach_does_not():
    rng = random.Random(5)
    rule, memory, series = Cusum(), Memory(), ExactSeries()
    series.feed(0, 7_200, rate(rng, 0.05, 7_200))
    series.feed(7_200, 9_000, rate(rng, 0.5, 1_800))
    run(rule, series, range(7_200, 9_000, 10), memory)
    series.feed(9_000, 10_000, rate(rng, 0.05, 1_000))
    run(rule, series, range(9_000, 10_000, 10), memory)
    assert not memory.latched
    series.feed(10_000, 10_600, rate(rng, 0.2, 600))
    again = run(rule, series, range(10_000, 10_600, 10), memory)
    seen = next(reading for reading in again if reading.breached)
    assert seen.baseline == pytest.approx(0.05, abs=0.02)


def test_a_rule_with_the_same_observations_reads_the_same():
    def once():
        rng = random.Random(6)
        series = ExactSeries()
        series.feed(0, 3_600, rate(rng, 0.1, 3_600))
        series.feed(3_600, 4_200, rate(rng, 0.3, 600))
        return run(Cusum(), series, range(0, 4_200, 7))

    assert once() == once()


def test_a_quantile_is_judged_by_the_share_above_what_was_usual():
    rng = random.Random(7)
    series = ExactSeries(Shape.QUANTILE, quantile=0.95)
    series.feed(0, 3_600, (rng.lognormvariate(0, 0.4) for _ in range(3_600)))
    rule = Cusum(factor=2.0, excess=0.05)
    assert not any(reading.breached for reading in run(rule, series, range(400, 3_600, 60)))
    series.feed(3_600, 3_700, (4 * rng.lognormvariate(0, 0.4) for _ in range(100)))
    after = run(rule, series, range(3_600, 3_700, 2))
    delay = next(index for index, reading in enumerate(after) if reading.breached) * 2
    assert delay <= 40


def test_a_limit_is_judged_from_the_first_observation_on():
    series = ExactSeries(Shape.QUANTILE, quantile=0.95)
    rule = Cusum(limit=6.0, baseline=None)
    series.feed(0, 60, [8.0] * 12)
    assert rule.judge(series, 60, Memory()).breached
    fine = ExactSeries(Shape.QUANTILE, quantile=0.95)
    fine.feed(0, 3_600, ([3.0] * 24 + [8.0]) * 40)
    assert run(rule, fine, [3_600])[0].breached is False


def test_a_mean_is_moved_by_many_values_and_not_by_one():
    rng = random.Random(8)
    series = ExactSeries(Shape.MEAN)
    series.feed(0, 7_200, (rng.lognormvariate(-5, 0.8) for _ in range(3_600)))
    rule = Cusum(factor=2.0, minimum=20)
    series.add(7_201, 100.0)
    assert not rule.judge(series, 7_201, Memory()).breached
    moved = ExactSeries(Shape.MEAN)
    moved.feed(0, 7_200, (rng.lognormvariate(-5, 0.8) for _ in range(3_600)))
    moved.feed(7_200, 7_400, (4 * rng.lognormvariate(-5, 0.8) for _ in range(100)))
    assert rule.judge(moved, 7_400, Memory()).breached


def test_a_signal_that_falls_is_watched_the_other_way():
    rng = random.Random(9)
    rule = Cusum(worse="lower", factor=1.3)
    series = ExactSeries(Shape.MEAN)
    series.feed(0, 3_600, (rng.gauss(10, 2) for _ in range(3_600)))
    series.feed(3_600, 3_700, (rng.gauss(16, 2) for _ in range(100)))
    assert not rule.judge(series, 3_700, Memory()).breached
    series.feed(3_700, 3_760, (rng.gauss(5, 2) for _ in range(60)))
    assert rule.judge(series, 3_760, Memory()).breached


def test_what_cannot_work_is_refused_with_the_way_out():
    with pytest.raises(fd.ConfigurationError, match=r"clear=0\.2 is above limit=0\.1"):
        Above(0.1, clear=0.2)
    with pytest.raises(fd.ConfigurationError, match="baseline=60 is shorter than window=300"):
        Shift(baseline=60)
    with pytest.raises(fd.ConfigurationError, match="give the seconds of a past, or a level"):
        Cusum(baseline=None)
    assert "use Above" in Cusum().refuses(Shape.VELOCITY)
