"""The loop, by the public names only: decisions → alert → incident → action → recovery → closed."""

import random

import pytest

import firedoor as fd
from firedoor.testing import FakeClock

JOURNEY = "checkout-help"


def said(text, *, refusal=None, model="gpt-5"):
    """What a provider answers, as plain values."""
    return {
        "id": "x",
        "object": "chat.completion",
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text, "refusal": refusal},
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


class App:
    """A small application whose first model can begin to refuse."""

    def __init__(self, clock, *, seed=1, **door):
        self.clock = clock
        self.rng = random.Random(seed)
        self.refusing: dict[str, float] = {}
        self.failing: dict[str, float] = {}
        self.models: list[str] = []
        self.door = fd.Firedoor("shop", clock=clock, **door)

        @self.door.llm(
            "answer",
            tiers=[fd.Tier("gpt-5"), fd.Tier("gpt-5-mini"), fd.Canned("Later, please.")],
            prompt="answer",
        )
        def answer(question, *, model=fd.ROUTED):
            self.models.append(model)
            if self.rng.random() < self.failing.get(model, 0.0):
                raise ConnectionError("provider is down")
            if self.rng.random() < self.refusing.get(model, 0.0):
                return said(None, refusal="I can't help with that.", model=model)
            return said("It is on its way.", model=model)

        self.answer = answer

    def serve(self, seconds, *, journey=JOURNEY, rate=1):
        """`rate` requests a second for so long; the last one."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            for _ in range(rate):
                last = self.door.request(journey)
                with last:
                    self.answer("where is my order?")
        return last


def refusals(**kwargs):
    return fd.Alert(
        **{
            "name": "refusals-up",
            "signal": "refusal_rate",
            "journey": JOURNEY,
            "rule": fd.rules.Above(0.2, window=300, minimum=50),
            "incident_class": "quality_regression",
            "first_action": fd.actions.SwitchAlias("gpt-5", "gpt-5-mini", ttl="30m"),
            **kwargs,
        }
    )


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def app(clock):
    app = App(clock)
    yield app
    app.door.close()


def events(incident):
    return [entry.event for entry in incident.timeline]


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
