"""What is told of an incident: one trace, a span for each state, events, and metrics."""

import json
from dataclasses import replace

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from firedoor.core import lifecycle
from firedoor.core.incident import ActionRecord, ActionState, AlertRecord
from firedoor.incidents.book import Incidents
from firedoor.ledger import MemoryLedger
from firedoor.telemetry.recorder import Recorder
from firedoor.testing import FakeClock
from support.records import incident

ALERT = AlertRecord("refusals-up", "refusal_rate", "help", value=0.3, baseline=0.02, why="up")
ACTION = ActionRecord("a" * 12, "safe_mode", "safe mode on help", state=ActionState.APPLIED)


@pytest.fixture
def logs():
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


@pytest.fixture
def told(seen, logs):
    return Recorder(
        tracer_provider=seen.tracer_provider,
        meter_provider=seen.meter_provider,
        logger_provider=logs[0],
        service="shop",
    ).incidents


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def book(told, clock):
    made = Incidents(service="shop", clock=clock)
    made.subscribe(told.changed)
    return made


def opened(book, clock, **fields):
    now = book.time()
    return book.open(
        incident("", service="", version=0, first_bad_at=now - 20, detected_at=now, **fields), "k"
    )


def sums(seen, name, *keys):
    return {
        tuple(point.attributes.get(key) for key in keys): point.value for point in seen.metric(name)
    }


def test_a_life_is_one_trace_with_a_span_for_each_state(book, clock, seen):
    one = opened(book, clock)
    for step in ("contain", "stabilise", "diagnose"):
        clock.advance(60)
        getattr(one, step)(f"{step} it", actor="ana")
    clock.advance(60)
    one.close(waiver="a drill", owner="ana", recovered="looked", actor="bo")
    assert [span.name for span in seen.spans] == [
        "firedoor.incident open",
        "firedoor.incident contained",
        "firedoor.incident stabilised",
        "firedoor.incident diagnosing",
    ]
    assert len({span.context.trace_id for span in seen.spans}) == 1
    assert {(s.end_time - s.start_time) / 1e9 for s in seen.spans} == {60.0}
    first = seen.spans[0].attributes
    assert first["firedoor.incident.id"] == one.id
    assert first["firedoor.incident.class"] == "quality_regression"
    assert first["firedoor.incident.state"] == "open"
    assert first["firedoor.incident.actor"] == "ana"
    assert first["firedoor.incident.reason"] == "contained: contain it"
    assert seen.spans[-1].attributes["firedoor.incident.actor"] == "bo"


def test_metrics_count_states_and_time_the_steps(book, clock, seen):
    one = opened(book, clock)
    clock.advance(40)
    one.contain()
    book.update(one.id, lambda r: lifecycle.recover(r, now=book.time() + 30))
    assert sums(
        seen, "firedoor.incidents", "firedoor.incident.class", "firedoor.incident.state"
    ) == {("quality_regression", "open"): 1, ("quality_regression", "contained"): 1}
    for name, seconds in (("detect", 20), ("contain", 60), ("recover", 90)):
        (point,) = seen.metric(f"firedoor.incident.time_to_{name}")
        assert point.sum == pytest.approx(seconds)
        assert dict(point.attributes) == {
            "firedoor.incident.class": "quality_regression",
            "firedoor.incident.severity": "SEV2",
            "firedoor.journey": "help",
        }


def test_no_id_is_a_metrics_attribute(book, clock, seen):
    one = opened(book, clock)
    book.update(one.id, lambda r: lifecycle.act(r, ACTION, now=1.0))
    one.contain()
    for resource in seen.reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    assert one.id not in point.attributes.values()


def test_events_tell_of_states_actions_and_alerts(book, clock, told, logs):
    one = opened(book, clock)
    book.update(one.id, lambda r: lifecycle.act(r, ACTION, now=1.0))
    one.contain("held", actor="ana")
    told.alert_changed("refusals-up", "firing", signal="refusal_rate", value=0.3, reason="up")
    records = [log.log_record for log in logs[1].get_finished_logs()]
    assert [record.event_name for record in records] == [
        "firedoor.incident.state_changed",
        "firedoor.action.state_changed",
        "firedoor.incident.state_changed",
        "firedoor.alert.state_changed",
    ]
    assert [record.severity_text for record in records] == ["WARN", "INFO", "INFO", "INFO"]
    assert records[2].attributes["firedoor.incident.state"] == "contained"
    assert records[2].attributes["firedoor.incident.reason"] == "contained: held"
    assert len({record.trace_id for record in records[:3]}) == 1


def test_alert_transitions_are_counted(told, seen):
    for state in ("pending", "firing", "firing"):
        told.alert_changed("refusals-up", state, journey="help")
    counted = sums(
        seen, "firedoor.alert.transitions", "firedoor.alert.name", "firedoor.alert.state"
    )
    assert counted == {("refusals-up", "pending"): 1, ("refusals-up", "firing"): 2}


def test_a_firing_that_is_over_is_a_span(book, clock, seen):
    now = book.time()
    one = opened(book, clock, alerts=(replace(ALERT, since=now - 20, fired_at=now),))
    clock.advance(100)
    now = book.time()
    book.update(one.id, lambda r: lifecycle.recovered_alert(r, ALERT.name, journey="help", now=now))
    (span,) = seen.spans
    assert span.name == "firedoor.alert refusals-up"
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(120.0)
    assert span.attributes["firedoor.alert.signal"] == "refusal_rate"
    assert span.attributes["firedoor.alert.value"] == 0.3


def test_actions_are_counted_by_the_state_they_come_to(book, clock, seen):
    one = opened(book, clock, actions=(replace(ACTION, state=ActionState.APPLYING),))
    for state in (ActionState.APPLIED, ActionState.VERIFIED):
        book.update(one.id, lambda r, s=state: lifecycle.act(r, replace(ACTION, state=s), now=1.0))
    assert sums(seen, "firedoor.actions", "firedoor.action.state") == {
        ("applying",): 1,
        ("applied",): 1,
        ("verified",): 1,
    }


def test_what_the_command_line_did_is_told_once_by_the_first_to_see_it(told, seen, clock):
    ledger = MemoryLedger()
    app, other = (Incidents(ledger, service="shop", clock=clock) for _ in range(2))
    app.subscribe(told.changed)
    other.subscribe(told.changed)
    typed = Incidents(ledger, clock=clock)
    one = opened(app, clock)
    clock.advance(30)
    typed.get(one.id).contain("by hand", actor="ana")
    typed.get(one.id).stabilise(actor="ana")
    assert seen.spans == ()
    for _ in range(2):
        app.refresh()
        other.refresh()
    assert [span.name for span in seen.spans] == [
        "firedoor.incident open",
        "firedoor.incident contained",
    ]
    assert sums(seen, "firedoor.incidents", "firedoor.incident.state") == {
        ("open",): 1,
        ("contained",): 1,
        ("stabilised",): 1,
    }
    typed.get(one.id).diagnose()
    typed.get(one.id).close(waiver="w", owner="o", recovered="r")
    app.refresh()
    other.refresh()
    assert len(seen.spans) == 4


def test_open_again_ends_the_span_of_the_state_it_was_in(book, clock, seen):
    one = opened(book, clock)
    one.contain()
    clock.advance(60)
    book.update(one.id, lambda r: lifecycle.relapse(r, "expired", now=book.time()))
    clock.advance(60)
    one.contain()
    names = [span.name for span in seen.spans]
    assert names == [
        "firedoor.incident open",
        "firedoor.incident contained",
        "firedoor.incident open",
    ]
    assert (seen.spans[2].end_time - seen.spans[2].start_time) / 1e9 == pytest.approx(60.0)


def test_evidence_is_json_text(book, clock, seen):
    from firedoor.types import Evidence

    one = opened(book, clock, evidence=(Evidence("refusal_rate", 0.3, 0.02, 0.8, 120),))
    one.contain()
    (evidence,) = json.loads(seen.spans[0].attributes["firedoor.incident.evidence"])
    assert (evidence["signal"], evidence["value"], evidence["baseline"]) == (
        "refusal_rate",
        0.3,
        0.02,
    )
