"""A fault inside any part of firedoor leaves the user's call untouched, and is counted."""

import logging

import pytest

import firedoor as fd
from firedoor.shell import ladder

PARTS = {
    "telemetry": [
        ("recorder", "start_call"),
        ("recorder", "end_call"),
        ("recorder", "start_request"),
        ("recorder", "end_request"),
    ],
    "privacy": [("redactor", "redact_text"), ("redactor", "token"), ("redactor", "redact")],
    "extraction": [
        ("extractors", "extract"),
        ("extractors", "extract_retrieval"),
        ("extractors", "reader"),
    ],
    "clock": [("", "now"), ("", "time_ns")],
}


class InjectedFault(RuntimeError):
    """Planted; carries a canary that must not be logged."""


def fail(*args, **kwargs):
    raise InjectedFault("canary-7731")


@pytest.fixture(params=[p for parts in PARTS.values() for p in parts], ids=lambda p: ".".join(p))
def broken(request, make_door, monkeypatch):
    """A door one part of which always raises; a request it should count."""
    owner, name = request.param
    door = make_door(capture="redacted")
    runtime = door._runtime
    target = getattr(runtime, owner) if owner else runtime
    holder = type(target) if owner else target
    monkeypatch.setattr(holder, name, fail)
    return door


def used(door):
    """Every form of use, with the results a user would see without firedoor."""

    @door.llm("answer", model="m")
    def answer(question, *, model):
        return f"{model} {question}"

    @door.llm("stream", model="m")
    def stream(question):
        yield "a"
        yield "b"

    @door.retrieval("kb")
    def search(query):
        return [{"id": "d1", "score": 0.5}]

    @door.tool("divide")
    def divide(a, b):
        return a / b

    with door.request("help", user="ana") as request:
        results = [answer("hi"), list(stream("hi")), search("q"), divide(4, 2)]
        with pytest.raises(ZeroDivisionError):
            divide(1, 0)
        with door.llm("block", model="m") as call:
            call.record("text")
        for attempt in door.llm("loop", model="m").attempts():
            with attempt:
                results.append(attempt.record("text"))
    assert request.id
    return results


EXPECTED = ["m hi", ["a", "b"], [{"id": "d1", "score": 0.5}], 2.0, "text"]


def test_the_call_goes_on_and_the_fault_is_counted(broken, seen, caplog):
    caplog.set_level(logging.DEBUG)
    assert used(broken) == EXPECTED
    points = seen.metric("firedoor.internal.errors")
    assert sum(point.value for point in points) > 0
    assert "canary-7731" not in caplog.text


async def test_async_calls_go_on_as_well(broken):
    @broken.llm("answer", model="m")
    async def answer(question, *, model):
        return f"{model} {question}"

    @broken.llm("stream", model="m")
    async def stream():
        yield "a"
        yield "b"

    async with broken.request("help"):
        assert await answer("hi") == "m hi"
        assert [part async for part in stream()] == ["a", "b"]
        with pytest.raises(TypeError):
            await answer()


def test_a_listener_that_raises_hurts_nobody(door, seen):
    later = []
    door.on_decision(fail)
    door.on_decision(later.append)
    assert door.tool("t")(lambda: 1)() == 1
    assert len(later) == 1
    assert sum(p.value for p in seen.metric("firedoor.internal.errors")) == 1


def test_a_chunk_reader_that_raises_leaves_the_stream_whole(door, seen, monkeypatch):
    reader = type(door.extractors.reader())
    monkeypatch.setattr(reader, "feed", fail)
    monkeypatch.setattr(reader, "result", fail)
    assert list(door.llm("answer")(lambda: iter("abc"))()) == ["a", "b", "c"]
    assert len(seen.decisions) == 1


@pytest.mark.parametrize(
    "part",
    [
        (ladder.Ladder, "climb"),
        (ladder.Ladder, "failed"),
        (ladder.Ladder, "note"),
        (ladder, "admit"),
        (ladder, "release"),
        (ladder, "charge"),
    ],
    ids=lambda part: part[1],
)
def test_a_ladder_that_breaks_lets_the_call_through(door, seen, monkeypatch, part):
    answer = door.llm("answer", tiers=[fd.Tier("m"), fd.Tier("n")], breaker=fd.Breaker())(
        lambda question, *, model: f"{model} {question}"
    )
    monkeypatch.setattr(*part, fail)
    assert answer("hi") == "m hi"
    with pytest.raises(TypeError):
        answer()


@pytest.mark.parametrize(
    "part", [(ladder.Ladder, "climb"), (ladder, "admit")], ids=lambda part: part[1]
)
async def test_async_too(door, monkeypatch, part):
    @door.llm("answer", tiers=[fd.Tier("m"), fd.Tier("n")], breaker=fd.Breaker())
    async def answer(question, *, model):
        return f"{model} {question}"

    monkeypatch.setattr(*part, fail)
    assert await answer("hi") == "m hi"


def test_even_counting_may_fail(make_door, monkeypatch):
    door = make_door()
    monkeypatch.setattr(type(door._runtime.recorder), "internal_error", fail)
    monkeypatch.setattr(type(door._runtime.recorder), "start_call", fail)
    assert door.tool("t")(lambda: 1)() == 1


def test_a_failed_redaction_hides_everything(make_door, seen, monkeypatch):
    door = make_door()
    monkeypatch.setattr(fd.Redactor, "redact_text", fail)

    @door.llm("answer", model="secret-model")
    def answer():
        return "x"

    assert answer() == "x"
    assert all("secret-model" not in str(s.attributes) + s.name for s in seen.spans)
