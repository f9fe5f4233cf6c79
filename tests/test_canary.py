"""No leak: a secret of every kind, planted in every place a string can hide, leaves nowhere.

Everything that is exported or logged is searched: spans (also as OTLP bytes), metrics, decisions,
log records. With `capture="none"` no text may appear at all; with `"redacted"` the text does and
the secrets do not.
"""

import json
import logging

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

import firedoor as fd

SECRETS = {
    "email": "maria.kowalska@mail.example.org",
    "phone": "+1 (415) 555-0132",
    "card": "4111 1111 1111 1111",
    "iban": "DE89370400440532013000",
    "us_ssn": "536-90-4399",
    "uk_nino": "AB 12 34 56 C",
    "ipv4": "203.0.113.77",
    "ipv6": "2001:db8:85a3::8a2e:370:7334",
    "mac": "00:1B:44:11:3A:B7",
    "url_credentials": "https://bob:hunter2swordfish@db.example.com/x",
    "aws_access_key": "AKIAIOSFODNN7EXAMPLQ",
    "gcp_api_key": "AIzaSyA1bC2dE3fG4hI5jK6lM7nO8pQ9rS0tU1v",
    "github_token": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "slack_token": "xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx",
    "stripe_key": "sk_live_4eC39HqLyjWDarjtT1zdp7dcAb",
    "openai_key": "sk-proj-Zk3vQ9xT7bL2mN8pR4wY6cF1hJ5kD0aS",
    "anthropic_key": "sk-ant-api03-Zk3vQ9xT7bL2mN8pR4wY6cF1hJ5kD0aSqW3eR5tY7uI9oP1aS2dF4gH6jK8",
    "jwt": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"),
    "pem": (
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n"
        "-----END PRIVATE KEY-----"
    ),
    "password": "password=Tr0ub4dor&3xK9zLqP2",
}
# The part whose presence anywhere is a leak.
NEEDLES = {
    **SECRETS,
    "pem": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7",
    "password": "Tr0ub4dor&3xK9zLqP2",
    "url_credentials": "hunter2swordfish",
}


@pytest.fixture(params=["none", "redacted"])
def capture(request):
    return request.param


@pytest.fixture
def leaks(seen, caplog):
    """Everything that left, searched for one needle."""
    caplog.set_level(logging.DEBUG)

    def search(needle):
        assert seen.decisions
        everything = {
            "spans": "".join(span.to_json() for span in seen.spans),
            "otlp": encode_spans(seen.spans).SerializeToString().decode("latin-1"),
            "metrics": seen.reader.get_metrics_data().to_json(),
            "decisions": json.dumps([d.to_dict() for d in seen.decisions], ensure_ascii=False),
            "reprs": repr(seen.decisions),
            "logs": caplog.text,
        }
        escaped = json.dumps(needle)[1:-1]
        return [where for where, text in everything.items() if needle in text or escaped in text]

    return search


def plant(door, secret):
    """Use firedoor in every way with `secret` in every place."""

    @door.llm("answer", model="m")
    def answer(messages, *, model, temperature=None, stop=None, user=None, response_format=None):
        return {
            "id": f"chatcmpl-{secret}",
            "object": "chat.completion",
            "model": f"m-{secret}",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": secret,
                    "message": {
                        "role": "assistant",
                        "content": f"Of course: {secret}.",
                        "tool_calls": [
                            {
                                "id": f"call_{secret}",
                                "type": "function",
                                "function": {"name": f"send {secret}", "arguments": secret},
                            }
                        ],
                    },
                }
            ],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
        }

    @door.llm("fail")
    def fail(text):
        error = RuntimeError(f"provider said {secret}")
        error.add_note(f"while handling {secret}")
        raise error from ValueError(f"caused by {secret}")

    @door.llm("odd")
    def odd():
        return type(f"Odd{secret}", (), {"__repr__": lambda self: secret})()

    @door.retrieval("kb", depth="k")
    def search(query, *, k=3):
        return [
            {"id": f"doc {secret}", "score": 0.5, "text": secret, "metadata": {secret: secret}},
            {"id": secret, "score": 0.4},
        ]

    @door.tool("send")
    def send(**arguments):
        return {secret: [secret, {secret: secret}]}

    token = context.attach(baggage.set_baggage("note", secret))
    try:
        with door.request("help", id=f"r-{secret}", user=secret, tenant=secret):
            answer(
                [{"role": "user", "content": f"My data: {secret}", secret: secret}],
                temperature=0.1,
                stop=[secret],
                user=secret,
                response_format={"type": secret},
            )
            search(secret)
            send(to=secret, **{secret: secret})
            odd()
            with pytest.raises(RuntimeError):
                fail(secret)
            with door.llm("block", model=secret) as call:
                call.record(secret)
    finally:
        context.detach(token)
    with pytest.raises(KeyError), door.request(f"journey {secret}"):
        raise KeyError(secret)


@pytest.mark.parametrize("kind", SECRETS)
def test_a_planted_secret_leaves_nowhere(make_door, leaks, capture, kind):
    plant(make_door(capture=capture), SECRETS[kind])
    assert leaks(NEEDLES[kind]) == []


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_cut_into_chunks_at_any_place_leaves_nowhere(make_door, leaks, capture, kind):
    door = make_door(capture=capture)
    secret = SECRETS[kind]

    @door.llm("answer", model="m")
    def answer(cut):
        yield "Here it is: "
        yield secret[:cut]
        yield secret[cut:]
        yield " and that is all."

    for cut in range(len(secret) + 1):
        assert "".join(answer(cut)) == f"Here it is: {secret} and that is all."
    assert leaks(NEEDLES[kind]) == []


@pytest.mark.parametrize("kind", SECRETS)
def test_what_checks_and_users_say_of_an_answer_leaves_nowhere(make_door, leaks, capture, kind):
    secret = SECRETS[kind]
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    door = make_door(capture=capture, logger_provider=provider)

    def fails(answer, context):
        raise RuntimeError(secret)

    door.check("groundedness")
    door.check("told", lambda answer, context: fd.Score(0.1, explanation=secret))
    door.check("fails", fails)
    plant(door, secret)
    with door.request("help", id=f"r-{secret}") as request:
        with door.llm("answer", model="m") as call:
            call.record(f"The code is {secret}, and the gate opens at nine in the evening.")
        request.feedback(0.0, comment=secret)
    door.feedback(f"r-{secret}", 0.0, comment=secret)
    door.flush()
    needle = NEEDLES[kind]
    assert leaks(needle) == []
    records = [data.log_record for data in exporter.get_finished_logs()]
    names = {record.event_name for record in records}
    assert {"gen_ai.evaluation.result", "firedoor.decision"} <= names
    told = "".join(f"{record.body}{dict(record.attributes)}" for record in records)
    assert needle not in told
    assert needle not in json.dumps(door.checks)
    provider.shutdown()


def test_without_capture_no_text_leaves_at_all(make_door, leaks):
    plant(make_door(capture="none"), "plain-harmless-words")
    door_texts = ["My data:", "Of course:", "provider said", "caused by", "while handling"]
    assert [text for text in door_texts if leaks(text)] == []


def test_with_capture_the_text_leaves_redacted(make_door, seen):
    plant(make_door(capture="redacted"), SECRETS["email"])
    decision = next(d for d in seen.decisions if d.route == "llm:answer")
    assert "My data: <email:" in decision.input_text
    assert "Of course: <email:" in decision.output_text


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("padding", [0, 490])
def test_what_people_write_about_an_incident_leaves_nowhere(  # noqa: PLR0917
    make_door, seen, tmp_path, caplog, kind, padding
):
    """In the ledger's file, spans, events, metrics, messages: also where a long text is cut."""
    caplog.set_level(logging.DEBUG)
    logs = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(logs))
    file = tmp_path / "incidents.db"
    door = make_door(ledger=f"sqlite:///{file}", logger_provider=provider, notify=[fd.notify.Log()])
    needle, secret = NEEDLES[kind], "x " * (padding // 2) + SECRETS[kind]
    one = door.incidents.open(fd.IncidentRecord("", "", title=secret, why=secret), "k")
    one.contain(secret, actor=secret)
    one.stabilise(secret)
    one.diagnose(secret)
    one.note(secret)
    one.assign(secret)
    one.add_finding(fd.Finding(secret, owner=secret, waiver=secret))
    one.close([fd.Finding(secret, probe="p")], waiver=secret, recovered=secret)
    door.flush()
    everything = {
        "ledger": b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode("latin-1"),
        "spans": "".join(span.to_json() for span in seen.spans),
        "metrics": seen.reader.get_metrics_data().to_json(),
        "events": "".join(log.to_json() for log in logs.get_finished_logs()),
        "messages": caplog.text,
    }
    assert "Closed:" in everything["messages"]
    assert "firedoor.incident.reason" in everything["events"]
    # Also the beginning of it: a text that is cut before it is redacted shows half a secret.
    for part in (needle, json.dumps(needle)[1:-1], needle[: max(8, len(needle) // 2)]):
        assert [where for where, text in everything.items() if part in text] == []
    provider.shutdown()


def test_links_and_events_of_other_spans_are_redacted_by_the_exporter(seen, tmp_path):
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    out = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(fd.RedactingSpanExporter(out, fd.Redactor())))
    tracer = provider.get_tracer("someone-else")
    for secret in SECRETS.values():
        other = tracer.start_span("other")
        link = trace.Link(other.get_span_context(), {"note": secret, secret: "x"})
        with (
            pytest.raises(ValueError),
            tracer.start_as_current_span(f"GET {secret}", links=[link]) as span,
        ):
            span.set_attribute("q", secret)
            span.set_attribute(secret, [secret, "x"])
            span.add_event(f"event {secret}", {"body": secret})
            span.set_status(trace.StatusCode.ERROR, f"bad {secret}")
            raise ValueError(secret)
        other.end()
    text = "".join(span.to_json() for span in out.get_finished_spans())
    for needle in NEEDLES.values():
        assert needle not in text
        assert json.dumps(needle)[1:-1] not in text
    provider.shutdown()
