"""Checks score answers off the user's path, and say what they did not look at."""

import asyncio
import gc
import threading
import weakref

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

import firedoor as fd
from firedoor.records import OpenDecision
from firedoor.testing import FakeClock
from support.waiting import until

SOURCE = {
    "id": "kb-7",
    "text": "Parcels within Germany take two days. Returns are free for 30 days.",
}


@pytest.fixture
def events():
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


@pytest.fixture
def evaluations(events):
    def read(name=None):
        records = [data.log_record for data in events[1].get_finished_logs()]
        found = [r for r in records if r.event_name == "gen_ai.evaluation.result"]
        return [r for r in found if name is None or r.attributes["gen_ai.evaluation.name"] == name]

    return read


class App:
    """An application that answers what it is told to."""

    def __init__(self, door, says="Parcels take two days.", finds=(SOURCE,)):
        self.door = door
        self.says = says
        self.finds = list(finds)

        @door.retrieval("kb")
        def search(query):
            return self.finds

        @door.llm("answer", model="gpt-5")
        def answer(messages):
            return self.says

        @door.tool("order_status")
        def status(number):
            return {"number": number, "arrives": "Friday", "carrier": "Hermes"}

        self.search, self.answer, self.status = search, answer, status

    def serve(self, question="How long do parcels take?", *, search=True, **kwargs):
        with self.door.request("help", **kwargs) as request:
            if search:
                self.search(question)
            self.answer([{"role": "user", "content": question}])
        return request


@pytest.fixture
def app(door):
    return App(door)


def counts(door, name):
    return {k: v for k, v in door.checks[name].items() if k not in {"last", "mean"} and v}


# What a check gets ------------------------------------------------------------------------------


def test_a_check_sees_the_answer_the_question_and_what_the_request_retrieved(door, app):
    seen = []
    door.check("tone", lambda answer, context: seen.append((answer, context)) or 0.8)
    with door.request("help"):
        app.search("parcels")
        app.status("4711")
        app.answer(
            [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "When?"}]
        )
    door.flush()
    ((answer, context),) = seen
    assert answer == "Parcels take two days."
    assert context.question == "When?"
    assert context.documents == ("kb-7\n" + SOURCE["text"],)
    assert "Hermes" in context.tool_results[0]
    assert context.prompt == ("Be kind.",)
    assert context.decision.route == "llm:answer"
    assert door.signals.read("tone", journey="help", route="llm:answer", alias="gpt-5").value == 0.8


def test_documents_are_those_of_the_nearest_request_that_looked_for_some(door, app):
    seen = []
    door.check("sources", lambda answer, context: seen.append(context.documents) or 1.0)
    with door.request("batch"):
        for number in range(3):
            app.finds = [{"id": f"d{number}", "text": f"text {number}"}]
            with door.request("help"):
                app.search("?")
                with door.request("summary"):
                    app.answer("?")
    door.flush()
    assert seen == [(f"d{n}\ntext {n}",) for n in range(3)]


@pytest.mark.parametrize("shape", ["call", "async", "stream", "async stream"])
async def test_answers_of_every_shape_are_checked(door, shape):
    seen = []
    door.check("length", lambda answer, context: seen.append(answer) or 1.0)

    @door.llm("answer")
    def call():
        return "all of it"

    @door.llm("answer")
    async def acall():
        return "all of it"

    @door.llm("answer")
    def stream():
        yield from ("all ", "of it")

    @door.llm("answer")
    async def astream():
        for piece in ("all ", "of it"):
            yield piece

    match shape:
        case "call":
            call()
        case "async":
            await acall()
        case "stream":
            list(stream())
        case _:
            [piece async for piece in astream()]
    door.flush()
    assert seen == ["all of it"]


def test_answers_nobody_finished_reading_or_that_failed_are_not_checked(door):
    seen = []
    door.check("any", lambda answer, context: seen.append(answer) or 1.0)

    @door.llm("answer")
    def stream():
        yield "one"
        yield "two"

    left = stream()
    next(left)
    left.close()

    @door.llm("broken")
    def broken():
        yield "one"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        list(broken())
    door.flush()
    assert seen == []


def test_probe_traffic_is_not_checked(door, app):
    seen = []
    door.check("any", lambda answer, context: seen.append(answer) or 1.0)
    app.serve(synthetic=True)
    door.flush()
    assert seen == []


def test_only_the_routes_asked_for_are_checked(door, app):
    seen = []
    door.check("any", lambda a, c: seen.append(c.decision.route) or 1.0, routes=["llm:other"])
    app.serve()

    @door.llm("other")
    def other():
        return "x"

    other()
    door.flush()
    assert seen == ["llm:other"]


# What it may answer ------------------------------------------------------------------------------


def test_an_async_check_is_awaited(door, app):
    async def tone(answer, context):
        await asyncio.sleep(0)
        return True

    door.check("tone", tone)
    app.serve()
    door.flush()
    assert door.checks["tone"]["mean"] == 1.0


def test_claims_are_told_in_the_event_as_a_child_of_the_answers_span(
    make_door, events, evaluations, seen
):
    door = make_door(logger_provider=events[0])
    app = App(door)
    door.check(
        "facts", lambda a, c: fd.Score(0.25, claims=4, unsupported=3, explanation="secret words")
    )
    app.serve()
    door.flush()
    (event,) = evaluations("facts")
    assert event.attributes["gen_ai.evaluation.score.value"] == 0.25
    assert event.attributes["gen_ai.evaluation.score.label"] == "fail"
    assert event.attributes["gen_ai.evaluation.explanation"] == "3 of 4 claims unsupported"
    span = next(span for span in seen.spans if span.name == "chat gpt-5")
    assert (event.trace_id, event.span_id) == (span.context.trace_id, span.context.span_id)


def test_an_explanation_leaves_only_captured_and_redacted(make_door, events, evaluations):
    door = make_door(logger_provider=events[0], capture="redacted")
    app = App(door)
    door.check("facts", lambda a, c: fd.Score(0.1, explanation="ana@example.com said so"))
    app.serve()
    door.flush()
    (event,) = evaluations("facts")
    assert event.attributes["gen_ai.evaluation.explanation"].startswith("<email:")


def test_not_applicable_is_no_score(door, app, seen):
    door.check("facts", lambda answer, context: None)
    app.serve()
    door.flush()
    assert counts(door, "facts") == {"not_applicable": 1}
    assert door.signals.read("facts").size == 0


@pytest.mark.parametrize("answer", [2.0, -0.1, float("nan"), "good", [1.0]])
def test_what_is_no_score_is_an_error_and_never_a_pass(door, app, answer):
    door.check("odd", lambda a, c: answer)
    app.serve()
    door.flush()
    assert counts(door, "odd") == {"errored": 1}
    assert door.signals.read("odd").size == 0


def test_a_check_that_raises_is_counted_and_the_next_one_runs(door, app, seen):
    def fails(answer, context):
        raise TimeoutError("its own")

    door.check("bad", fails)
    door.check("good", lambda answer, context: 1.0)
    app.serve()
    door.flush()
    assert counts(door, "bad") == {"errored": 1}
    assert counts(door, "good") == {"scored": 1}
    points = {
        (p.attributes["firedoor.check.name"], p.attributes["firedoor.check.status"]): p.value
        for p in seen.metric("firedoor.check.results")
    }
    assert points == {("bad", "errored"): 1, ("good", "scored"): 1}


# Limits -------------------------------------------------------------------------------------------


def test_a_check_that_hangs_is_left_behind(make_door):
    clock = FakeClock()
    door = make_door(clock=clock)
    app = App(door)
    release = threading.Event()
    door.check("slow", lambda answer, context: release.wait() and 1.0, timeout=2.0)
    app.serve()
    until(lambda: clock.sleeping)
    clock.advance(2.0)
    door.flush()
    assert counts(door, "slow") == {"timed_out": 1}
    assert door.signals.read("slow").size == 0
    release.set()


def test_an_async_check_that_hangs_is_cancelled(make_door):
    clock = FakeClock()
    door = make_door(clock=clock)
    app = App(door)
    cancelled = threading.Event()

    async def slow(answer, context):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    door.check("slow", slow, timeout=2.0)
    app.serve()
    until(lambda: clock.sleeping)
    clock.advance(2.0)
    door.flush()
    assert cancelled.wait(10)
    assert counts(door, "slow") == {"timed_out": 1}


def test_a_full_queue_skips_and_says_so(door, app):
    release = threading.Event()
    begun = threading.Event()

    def slow(answer, context):
        begun.set()
        release.wait()
        return 1.0

    door.check("slow", slow, timeout=60)
    app.serve()
    assert begun.wait(10)
    for _ in range(300):
        app.serve()
    assert door.checks["slow"]["waiting"] == 256
    assert door.checks["slow"]["skipped"] == 44
    release.set()
    door.flush()
    assert counts(door, "slow") == {"scored": 257, "skipped": 44}


def test_a_budget_of_runs_is_kept_and_renewed(make_door):
    clock = FakeClock()
    door = make_door(clock=clock)
    app = App(door)
    door.check("judge", lambda a, c: 1.0, budget=fd.Budget(calls=3, per=3600.0))
    for _ in range(5):
        app.serve()
    door.flush()
    assert counts(door, "judge") == {"scored": 3, "skipped": 2}
    clock.advance(3600)
    app.serve()
    door.flush()
    assert counts(door, "judge") == {"scored": 4, "skipped": 2}


def test_a_budget_of_dollars_counts_what_a_check_says_and_what_it_spends_through_the_door(
    make_door,
):
    door = make_door(prices={"judge-model": (1.0, 1.0)})
    app = App(door)

    @door.llm("judge", model="judge-model")
    def judge(text):
        return {
            "choices": [{"message": {"content": "1"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 300_000, "completion_tokens": 0},
        }

    def check(answer, context):
        judge(answer)
        return fd.Score(1.0, cost_usd=0.3)

    door.check("judge", check, budget=fd.Budget(usd="1.00", per="day"), routes=["llm:answer"])
    for _ in range(4):
        app.serve()
    door.flush()
    assert counts(door, "judge") == {"scored": 2, "skipped": 2}


def test_what_a_check_asks_of_the_door_is_in_no_signal_and_not_checked_itself(door, app, seen):
    @door.llm("judge", model="judge-model")
    def judge(text):
        return "fine"

    door.check("judge", lambda answer, context: judge(answer) == "fine")
    app.serve()
    door.flush()
    assert counts(door, "judge") == {"scored": 1}
    (asked,) = [d for d in seen.decisions if d.route == "llm:judge"]
    assert asked.synthetic
    assert door.signals.read("refusal_rate", route="llm:judge").size == 0


def test_the_sample_is_the_same_in_every_process(make_door, app):
    """It hangs on the decision's id and the check's name alone."""
    doors = [make_door(), make_door()]
    for door in doors:
        door.check("some", lambda answer, context: 1.0, sample=0.3)
    first, second = (door._checks._checks[0] for door in doors)
    decisions = [made(f"{n:016x}") for n in range(2000)]
    wanted = [d for d in decisions if first.wants(d)]
    assert wanted == [d for d in decisions if second.wants(d)]
    assert 0.27 < len(wanted) / 2000 < 0.33


def made(name):
    decision = OpenDecision()
    decision.id = name
    return decision.freeze()


# No check, no cost, no text ------------------------------------------------------------------------


def test_without_a_check_no_text_is_kept(door, app):
    request = app.serve()
    assert request.heard is None


def test_texts_are_let_go_when_they_have_been_judged(door):
    class Text(str):  # noqa: SLOT000 - a text that can be watched
        pass

    gone = []

    @door.llm("answer")
    def answer():
        text = Text("a long answer")
        weakref.finalize(text, gone.append, "gone")
        return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}

    door.check("any", lambda answer, context: 1.0)
    answer()
    door.flush()
    gc.collect()
    assert door.checks["any"]["scored"] == 1
    assert gone == ["gone"]


def test_closing_skips_what_waits(door, app):
    release, begun = threading.Event(), threading.Event()
    door.check("slow", lambda a, c: begun.set() or (release.wait() and 1.0), timeout=60)
    for _ in range(3):
        app.serve()
    assert begun.wait(10)
    door.close()
    assert door.checks["slow"]["skipped"] == 2
    release.set()


# Declaring ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "part"),
    [
        ({"name": "tone"}, "only 'groundedness'"),
        ({"name": "", "fn": len}, "name it"),
        ({"name": "tone", "fn": 3}, "give a function"),
        ({"name": "tone", "fn": len, "sample": 1.5}, "sample=1.5"),
        ({"name": "tone", "fn": len, "timeout": 0}, "timeout=0"),
        ({"name": "tone", "fn": len, "threshold": -1}, "threshold=-1"),
        ({"name": "tone", "fn": len, "routes": "llm:answer"}, "routes='llm:answer'"),
        ({"name": "tone", "fn": len, "routes": ["retrieval:kb"]}, "routes of model calls"),
        ({"name": "tone", "fn": len, "budget": fd.Budget(tokens=5)}, "calls= or usd="),
        (
            {"name": "tone", "fn": len, "budget": fd.Budget(calls=5, per="request")},
            "calls= or usd=",
        ),
        ({"name": "refusal_rate", "fn": len}, "signal of that name"),
    ],
)
def test_what_cannot_work_is_refused_with_a_remedy(door, kwargs, part):
    with pytest.raises(fd.ConfigurationError) as raised:
        door.check(**kwargs)
    assert part in str(raised.value)


def test_a_second_check_of_a_name_replaces_the_first(door, app):
    door.check("tone", lambda a, c: 0.0)
    door.check("tone", lambda a, c: 1.0)
    app.serve()
    door.flush()
    assert door.checks["tone"]["mean"] == 1.0


# Groundedness -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "low", "high"),
    [
        ("Parcels take two days within Germany.", 0.8, 1.0),
        ("Returns are free for 30 days.", 0.8, 1.0),
        ("Returns cost 15 euros and must be sent to Rotterdam within a week.", 0.0, 0.35),
    ],
)
def test_an_answer_is_held_to_what_its_request_retrieved(door, app, says, low, high):
    door.check("groundedness")
    app.says = says
    app.serve("What about my parcel?")
    door.flush()
    assert low <= door.signals.read("groundedness").value <= high
    assert door.signals.read("ungrounded_rate").value == (high < 0.5)


def test_claims_without_any_source_are_not_grounded(door, app):
    door.check("groundedness")
    app.finds = []
    app.serve()
    app.serve(search=False)
    door.flush()
    assert door.signals.read("groundedness").size == 2
    assert door.signals.read("groundedness").value == 0.0
    assert door.signals.read("ungrounded_rate").value == 1.0


def test_what_a_tool_told_is_a_source(door, app):
    door.check("groundedness")
    app.says = "Your order 4711 arrives on Friday, with Hermes."
    with door.request("help"):
        app.status("4711")
        app.answer("When does 4711 arrive?")
    door.flush()
    assert door.signals.read("groundedness").value > 0.8


@pytest.mark.parametrize(
    "says",
    [
        "I'm sorry, but I can't help with that.",
        "The documents given do not say how long parcels take.",
        "I don't know.",
        "Hello! How can I help you today?",
    ],
)
def test_refusals_abstentions_and_courtesies_are_not_judged(door, app, says):
    door.check("groundedness")
    app.says = says
    app.finds = []
    app.serve()
    door.flush()
    assert counts(door, "groundedness") == {"not_applicable": 1}


def test_sources_whose_text_cannot_be_read_are_not_held_against_an_answer(door, app):
    door.check("groundedness")
    app.finds = [("kb-7", 0.9)]
    app.serve()
    door.flush()
    assert counts(door, "groundedness") == {"not_applicable": 1}


def test_outside_a_request_and_without_retrieval_there_is_nothing_to_hold_an_answer_to(make_door):
    door = make_door()
    door.check("groundedness")

    @door.llm("answer")
    def answer():
        return "Parcels take nineteen days and cost 400 euros."

    answer()
    with door.request("help"):
        answer()
    door.flush()
    assert counts(door, "groundedness") == {"not_applicable": 2}


# What alerts bring along ------------------------------------------------------------------------


def watched(*, enough=400, **kwargs):
    """What the default alerts alone make of answers that rest on nothing."""
    with fd.Firedoor("shop") as door:
        door.watch(fd.alerts.defaults(journeys={"help": fd.Journey()}), **kwargs)
        app = App(door, says="Parcels to Madagascar take ninety weeks by camel.")
        for _ in range(enough):
            app.serve()
        door.flush()
        return door.checks, door.signals.read("ungrounded_rate", journey="help")


def test_default_alerts_see_invented_answers_though_no_check_is_declared():
    checks, sample = watched()
    runs = checks["groundedness"]
    assert sample.value == 1.0
    assert 50 <= runs["scored"] + runs["skipped"] <= 150  # about a quarter of the calls
    assert sample.size == runs["scored"] <= 240  # a window's end may lie between them


def test_the_check_of_alerts_can_be_left_out():
    checks, sample = watched(enough=20, checks=False)
    assert (checks, sample.size) == ({}, 0)


def test_alerts_that_read_something_else_bring_no_check():
    with fd.Firedoor("shop") as door:
        alerts = fd.alerts.defaults()
        door.watch([a for a in alerts if a.signal != "ungrounded_rate"])
        assert door.checks == {}


def test_a_declared_check_is_the_one_that_runs():
    def score(answer, context):
        return 0.9

    for early in (True, False):
        with fd.Firedoor("shop") as door:
            if early:
                door.check("groundedness", score)
            door.watch(fd.alerts.defaults())
            if not early:
                door.check("groundedness", score)
            app = App(door)
            app.serve()
            door.flush()
            assert door.signals.read("groundedness").value == 0.9


def test_time_that_is_not_the_systems_is_left_to_its_owner():
    with fd.Firedoor("shop", clock=FakeClock()) as door:
        door.watch(fd.alerts.defaults())
        assert door.checks == {}
