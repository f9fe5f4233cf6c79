"""Which alerts are one incident, how severe it is as it grows, and that the monitor is never one."""

import gc
import os
import threading
import weakref

import pytest

import firedoor as fd
from firedoor import actions
from firedoor.core.incident import AlertRecord, IncidentRecord
from firedoor.errors import StoreError
from firedoor.incidents.correlation import joined
from firedoor.incidents.pulse import Pulse
from firedoor.testing import FakeClock
from firedoor.types import IncidentClass
from support.incident_app import JOURNEY, App, events, refusals
from support.waiting import until


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def app(clock):
    app = App(clock)
    yield app
    app.door.close()


def alert_record(name="a", journey=JOURNEY, since=1_000.0, **fields):
    return AlertRecord(name, "refusal_rate", journey, since=since, fired_at=since, **fields)


def open_incident(*alerts, kind=IncidentClass.QUALITY_REGRESSION, **fields):
    journeys = {a.journey for a in alerts}
    return IncidentRecord(
        "INC-1",
        "shop",
        incident_class=kind,
        journey=journeys.pop() if len(journeys) == 1 else None,
        alerts=alerts,
        detected_at=alerts[0].fired_at,
        **fields,
    )


class TestCorrelation:
    QUALITY = IncidentClass.QUALITY_REGRESSION
    COST = IncidentClass.COST_RUNAWAY

    @pytest.mark.parametrize(
        ("alert", "kind", "same"),
        [
            (alert_record("b"), QUALITY, True),
            (alert_record("b"), COST, True),  # whatever it is, the same users meet it
            (alert_record("b", since=9_000.0), COST, True),  # the first still fires
            (alert_record("b", "another"), QUALITY, True),  # both began together
            (alert_record("b", "another"), COST, False),
            (alert_record("b", "another", since=1_500.0), QUALITY, False),
            (alert_record("b", "another", since=1_500.0, alias="gpt-5"), QUALITY, True),
            (alert_record("b", None, since=1_500.0), COST, True),
            (alert_record("b", None, since=5_000.0), COST, False),
        ],
    )
    def test_which_alerts_belong_together(self, alert, kind, same):
        record = open_incident(alert_record(alias="gpt-5"))
        assert (joined(alert, kind, [record]) is record) is same

    def test_what_is_over_takes_in_its_own_alerts_only(self):
        over = open_incident(alert_record(recovered_at=1_400.0), recovered_at=1_400.0)
        later = alert_record("b", since=6_000.0)
        assert joined(later, self.QUALITY, [over]) is None
        assert joined(alert_record(since=6_000.0), self.QUALITY, [over]) is over

    def test_alerts_of_one_journey_are_one_incident_and_the_cause_leads(self, clock):
        door = fd.Firedoor("shop", clock=clock)
        empty = []

        @door.retrieval("kb")
        def search(query):
            return [] if empty else [{"id": "doc-1", "score": 0.9}]

        @door.llm("answer", tiers=[fd.Tier("gpt-5"), fd.Canned("Later, please.")])
        def answer(question, *, model=fd.ROUTED):
            return "It is on its way."

        door.watch(
            [
                fd.Alert(
                    "ungrounded",
                    signal="groundedness",
                    journey=JOURNEY,
                    rule=fd.rules.Below(0.6, minimum=20),
                    first_action=actions.RollbackPrompt(),
                ),
                fd.Alert(
                    "empty",
                    signal="retrieval_empty_rate",
                    journey=JOURNEY,
                    rule=fd.rules.Above(0.3, minimum=80),
                    first_action=actions.SafeMode(),
                ),
            ]
        )

        def serve(seconds):
            for _ in range(seconds):
                clock.advance(1)
                with door.request(JOURNEY):
                    found = search("where?")
                    answer("where?")
                    grounded = 0.9 if found else 0.1
                door.signals.observe("groundedness", grounded, journey=JOURNEY, route="llm:answer")

        serve(300)
        empty.append(True)
        serve(200)
        (incident,) = door.incidents.current()
        assert {a.name for a in incident.alerts} == {"ungrounded", "empty"}
        assert incident.incident_class is IncidentClass.RETRIEVAL_FAILURE
        assert incident.contributing == (IncidentClass.QUALITY_REGRESSION,)
        assert "this explains groundedness" in incident.why
        # The effect's own first action could not act; the cause's did not wait for it.
        assert [(a.kind, str(a.state)) for a in incident.actions][-1] == ("safe_mode", "applied")
        door.close()

    def test_a_cause_that_shows_after_its_effect_and_is_no_alert_yet_leads_all_the_same(self, app):
        leaking = []

        @app.door.policy(on="output", action="flag")
        def no_secrets(text):
            return "zeta-" not in text

        @app.door.llm("note", policies=[no_secrets])
        def note(question):
            return "zeta-123456" if leaking and leaking.pop() else "Noted."

        def serve(seconds):
            for _ in range(seconds):
                app.serve(1)
                with app.door.request(JOURNEY):
                    note("and?")

        flags = fd.Alert(
            "flags",
            signal="policy_flag_rate",
            journey=JOURNEY,
            rule=fd.rules.Cusum(factor=2.0),
            first_action=actions.TightenPolicies(),
        )
        app.door.watch([refusals(mode="suggest"), flags])
        serve(600)
        app.refusing["gpt-5"] = 1.0
        serve(150)
        (incident,) = app.door.incidents.current()
        assert incident.incident_class is IncidentClass.QUALITY_REGRESSION
        leaking += [True, False, False, True]
        serve(12)
        (incident,) = app.door.incidents.current()
        assert incident.incident_class is IncidentClass.SAFETY_VIOLATION
        assert IncidentClass.QUALITY_REGRESSION in incident.contributing
        assert {a.name for a in incident.alerts} == {"refusals-up"}
        assert "classified" in events(incident)
        # Once it is no longer new, what the class was told from is not looked for again.
        serve(400)
        (incident,) = app.door.incidents.current()
        assert incident.incident_class is IncidentClass.SAFETY_VIOLATION

    def test_two_journeys_with_one_cause_are_one_incident_of_the_door(self, app):
        app.door.watch(
            [refusals(name=f"refusals-{j}", journey=j, mode="suggest") for j in ("a", "b")]
        )
        for bad in (0.0, 0.8):
            app.refusing["gpt-5"] = bad
            for _ in range(300):
                app.clock.advance(1)
                for journey in ("a", "b"):
                    with app.door.request(journey):
                        app.answer("?")
        (incident,) = app.door.incidents.current()
        assert incident.journey is None
        assert {a.journey for a in incident.alerts} == {"a", "b"}
        with app.door.request("c") as request:
            app.answer("?")
        assert request.decisions[0].incident_id == incident.id


class TestSeverity:
    def test_it_grows_with_exposure_and_does_not_fall(self, app):
        app.door.watch([refusals(mode="suggest", critical=True, rule=fd.rules.Above(0.06))])
        app.serve(300)
        app.refusing["gpt-5"] = 0.12
        app.serve(200)
        (incident,) = app.door.incidents.current()
        first = incident.severity
        app.refusing["gpt-5"] = 1.0
        app.serve(1_500)
        assert incident.severity < first
        assert incident.severity is fd.Severity.SEV1
        assert "severity" in events(incident)
        app.refusing["gpt-5"] = 0.1
        app.serve(1_000)
        assert incident.severity is fd.Severity.SEV1

    def test_an_incident_that_comes_back_is_open_again(self, app):
        app.door.watch([refusals(mode="suggest", keep=60.0)])
        app.serve(300)
        app.refusing["gpt-5"] = 0.8
        app.serve(150)
        app.refusing.clear()
        app.serve(600)
        (incident,) = app.door.incidents.current()
        assert incident.state is fd.IncidentState.STABILISED
        app.refusing["gpt-5"] = 0.8
        app.serve(150)
        (again,) = app.door.incidents.current()
        assert again.id == incident.id
        assert again.state is fd.IncidentState.OPEN
        assert again.recovered_at is None
        assert again.alerts[0].flaps == 1

    def test_every_return_is_a_flap_whether_it_had_been_over_or_not(self, app):
        """Quiet for a minute, back, quiet, back: whoever is on call wants that number."""
        app.door.watch([refusals(mode="suggest", keep=600.0)])
        app.serve(300)
        for _ in range(3):
            app.refusing["gpt-5"] = 0.8
            app.serve(150)
            app.refusing.clear()
            app.serve(300)
        (incident,) = app.door.incidents.current()
        assert incident.alerts[0].flaps == 2
        assert [e for e in events(incident) if e == "alert_fired"] == []
        app.serve(2_400)
        assert incident.state is fd.IncidentState.STABILISED
        app.refusing["gpt-5"] = 0.8
        app.serve(150)
        assert incident.alerts[0].flaps == 3


class TestNeverTheIncident:
    @pytest.mark.parametrize("error", [StoreError("gone"), RuntimeError("bug"), MemoryError()])
    def test_a_ledger_that_fails_changes_nothing_for_callers(self, app, monkeypatch, error):
        def fail(*args, **kwargs):
            raise error

        app.door.watch([refusals()])
        app.serve(300)
        for name in ("save", "open_one", "load", "incidents"):
            monkeypatch.setattr(app.door.incidents.ledger, name, fail)
        app.refusing["gpt-5"] = 0.8
        app.serve(200)  # raises nothing
        if isinstance(error, StoreError):
            # Known to be away: what is decided acts here, and is written down later.
            assert app.models[-1] == "gpt-5-mini"
            assert app.door.incidents.pending
            monkeypatch.undo()
            app.serve(60)
            assert app.door.incidents.pending == 0
            (incident,) = app.door.incidents.ledger.incidents(open_only=True)
            assert [str(a.state) for a in incident.actions] == ["applied"]

    def test_a_rule_that_breaks_leaves_the_other_alerts_watched(self, app, monkeypatch):
        class Broken(fd.rules.Above):
            def judge(self, series, now, memory):
                raise ZeroDivisionError

        app.door.watch([refusals(name="broken", rule=Broken(0.1)), refusals()])
        app.serve(300)
        app.refusing["gpt-5"] = 0.8
        app.serve(150)
        (incident,) = app.door.incidents.current()
        assert [a.name for a in incident.alerts] == ["refusals-up"]

    def test_two_looks_at_once_are_one(self, app):
        app.door.watch([refusals()])
        app.serve(300)
        app.refusing["gpt-5"] = 0.8
        app.clock.advance(1)
        for _ in range(200):
            with app.door.request(JOURNEY):
                app.answer("?")
        gate = threading.Barrier(8)

        def look():
            gate.wait()
            app.door.evaluate()

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (incident,) = app.door.incidents.current()
        assert len(incident.actions) == 1
        assert len(app.door.switches.active()) == 1


class Beats:
    def __init__(self):
        self.count = 0
        self.pid = os.getpid()

    def beat(self):
        self.count += 1


class TestTheTimer:
    def test_it_looks_though_nobody_calls(self):
        app = App(None)
        app.door.watch([refusals()])
        app.refusing["gpt-5"] = 0.8
        for _ in range(100):
            with app.door.request(JOURNEY):
                app.answer("?")
        until(lambda: app.door.switches.active())
        app.door.close()

    def test_it_goes_with_what_it_looks_after(self):
        beats = Beats()
        pulse = Pulse(beats.beat, every=0.001)
        pulse.start()
        until(lambda seen=beats: seen.count > 2)
        thread, gone = pulse._thread, weakref.ref(beats)
        del beats, pulse
        gc.collect()
        thread.join(20)
        assert not thread.is_alive()
        assert gone() is None

    def test_stopped_it_stays_stopped(self):
        beats = Beats()
        pulse = Pulse(beats.beat, every=0.001)
        pulse.start()
        until(lambda: beats.count)
        pulse.stop()
        pulse.start()
        assert not pulse.running

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_a_forked_worker_has_its_own(self):
        beats = Beats()
        pulse = Pulse(beats.beat, every=0.001)
        pulse.start()
        until(lambda: beats.count)
        child = os.fork()
        if child == 0:
            before = beats.count
            try:
                until(lambda: beats.count > before + 2)
            finally:
                os._exit(0 if beats.count > before + 2 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        pulse.stop()
