"""Alerts: none without a first action; defaults that need only names; all of them watched together."""

import dataclasses

import pytest

import firedoor as fd
from firedoor.core.causes import SPEAKS
from firedoor.core.series import Selector
from firedoor.incidents.alerts import Watch
from firedoor.incidents.signals import Signals
from firedoor.testing import FakeClock
from firedoor.types import AlertState

JOURNEY = "checkout-help"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def faults():
    return []


@pytest.fixture
def signals(clock, faults):
    found = Signals(clock.now, lambda: clock.time_ns() / 1e9, on_fault=faults.append)
    found.register("odd_rate", lambda _: None, shape="rate")
    return found


def alert(name="odd", **fields):
    return fd.Alert(
        name,
        **{
            "signal": "odd_rate",
            "rule": fd.rules.Above(0.1, minimum=10),
            "first_action": fd.actions.SafeMode(),
            "keep": 60.0,
            **fields,
        },
    )


class TestAnAlert:
    def test_has_a_first_action(self):
        with pytest.raises(fd.ConfigurationError, match=r"'x' has no first_action.*mode='suggest'"):
            fd.Alert("x", signal="refusal_rate", rule=fd.rules.Shift())

    def test_has_an_action_and_a_rule_that_are_ones(self):
        with pytest.raises(fd.ConfigurationError, match=r"first_action='safe mode' is no action"):
            alert(first_action="safe mode")
        with pytest.raises(fd.ConfigurationError, match=r"then='page me' is no action"):
            alert(then=("page me",))
        with pytest.raises(fd.ConfigurationError, match=r"rule=0\.1 is no rule"):
            alert(rule=0.1)

    def test_is_not_automatic_where_its_action_has_no_way_back(self):
        action = fd.actions.Call(print)
        with pytest.raises(fd.ConfigurationError, match="cannot be reverted"):
            alert(first_action=action)
        assert alert(first_action=action, mode="approve").mode is fd.Mode.APPROVE

    def test_takes_the_words_of_the_design(self):
        made = alert(incident_class="quality_regression", mode="suggest")
        assert made.incident_class is fd.IncidentClass.QUALITY_REGRESSION
        with pytest.raises(fd.ConfigurationError, match="incident_class='bad'"):
            alert(incident_class="bad")
        with pytest.raises(fd.ConfigurationError, match="exclude each other"):
            alert(each="journey", journey=JOURNEY)
        with pytest.raises(fd.ConfigurationError, match="letters, digits"):
            alert("no spaces please")

    def test_speaks_for_what_it_declares_or_its_signal_means(self):
        assert alert(signal="latency_p95").speaks_for is fd.IncidentClass.LATENCY_SATURATION
        assert alert(signal="odd_rate").speaks_for is None
        declared = alert(signal="latency_p95", incident_class="cost_runaway")
        assert declared.speaks_for is fd.IncidentClass.COST_RUNAWAY


class TestTheDefaults:
    def test_need_only_the_names(self, signals):
        made = fd.alerts.defaults(journeys={JOURNEY: fd.Journey(p95=6.0, critical=True)})
        Watch(made, signals)
        assert {a.speaks_for for a in made} == set(fd.IncidentClass)
        assert {a.journey for a in made} == {JOURNEY, None}
        assert all(a.why and a.first_action for a in made)
        assert all(a.signal in SPEAKS for a in made)

    def test_have_the_four_of_the_mission(self):
        made = {a.name: a for a in fd.alerts.defaults({JOURNEY: fd.Journey(p95=6.0)})}
        four = ("refusals", "factuality", "policy-flags", "p95")
        assert [made[f"{JOURNEY}/{name}"].signal for name in four] == [
            "refusal_rate",
            "ungrounded_rate",
            "policy_flag_rate",
            "latency_p95",
        ]
        assert made[f"{JOURNEY}/p95"].rule.limit == 6.0

    def test_names_alone_are_not_enough(self):
        with pytest.raises(fd.ConfigurationError, match="fd.Journey"):
            fd.alerts.defaults(journeys=[JOURNEY])

    def test_without_journeys_are_of_the_whole_door(self, signals):
        made = fd.alerts.defaults()
        Watch(made, signals)
        assert {a.journey for a in made} == {None}
        assert "refusals" in {a.name for a in made}

    def test_may_be_held_back_and_never_let_go_further(self):
        careful = fd.alerts.defaults(mode="suggest")
        assert {a.mode for a in careful} == {fd.Mode.SUGGEST}
        free = {a.name: a.mode for a in fd.alerts.defaults(mode="auto")}
        assert free["feedback"] is fd.Mode.APPROVE
        with pytest.raises(fd.ConfigurationError, match="mode='now'"):
            fd.alerts.defaults(mode="now")

    def test_know_what_a_journey_may_cost(self, signals):
        made = fd.alerts.defaults({JOURNEY: fd.Journey(usd_per_request=0.5, usd_per_hour=36.0)})
        Watch(made, signals)
        rules = {a.name.split("/")[-1]: a.rule for a in made}
        assert rules["cost-limit"].limit == 0.5
        assert rules["spending"].limit == pytest.approx(0.01)

    def test_say_what_is_wrong_with_a_journey(self):
        with pytest.raises(fd.ConfigurationError, match=r"use a journey's name and fd\.Journey"):
            fd.alerts.defaults({JOURNEY: {"p95": 6.0}})
        with pytest.raises(fd.ConfigurationError, match="p95=-1"):
            fd.Journey(p95=-1.0)


class TestTheWatch:
    def feed(self, signals, clock, share, *, size=100, seconds=100, **where):
        for index in range(size):
            clock.advance(seconds / size)
            bad = int((index + 1) * share) > int(index * share)
            signals.observe("odd_rate", bad, **where)

    def test_tells_what_changed_and_nothing_twice(self, signals, clock):
        watch = Watch([alert()], signals)
        assert watch.evaluate(clock.now()) == []
        self.feed(signals, clock, 0.02)
        (changed,) = watch.evaluate(clock.now())
        assert (changed.old, changed.new) == (AlertState.NO_DATA, AlertState.OK)
        assert watch.evaluate(clock.now()) == []
        self.feed(signals, clock, 0.9)
        (changed,) = watch.evaluate(clock.now())
        assert (changed.new, changed.selector) == (AlertState.FIRING, Selector())
        assert changed.reading.value == pytest.approx(0.46, abs=0.01)
        assert watch.evaluate(clock.now()) == []
        assert [f.alert.name for f in watch.firing()] == ["odd"]
        (seen,) = watch.observations()
        assert (seen.signal, seen.breached, seen.sample) == ("odd_rate", True, 200)

    def test_recovers_after_its_time_and_not_in_silence(self, signals, clock):
        watch = Watch([alert()], signals)
        self.feed(signals, clock, 0.9)
        watch.evaluate(clock.now())
        clock.advance(4_000)
        assert watch.evaluate(clock.now()) == []
        assert watch.state("odd") is AlertState.FIRING
        self.feed(signals, clock, 0.01)
        assert [t.new for t in watch.evaluate(clock.now())] == [AlertState.RECOVERING]
        self.feed(signals, clock, 0.01)
        assert [t.new for t in watch.evaluate(clock.now())] == [AlertState.OK]
        assert watch.firing() == ()

    def test_may_be_one_for_each_place(self, signals, clock):
        watch = Watch([alert(each="journey")], signals)
        self.feed(signals, clock, 0.9, journey="a")
        self.feed(signals, clock, 0.0, journey="b")
        found = {t.selector.journey: t.new for t in watch.evaluate(clock.now())}
        assert found == {"a": AlertState.FIRING, "b": AlertState.OK}
        assert watch.state("odd") is AlertState.FIRING
        assert watch.state("odd", Selector("b")) is AlertState.OK

    def test_mutes_what_begins_in_a_storm(self, signals, clock):
        many = [alert(f"odd-{number}") for number in range(6)]
        watch = Watch(many, signals, storm=4)
        self.feed(signals, clock, 0.9)
        fired = watch.evaluate(clock.now())
        assert [t.muted for t in fired] == [False] * 4 + [True] * 2
        assert all(t.new is AlertState.FIRING for t in fired)

    def test_goes_on_when_a_rule_fails(self, signals, clock):
        class Broken:
            def judge(self, series, now, memory):
                raise ZeroDivisionError

            def refuses(self, shape):
                return None

        told = []
        watch = Watch([alert("broken", rule=Broken()), alert()], signals, on_fault=told.append)
        self.feed(signals, clock, 0.9)
        assert [t.alert.name for t in watch.evaluate(clock.now())] == ["odd"]
        assert [type(error) for error in told] == [ZeroDivisionError]

    def test_refuses_what_can_never_work_and_keeps_what_it_had(self, signals):
        watch = Watch([alert()], signals)
        with pytest.raises(fd.ConfigurationError, match="two alerts are named 'odd'"):
            watch.add([alert("new"), alert()])
        assert [a.name for a in watch.alerts] == ["odd"]
        with pytest.raises(fd.ConfigurationError, match="signal 'refusals' is not known"):
            watch.add([alert("x", signal="refusals")])
        with pytest.raises(fd.ConfigurationError, match=r"Cusum cannot judge cost_velocity"):
            watch.add([alert("x", signal="cost_velocity", rule=fd.rules.Cusum())])
        with pytest.raises(fd.ConfigurationError, match="is no alert"):
            watch.add(["x"])

    def test_takes_the_present_for_usual_when_told_so(self, signals, clock):
        watch = Watch([alert(rule=fd.rules.Cusum())], signals)
        self.feed(signals, clock, 0.02, size=2_000, seconds=2_000)
        watch.evaluate(clock.now())
        self.feed(signals, clock, 0.4, size=100)
        watch.evaluate(clock.now())
        assert watch.state("odd") is AlertState.FIRING
        watch.reset("odd")
        self.feed(signals, clock, 0.4, size=4_000, seconds=22_000)
        watch.evaluate(clock.now())
        assert watch.state("odd") is AlertState.OK
        with pytest.raises(fd.ConfigurationError, match="no alert 'x'; there are: odd"):
            watch.reset("x")

    def test_says_how_everything_stands(self, signals, clock):
        watch = Watch([alert()], signals)
        self.feed(signals, clock, 0.9)
        watch.evaluate(clock.now())
        told = watch.snapshot()["odd"]
        assert (told["state"], told["signal"]) == ("firing", "odd_rate")
        assert told["places"][0]["value"] == pytest.approx(0.9)

    def test_reads_the_same_from_the_same(self):
        def once():
            clock = FakeClock()
            signals = Signals(clock.now, lambda: clock.time_ns() / 1e9, on_fault=print)
            signals.register("odd_rate", lambda _: None, shape="rate")
            watch = Watch([alert(rule=fd.rules.Cusum())], signals)
            found = []
            for share in (0.02, 0.02, 0.02, 0.5, 0.02, 0.02):
                for _ in range(6):
                    self.feed(signals, clock, share)
                    found += [(t.new, t.at, t.reading) for t in watch.evaluate(clock.now())]
            return found

        assert once() == once()
        assert AlertState.FIRING in [new for new, _, _ in once()]


def test_an_alert_is_a_value_to_change():
    (first, *_) = fd.alerts.defaults()
    changed = dataclasses.replace(first, mode="suggest")
    assert (changed.mode, first.mode) == (fd.Mode.SUGGEST, fd.Mode.AUTO)
