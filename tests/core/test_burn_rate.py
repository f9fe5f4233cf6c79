"""Burn rates as The Site Reliability Workbook, chapter 5, has them."""

import pytest

import firedoor as fd
from firedoor.core.reading import Memory
from firedoor.core.rules import BurnRate
from firedoor.core.series import Shape
from support.exact import ExactSeries

HOUR = 3_600.0
DAY = 24 * HOUR


def test_the_factors_are_those_of_the_workbook():
    assert BurnRate(0.999).factors == pytest.approx((14.4, 6.0, 3.0, 1.0))
    windows = [(pair.long / HOUR, pair.short / HOUR) for pair in BurnRate(0.999).pairs]
    assert windows == [(1, 1 / 12), (6, 0.5), (24, 2), (72, 6)]


@pytest.mark.parametrize(("pair", "threshold"), [(0, 0.0144), (1, 0.006), (2, 0.003), (3, 0.001)])
def test_the_published_alert_conditions(pair, threshold):
    """`ratio_rate1h > (14.4*0.001) and ratio_rate5m > (14.4*0.001)`, and so on, for 99.9 %."""
    chosen = BurnRate(0.999).pairs[pair]
    rule = BurnRate(0.999, pairs=(chosen,))
    for share, breached in ((1.02 * threshold, True), (0.98 * threshold, False)):
        series = steady(share, chosen.long, size=100_000)
        assert rule.judge(series, chosen.long, Memory()).breached is breached


def steady(share, seconds, *, size):
    """Bad observations spread evenly."""
    series = ExactSeries()
    series.feed(0, seconds, (int((i + 1) * share) > int(i * share) for i in range(size)))
    return series


@pytest.mark.parametrize("calm", ["long", "short"])
def test_both_windows_have_to_burn(calm):
    series = ExactSeries()
    if calm == "long":
        series.feed(0, HOUR - 30, [0] * 3_570)
        series.feed(HOUR - 30, HOUR, [1] * 30)
    else:
        series.feed(0, HOUR - 300, ([1] + [0] * 9) * 330)
        series.feed(HOUR - 300, HOUR, [0] * 300)
    hour = BurnRate(0.999, pairs=BurnRate(0.999).pairs[:1])
    assert hour.judge(series, HOUR, Memory()).breached is False


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (1.0, HOUR * 0.0144 / 1.0),
        (0.1, HOUR * 0.0144 / 0.1),
        (0.01, 6 * HOUR * 0.006 / 0.01),
        (0.004, DAY * 0.003 / 0.004),
    ],
)
def test_the_time_to_detect_is_the_workbooks(errors, expected):
    """(1 - objective) / error ratio x window x burn rate, with three good days before."""
    every = max(1.0, expected / 2_000)
    series = ExactSeries(start=-3 * DAY)
    series.feed(-3 * DAY, 0, [0] * int(3 * DAY / every))
    rule, memory, now, index = BurnRate(0.999), Memory(), 0.0, 0
    while not rule.judge(series, now, memory).breached:
        now += every
        index += 1
        series.add(now, int((index + 1) * errors) > int(index * errors))
        assert now < 1.5 * expected
    assert now == pytest.approx(expected, abs=2 * every / errors)


def test_it_is_over_within_the_short_window():
    series = ExactSeries(start=-DAY)
    series.feed(-DAY, 0, [0] * 86_400)
    series.feed(0, 60, [1] * 60)
    rule = BurnRate(0.999, pairs=BurnRate(0.999).pairs[:1])
    assert rule.judge(series, 60, Memory()).breached
    series.feed(60, 358, [0] * 298)
    assert rule.judge(series, 300, Memory()).breached
    series.feed(358, 420, [0] * 62)
    reading = rule.judge(series, 420, Memory())
    assert (reading.breached, reading.cleared) == (False, True)


def test_a_process_that_has_just_begun_has_not_used_six_hours_of_budget_in_a_minute():
    series = ExactSeries()
    series.feed(0, 600, [0] * 600)
    series.feed(600, 630, [1] * 30)
    assert BurnRate(0.999).judge(series, 630, Memory()).breached is False
    series.feed(630, 660, [1] * 30)
    assert BurnRate(0.999).judge(series, 660, Memory()).breached


def test_one_failure_of_three_is_no_fire():
    series = ExactSeries()
    series.feed(0, HOUR, [1, 0, 0])
    reading = BurnRate(0.999).judge(series, HOUR, Memory())
    assert (reading.breached, reading.warming) == (None, True)
    quiet = ExactSeries()
    quiet.feed(0, HOUR, [0] * 40 + [1, 1])
    assert BurnRate(0.999).judge(quiet, HOUR, Memory()).breached is False
    assert BurnRate(0.999).judge(ExactSeries(), HOUR, Memory()).no_data


def test_a_quantile_has_a_limit_that_says_what_is_bad():
    series = ExactSeries(Shape.QUANTILE, quantile=0.95)
    series.feed(0, HOUR, [0.5, 9.0] * 500)
    assert BurnRate(0.99, limit=6.0).judge(series, HOUR, Memory()).breached
    assert not BurnRate(0.99, limit=10.0).judge(series, HOUR, Memory()).breached
    assert "say limit=" in BurnRate(0.99).refuses(Shape.QUANTILE)


def test_an_objective_that_can_never_fire_is_refused_with_the_rules_to_use_instead():
    with pytest.raises(fd.ConfigurationError) as refused:
        BurnRate(0.93)
    for part in ("objective=0.93", "14.4 times", "could never fire", "0.9306", "Shift", "Cusum"):
        assert part in str(refused.value)
    assert BurnRate(0.9306).factors[0] == pytest.approx(14.4)


def test_windows_that_cannot_work_are_refused():
    with pytest.raises(fd.ConfigurationError, match="a shorter one"):
        BurnRate(0.99, pairs=((0.02, 300.0, 3_600.0),))
