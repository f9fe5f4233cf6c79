"""What users say of requests counts where their answers came from."""

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

import firedoor as fd


@pytest.fixture
def serve(door):
    @door.llm("answer", model="gpt-5")
    def answer():
        return "42"

    def run(**kwargs):
        with door.request("help", **kwargs) as request:
            answer()
        return request

    return run


def rate(door, **where):
    sample = door.signals.read("negative_feedback_rate", **where)
    return sample.total, sample.size


def test_feedback_counts_for_the_journey_route_and_alias_of_the_answer(door, serve):
    serve().feedback(score=0.0)
    serve().feedback(score=1.0)
    serve().feedback(0.5)
    assert rate(door, journey="help", route="llm:answer", alias="gpt-5") == (1, 3)
    assert rate(door, journey="other") == (0, 0)


def test_feedback_may_come_while_the_request_runs(door):
    with door.request("help") as request:
        request.feedback(0.0)
    assert rate(door, journey="help") == (1, 1)


def test_feedback_may_come_later_by_the_requests_own_id(door, serve):
    serve(id="order-77")
    assert door.feedback("order-77", 0.0) is True
    assert rate(door, journey="help", route="llm:answer") == (1, 1)


def test_feedback_on_an_unknown_request_counts_for_the_whole_door(door):
    assert door.feedback("nobody", 0.0) is False
    assert rate(door) == (1, 1)
    assert rate(door, journey="help") == (0, 0)


def test_the_oldest_requests_are_forgotten(door, serve, monkeypatch):
    monkeypatch.setattr("firedoor.incidents.feedback._REMEMBERED", 3)
    ids = [serve().id for _ in range(5)]
    assert [door.feedback(name, 1.0) for name in ids] == [False, False, True, True, True]


def test_feedback_on_probe_traffic_does_not_count(door, serve):
    request = serve(synthetic=True)
    request.feedback(0.0)
    door.feedback(request.id, 0.0)
    assert rate(door) == (0, 0)


@pytest.mark.parametrize("score", [-0.1, 1.1, "good", None, float("nan")])
def test_a_score_is_between_bad_and_good(door, serve, score):
    with pytest.raises(fd.ConfigurationError, match="0 .bad. to 1 .good."):
        serve().feedback(score)


@pytest.mark.parametrize(("capture", "kept"), [("none", False), ("redacted", True)])
def test_a_comment_leaves_only_captured_and_redacted(make_door, capture, kept):
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    door = make_door(logger_provider=provider, capture=capture)
    with door.request("help") as request:
        pass
    request.feedback(0.0, comment="wrong, write to ana@example.com")
    (event,) = [
        data.log_record
        for data in exporter.get_finished_logs()
        if data.log_record.event_name == "gen_ai.evaluation.result"
    ]
    told = event.attributes
    assert told["gen_ai.evaluation.name"] == "user_feedback"
    assert told["gen_ai.evaluation.score.label"] == "negative"
    assert ("gen_ai.evaluation.explanation" in told) is kept
    assert "ana@example.com" not in str(told)
    provider.shutdown()
