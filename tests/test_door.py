"""The door: what it takes, what it refuses, how it ends."""

import threading
import uuid
from decimal import Decimal

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import firedoor as fd
from firedoor.testing import FakeClock


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"service": ""}, "name"),
        ({"service": "app", "capture": "all"}, "'none' or 'redacted'"),
        ({"service": "app", "clock": object()}, "FakeClock"),
        ({"service": "app", "redactor": object()}, "fd.Redactor"),
        ({"service": "app", "state": "oracle://x"}, "oracle"),
        ({"service": "app", "tracer_provider": object()}, "tracer_provider"),
        ({"service": None}, "service=None"),
        ({"service": "app", "state": 5}, "state=5.*as text"),
        ({"service": "app", "ledger": 5}, "ledger=5.*as text"),
        ({"service": "app", "enforce": "no"}, "enforce='no'.*True or False"),
        ({"service": "app", "enabled": 0}, "enabled=0.*True or False"),
        ({"service": "app", "loop_guard": 50}, "loop_guard=50.*fd.LoopGuard"),
        ({"service": "app", "budgets": fd.Budget(usd=5)}, r"budgets=Budget: give a list"),
        ({"service": "app", "notify": fd.notify.Log()}, r"notify=Log: give a list"),
    ],
    ids=lambda v: next(reversed(v)) if isinstance(v, dict) else "",
)
def test_a_value_that_cannot_work_is_refused_with_the_remedy(given, words):
    with pytest.raises(fd.ConfigurationError, match=words):
        fd.Firedoor(**given)


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"breaker": 0.5}, r"breaker=0.5.*fd.Breaker"),
        ({"limiter": 64}, r"limiter=64.*fd.Limiter"),
        ({"budgets": [50]}, r"budgets=50.*fd.Budget"),
        ({"policies": [str.isupper]}, r"@door.policy"),
        ({"tiers": ["gpt-5"]}, r"fd.Tier"),
        ({"hedge": 2.0, "side_effect_free": True}, r"fd.Hedge"),
        ({"budgets": fd.Budget(usd=5)}, r"budgets=Budget: give a list"),
        ({"tiers": fd.Tier("gpt-5")}, r"tiers=Tier: give a list"),
        ({"policies": fd.policies.MaxLength(5, on="input")}, r"policies=MaxLength: give a list"),
        ({"model": 5}, r"model=5.*as text"),
        ({"prompt": ""}, r"prompt=''.*as text"),
        ({"provider": True}, r"provider=True.*as text"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_what_is_no_gate_is_refused_as_the_route_is_made(gate, words):
    with fd.Firedoor("app") as door, pytest.raises(fd.ConfigurationError, match=words):
        door.llm("answer", **gate)


def test_what_comes_from_an_iterator_is_all_there():
    door = fd.Firedoor("app")
    door.llm("answer", model="m", budgets=(fd.Budget(calls=n, name=f"b{n}") for n in (1, 2)))
    assert set(door.snapshot()["budgets"]["budgets"]) == {"llm:answer/b1", "llm:answer/b2"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"journey": ""}, "name the journey"),
        ({"journey": None}, "name the journey"),
        ({"journey": "a", "deadline": "20"}, "deadline='20'.*a number"),
        ({"journey": "a", "deadline": float("nan")}, "deadline=nan.*a number"),
    ],
)
def test_a_request_that_cannot_be_is_refused_with_the_remedy(given, words):
    with pytest.raises(fd.ConfigurationError, match=words):
        fd.Firedoor("app").request(**given)


def test_the_applications_own_ids_are_kept_whatever_they_are():
    door = fd.Firedoor("app")
    id_ = uuid.uuid4()
    assert door.request("a", id=id_).id == str(id_)
    assert door.request("a", id=17).id == "17"


def test_a_deadline_may_be_any_number(make_door):
    clock = FakeClock()
    door = make_door(clock=clock)
    with door.request("a", deadline=Decimal("2.5")) as request:
        assert request.deadline == 2.5
        with door.request("b", deadline=float("inf")) as inner:
            assert inner.deadline == 2.5
    with door.request("a", deadline=float("inf")) as request:
        assert request.deadline is None


@pytest.mark.parametrize("listens", ["on_decision", "on_threshold"])
def test_a_listener_that_would_never_run_is_refused(listens):
    async def listener(told):
        raise AssertionError(told)

    for given in (listener, None):
        with pytest.raises(fd.ConfigurationError, match="not async"):
            getattr(fd.Firedoor("app"), listens)(given)


def test_an_empty_variable_is_none(monkeypatch):
    for name in ("STATE", "LEDGER", "CAPTURE", "ENFORCE", "DISABLED", "SWITCHES_FILE"):
        monkeypatch.setenv(f"FIREDOOR_{name}", "")
    assert fd.Firedoor("app").state_url == "memory://"


def test_one_grant_may_be_given_by_itself():
    with fd.Firedoor("app") as door:
        assert door.request("help", grants="orders:refund").grants == {"orders:refund"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("FIREDOOR_CAPTURE", "all"), ("FIREDOOR_ENFORCE", "perhaps"), ("FIREDOOR_STATE", "x://")],
)
def test_a_bad_environment_is_refused_by_its_name(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(fd.ConfigurationError, match=name):
        fd.Firedoor("app")


def test_a_switch_set_in_one_door_acts_in_another_through_the_state(tmp_path):
    state = f"sqlite:///{tmp_path}/state.db"
    with fd.Firedoor("one", state=state) as one, fd.Firedoor("two", state=state) as two:
        answer = two.llm("answer", model="big")(lambda *, model: model)
        heard = threading.Event()
        two.switches.subscribe(lambda *_: heard.set())
        one.switches.alias("big", "small", reason="drill", actor="ana")
        assert heard.wait(10)
        assert answer() == "small"


def test_works_with_no_sdk_configured():
    door = fd.Firedoor("app")
    decisions = []
    door.on_decision(decisions.append)
    with door.request("help"):
        assert door.llm("answer", model="m")(lambda: "hi")() == "hi"
    assert decisions[0].outcome == "answered"
    assert decisions[0].trace_id is None
    door.flush()
    door.close()


def test_flush_has_the_providers_send_what_they_hold():
    out = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(out))
    with fd.Firedoor("app", tracer_provider=provider) as door:
        door.tool("t")(lambda: 1)()
        door.flush()
        assert len(out.get_finished_spans()) == 1
    provider.shutdown()


def test_guarded_functions_go_on_working_after_close():
    door = fd.Firedoor("app")
    guarded = door.tool("t")(lambda: 1)
    door.close()
    assert guarded() == 1


def test_a_snapshot_is_plain_data():
    door = fd.Firedoor("app", enforce=False)
    door.llm("answer", breaker=fd.Breaker(), limiter=fd.Limiter())(lambda: "hi")()
    snapshot = door.snapshot()
    assert snapshot["enforce"] is False
    assert "llm:answer/answer" in snapshot["breakers"]
    assert "llm:answer/answer" in snapshot["limiters"]
    door.close()
