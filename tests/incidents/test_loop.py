"""The loop, by the public names only: decisions → alert → incident → action → recovery → closed."""

import pytest

import firedoor as fd
from firedoor.testing import FakeClock
from support.incident_app import JOURNEY, App, events, refusals


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def app(clock):
    app = App(clock)
    yield app
    app.door.close()


class TestTheLoop:
    def test_from_the_first_refusal_to_a_finding(self, app, clock):
        door = app.door
        door.watch([refusals()])
        app.serve(1_000)
        assert door.incidents.current() == []
        assert door.snapshot()["alerts"]["refusals-up"]["state"] == "ok"

        app.refusing["gpt-5"] = 0.7
        began = clock.time_ns() / 1e9
        app.serve(150)
        (incident,) = door.incidents.current()
        assert incident.incident_class is fd.IncidentClass.QUALITY_REGRESSION
        assert incident.state is fd.IncidentState.CONTAINED
        assert incident.journey == JOURNEY
        assert (incident.route, incident.alias) == ("llm:answer", "gpt-5")
        assert incident.evidence[0].signal == "refusal_rate"
        assert 0 <= incident.first_bad_at - began < 60
        assert incident.time_to_contain == incident.time_to_detect < 150
        (switch,) = door.switches.active()
        assert (switch.target, switch.value, switch.journey) == ("gpt-5", "gpt-5-mini", JOURNEY)
        assert incident.id in switch.reason

        request = app.serve(1)
        assert app.models[-1] == "gpt-5-mini"
        assert request.decisions[0].incident_id == incident.id
        with door.request("another-journey") as request:
            app.answer("hello")
        assert app.models[-1] == "gpt-5"
        assert request.decisions[0].incident_id is None

        app.serve(900)
        (action,) = incident.actions
        assert action.state == "verified"
        assert action.touches["routes"] == ["llm:answer"]
        assert incident.state is fd.IncidentState.STABILISED
        assert incident.recovered_at is not None

        app.refusing.clear()
        incident.revert(action.id, actor="ana", reason="the provider says it is fixed")
        assert door.switches.active() == ()
        app.serve(900)
        assert app.models[-1] == "gpt-5"
        incident.diagnose("the provider changed its model", actor="ana")
        incident.close(
            [fd.Finding("pin the model's version", owner="ana", probe="pinned-model")],
            owner="ana",
            actor="ana",
        )
        assert incident.state is fd.IncidentState.CLOSED
        assert door.incidents.current() == []
        for event in (
            "detected", "action_applying", "action_applied", "contained", "action_verified",
            "recovered", "stabilised", "action_reverted", "diagnosing", "closed",
        ):  # fmt: skip
            assert event in events(incident), event
        request = app.serve(1)
        assert request.decisions[0].incident_id is None
