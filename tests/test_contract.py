"""The public names, as an application writes them: one example of the design after the other, run.

What is here is a promise. A name, a keyword, a default or the shape of an answer may be added to,
and not changed.
"""

import asyncio
import concurrent.futures
import json
import pickle
import random
import re

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from typer.testing import CliRunner

import firedoor as fd
from firedoor.cli.app import app as command_line
from firedoor.testing import FakeClock

SAFE = "I can't answer that right now; a person will follow up."
HELLO = [{"role": "user", "content": "where is my order?"}]


def completion(text="It is on its way.", *, model="gpt-5", tokens=(10, 5), refusal=None):
    """What a provider answers, as plain values."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "total_tokens": sum(tokens),
        },
    }


def said(response):
    return response if isinstance(response, str) else response["choices"][0]["message"]["content"]


@pytest.fixture
def clock():
    return FakeClock(auto=True)


@pytest.fixture
def door(clock):
    with fd.Firedoor(
        "support-copilot",
        clock=clock,
        prices={"gpt-5": fd.Price(10, 40), "gpt-5-mini": (1, 4)},
    ) as door:
        yield door


class TestTheDoor:
    def test_takes_what_the_design_gives_it(self, clock):
        door = fd.Firedoor(
            "support-copilot",
            state="memory://",
            ledger="memory://",
            capture="none",
            enforce=True,
            redactor=fd.Redactor(),
            tracer_provider=None,
            meter_provider=None,
            logger_provider=None,
            clock=clock,
        )
        assert door.snapshot()["service"] == "support-copilot"
        door.flush()
        door.close()

    def test_takes_the_same_from_the_environment(self, monkeypatch, tmp_path, clock):
        switches = tmp_path / "switches.toml"
        for name, value in {
            "FIREDOOR_STATE": f"sqlite:///{tmp_path}/state.db",
            "FIREDOOR_LEDGER": f"sqlite:///{tmp_path}/ledger.db",
            "FIREDOOR_CAPTURE": "redacted",
            "FIREDOOR_ENFORCE": "0",
            "FIREDOOR_SWITCHES_FILE": str(switches),
        }.items():
            monkeypatch.setenv(name, value)
        switches.write_text(
            '[[switches]]\nkind = "alias"\ntarget = "a"\nvalue = "b"\nreason = "drill"\n'
        )
        with fd.Firedoor("support-copilot", clock=clock) as door:
            decisions = []
            door.on_decision(decisions.append)
            door.llm("answer", model="a")(lambda messages: completion())(HELLO)
            door.incidents.declare("wrong language", journey="help")
            assert door.snapshot()["enforce"] is False
        assert decisions[0].output_text == "It is on its way."
        assert decisions[0].model == "b"
        assert (tmp_path / "state.db").exists()
        assert (tmp_path / "ledger.db").exists()

    def test_nothing_is_captured_unless_it_is_said(self, door):
        decisions = []
        door.on_decision(decisions.append)
        door.llm("answer", model="gpt-5")(lambda messages: completion())(HELLO)
        assert decisions[0].input_text is None
        assert decisions[0].output_text is None

    def test_a_snapshot_is_a_plain_dict(self, door):
        door.llm("answer", model="m", breaker=fd.Breaker(), budgets=[fd.Budget(calls=9)])(
            completion
        )()
        snapshot = door.snapshot()
        assert json.loads(json.dumps(snapshot)) == snapshot

    def test_enforce_false_only_watches(self, clock):
        with fd.Firedoor("support-copilot", enforce=False, clock=clock) as door:
            answer = door.llm(
                "answer", model="m", budgets=[fd.Budget(calls=1, per="hour", name="one")]
            )(lambda messages, *, model: completion())
            decisions = []
            door.on_decision(decisions.append)
            answer(HELLO)
            answer(HELLO)
        (verdict,) = decisions[1].verdicts
        assert (verdict.gate, verdict.shadow) == ("budget:llm:answer/one", True)
        assert decisions[1].outcome is fd.Outcome.ANSWERED


class TestGuards:
    @pytest.fixture
    def app(self, door):
        door.prompts.register("answer", {"v12": "be kind", "v13": "be brief"}, active="v13")

        class App:
            models = []
            fail = set()

            @door.llm(
                "answer",
                tiers=[
                    fd.Tier("gpt-5", timeout=8.0, first_token=2.5, attempts=2),
                    fd.Tier("gpt-5-mini", timeout=4.0),
                    fd.Canned(SAFE),
                ],
                budgets=[
                    fd.Budget(usd=50, per="day"),
                    fd.Budget(usd="0.25", per="request"),
                    fd.Budget(tokens=2_000_000, per="hour", scope="tenant", on_exceeded="degrade"),
                ],
                breaker=fd.Breaker(
                    failure_rate=0.5,
                    slow_call=6.0,
                    slow_call_rate=0.5,
                    window=60.0,
                    minimum_calls=20,
                    open_for=30.0,
                    half_open_calls=5,
                ),
                limiter=fd.Limiter(max_concurrent=64, max_wait=0.5, adaptive=True),
                policies=[
                    fd.policies.PersonalData(on="input", action="redact"),
                    fd.policies.Secrets(on="output", action="block"),
                ],
                prompt="answer",
            )
            def answer(messages, *, model, timeout=None):
                App.models.append((model, timeout))
                App.asked = messages
                if model in App.fail:
                    raise ConnectionError(model)
                return completion(model=model)

            @door.retrieval("kb", depth="k")
            def search(query, *, k=8):
                return [{"id": f"doc-{n}", "text": query, "score": 1.0} for n in range(k)]

            @door.tool("refund", effect="write", max_calls=3)
            def refund(order_id: str, amount: float):
                return "done"

        return App

    def test_a_request_and_its_decisions(self, door, app):
        with door.request(
            "checkout-help", user="u-17", tenant="acme", deadline=20.0, grants={"orders:refund"}
        ) as request:
            assert fd.current_request() is request
            docs = app.search("where is my order?")
            reply = app.answer(HELLO)
        assert fd.current_request() is None
        assert len(docs) == 8
        assert said(reply) == "It is on its way."
        assert app.models == [("gpt-5", 8.0)]
        assert re.fullmatch("[0-9a-f]{16}", request.id)
        assert request.cost_usd == pytest.approx(10 * 10e-6 + 5 * 40e-6)
        assert request.outcome is fd.Outcome.ANSWERED
        assert isinstance(request.decisions, tuple)
        search, answer = request.decisions
        assert isinstance(answer, fd.Decision)
        assert (search.route, answer.route) == ("retrieval:kb", "llm:answer")
        assert (answer.alias, answer.model, answer.tier) == ("gpt-5", "gpt-5", 0)
        assert (answer.prompt_name, answer.prompt_revision) == ("answer", "v13")
        assert (answer.budget, answer.breaker) == ("ok", "closed")
        assert answer.usage == fd.Usage(10, 5)
        assert answer.cost_certainty is fd.CostCertainty.EXACT
        assert [source.id for source in search.sources] == [f"doc-{n}" for n in range(8)]
        assert "u-17" not in str(answer.to_dict())
        assert "acme" not in str(answer.to_dict())

    def test_a_decision_has_at_least_these_fields(self, door, app):
        with door.request("checkout-help") as request:
            app.answer(HELLO)
        fields = (
            "id request_id trace_id span_id time service journey kind route alias model provider "
            "prompt_name prompt_revision parameters sources tool_calls usage cost_usd "
            "cost_certainty latency_s first_token_s tier attempts verdicts switches budget "
            "breaker outcome fault error_type degraded synthetic redactions incident_id"
        ).split()
        told = request.decisions[0].to_dict()
        assert [name for name in fields if name not in told] == []
        with pytest.raises(AttributeError, match="frozen"):
            request.decisions[0].model = "another"

    async def test_a_request_is_async_too(self, door, app):
        @door.llm("aside", model="gpt-5")
        async def aside(messages, *, model):
            await asyncio.sleep(0)
            return completion(model=model)

        async with door.request("checkout-help") as request:
            await asyncio.gather(aside(HELLO), aside(HELLO))
        assert [d.outcome for d in request.decisions] == ["answered", "answered"]

    def test_the_ladder_goes_down_and_ends_canned(self, door, app):
        app.fail = {"gpt-5"}
        with door.request("checkout-help") as request:
            assert said(app.answer(HELLO)) == "It is on its way."
        assert [model for model, _ in app.models] == ["gpt-5", "gpt-5", "gpt-5-mini"]
        assert request.outcome is fd.Outcome.DEGRADED
        first = request.decisions[0].attempts[0]
        assert isinstance(first, fd.AttemptRecord)
        assert (first.model, first.outcome, first.fault) == ("gpt-5", "failed", "target")
        app.fail = {"gpt-5", "gpt-5-mini"}
        with door.request("checkout-help") as request:
            assert app.answer(HELLO) == SAFE
        assert request.outcome is fd.Outcome.CANNED

    def test_policies_act(self, door, app):
        app.answer([{"role": "user", "content": "I am ana@example.com"}])
        assert "ana@example.com" not in str(app.asked)
        leak = door.llm(
            "leak", model="m", policies=[fd.policies.Secrets(on="output", action="block")]
        )(lambda: completion("key AKIAIOSFODNN7EXAMPLE"))
        with pytest.raises(fd.PolicyBlocked) as caught:
            leak()
        assert caught.value.ran is True

    def test_a_tool_is_called_so_often_and_no_more(self, door, app):
        with door.request("checkout-help"):
            for _ in range(3):
                assert app.refund("o-1", 2.0) == "done"
            with pytest.raises(fd.Denied) as caught:
                app.refund("o-1", 2.0)
        assert caught.value.decision.route == "tool:refund"
        assert caught.value.ran is False

    def test_a_block_instead_of_a_function(self, door):
        with door.llm("summarise", model="gpt-5-mini") as call:
            assert isinstance(call, fd.Attempt)
            assert fd.current_attempt() is call
            call.record(completion(model=call.model))
        assert isinstance(call.decision, fd.Decision)
        assert (call.decision.route, call.decision.model) == ("llm:summarise", "gpt-5-mini")

    def draft(self, attempt, tried):
        """What the block form's body does, with the first model down."""
        tried.append(attempt.model)
        if attempt.model == "gpt-5":
            raise ConnectionError("down")
        attempt.record(completion(model=attempt.model))

    def test_the_block_form_that_can_fall_back(self, door):
        tried = []
        for attempt in door.llm(
            "draft", tiers=[fd.Tier("gpt-5"), fd.Tier("gpt-5-mini")]
        ).attempts():
            with attempt:
                self.draft(attempt, tried)
        assert tried == ["gpt-5", "gpt-5-mini"]
        assert attempt.decision.outcome is fd.Outcome.DEGRADED

    async def test_likewise_with_async_for(self, door):
        tried = []
        ladder = [fd.Tier("gpt-5"), fd.Tier("gpt-5-mini")]
        async for attempt in door.llm("draft", tiers=ladder).attempts():
            with attempt:
                self.draft(attempt, tried)
        assert tried == ["gpt-5", "gpt-5-mini"]

    def test_when_every_tier_failed_the_providers_exception_comes_as_it_was(self, door):
        @door.llm("bare", tiers=[fd.Tier("gpt-5"), fd.Tier("gpt-5-mini")])
        def bare(*, model):
            raise ConnectionError(model)

        with pytest.raises(ConnectionError, match="gpt-5-mini") as caught:
            bare()
        assert type(caught.value) is ConnectionError
        notes = " ".join(caught.value.__notes__)
        assert "gpt-5" in notes
        assert "gpt-5-mini" in notes

    def test_a_request_goes_along_into_a_thread(self, door):
        tool = door.tool("lookup", effect="read")(lambda: fd.current_request().journey)
        with (
            concurrent.futures.ThreadPoolExecutor(1) as pool,
            door.request("checkout-help") as request,
        ):
            assert pool.submit(fd.wrap(tool)).result(10) == "checkout-help"
        assert [d.route for d in request.decisions] == ["tool:lookup"]

    def test_a_policy_as_a_function(self, door):
        @door.policy(on="input")
        def no_orders_of_others(text: str) -> fd.Verdict:
            status = "blocked" if "order of" in text else "passed"
            return fd.Verdict("mine", fd.VerdictStatus(status))

        answer = door.llm("answer", model="m", policies=[no_orders_of_others])(
            lambda messages, *, model: completion()
        )
        assert said(answer(HELLO)) == "It is on its way."
        with pytest.raises(fd.PolicyBlocked) as caught:
            answer([{"role": "user", "content": "the order of Bob"}])
        assert caught.value.gate == "policy:no_orders_of_others"

    def test_a_response_of_ones_own(self, door):
        class Mine:
            text = "hello"

        door.extractors.register(Mine, lambda mine: fd.Extract(text=mine.text, model="own-1"))
        decisions = []
        assert door.on_decision(decisions.append) == decisions.append
        door.llm("answer", model="m")(Mine)()
        assert decisions[0].response_model == "own-1"


class TestSwitches:
    def test_every_one_has_reason_actor_and_end_and_can_be_reverted(self, door, clock):
        door.prompts.register("answer", {"v12": "kind", "v13": "brief"}, active="v13")
        terms = {"reason": "refusals up", "actor": "ana", "ttl": "30m"}
        made = [
            door.switches.alias("gpt-5", "gpt-5-mini", **terms),
            door.switches.disable("tool:refund", **terms),
            door.switches.disable("tool:*", journey="checkout-help", **terms),
            door.switches.depth("retrieval:kb", 3, **terms),
            door.switches.prompt("answer", "v12", **terms),
            door.switches.strictness("strict", **terms),
            door.switches.safe_mode("checkout-help", **terms),
            door.switches.minimum_tier("llm:answer", 1, **terms),
        ]
        assert all(isinstance(switch, fd.Switch) for switch in made)
        assert {(s.reason, s.actor, s.expires_at - s.created_at) for s in made} == {
            ("refusals up", "ana", 1800.0)
        }
        assert door.switches.active() == tuple(made)
        assert door.prompts.get("answer").revision == "v12"
        for switch in made[:4]:
            door.switches.revert(switch.id)
        assert door.switches.active() == tuple(made[4:])
        clock.advance(1800)
        assert door.switches.active() == ()
        assert door.prompts.get("answer").revision == "v13"
        assert len(door.switches.history()) >= len(made)

    def test_seconds_are_an_end_as_well(self, door, clock):
        door.switches.alias("gpt-5", "gpt-5-mini", reason="drill", actor="ana", ttl=60)
        clock.advance(60)
        assert door.switches.active() == ()

    @pytest.mark.parametrize("terms", [{"actor": "ana"}, {"reason": "drill"}])
    def test_without_reason_or_actor_there_is_none(self, door, terms):
        with pytest.raises(fd.ConfigurationError):
            door.switches.alias("gpt-5", "gpt-5-mini", **terms)

    def test_known_good_comes_back(self, door):
        kept = door.switches.alias("gpt-5", "gpt-5-mini", reason="cheaper", actor="ana")
        door.switches.mark_known_good("2026-w47")
        door.switches.revert(kept.id)
        door.switches.disable("tool:*", reason="drill", actor="ana")
        restored = door.switches.restore("2026-w47", reason="drill over", actor="ana")
        assert isinstance(restored, fd.Switch)
        assert [s.summary for s in door.switches.active()] == ["gpt-5 → gpt-5-mini"]
        door.switches.revert(restored.id)
        assert [s.summary for s in door.switches.active()] == ["tool:* is off"]

    def test_they_act_on_the_next_call(self, door):
        answer = door.llm(
            "answer", tiers=[fd.Tier("gpt-5"), fd.Tier("gpt-5-mini"), fd.Canned(SAFE)]
        )(lambda *, model: model)
        search = door.retrieval("kb", depth="k")(lambda *, k=8: list(range(k)))
        refund = door.tool("refund", effect="write")(lambda: "done")
        terms = {"reason": "drill", "actor": "ana", "journey": "checkout-help"}
        on = [
            door.switches.depth("retrieval:kb", 3, **terms),
            door.switches.disable("tool:refund", **terms),
            door.switches.minimum_tier("llm:answer", 1, **terms),
        ]
        with door.request("another"):
            assert (answer(), len(search()), refund()) == ("gpt-5", 8, "done")
        with door.request("checkout-help") as request:
            assert (answer(), len(search())) == ("gpt-5-mini", 3)
            with pytest.raises(fd.RouteDisabled) as caught:
                refund()
        assert caught.value.gate == f"switch:{on[1].id}"
        assert [d.switches for d in request.decisions] == [(on[2].id,), (on[0].id,), (on[1].id,)]
        door.switches.safe_mode("checkout-help", reason="drill", actor="ana")
        with door.request("checkout-help"):
            assert answer() == SAFE

    def test_a_watched_file_is_a_writer_too(self, clock, tmp_path):
        path = tmp_path / "switches.toml"
        path.write_text(
            '[[switches]]\nkind = "disable"\ntarget = "tool:refund"\nreason = "double refunds"\n'
        )
        with fd.Firedoor("support-copilot", clock=clock, switches_file=path) as door:
            (switch,) = door.switches.active()
            assert (switch.summary, switch.source) == ("tool:refund is off", f"file:{path}")
            with pytest.raises(fd.RouteDisabled):
                door.tool("refund", effect="write")(lambda: "done")()


class TestDenials:
    """Each names the gate, what it was, the limit and the way out."""

    def denied(self, kind, call):
        with pytest.raises(kind) as caught:
            call()
        error = caught.value
        assert isinstance(error, fd.Denied)
        assert isinstance(error, fd.FiredoorError)
        assert error.decision.outcome is fd.Outcome.BLOCKED
        assert error.retry_after is None or error.retry_after > 0
        assert isinstance(error.ran, bool)
        assert str(error)
        again = pickle.loads(pickle.dumps(error))
        assert (str(again), again.gate) == (str(error), error.gate)
        return error

    def test_budget(self, door):
        answer = door.llm("a", model="gpt-5", budgets=[fd.Budget(calls=1, per="hour")])(completion)
        answer()
        error = self.denied(fd.BudgetExceeded, answer)
        assert error.gate == "budget:llm:a/hour-calls"
        assert 0 < error.retry_after <= 3600
        assert error.ran is False

    def test_breaker(self, door):
        @door.llm("a", model="gpt-5", breaker=fd.Breaker(minimum_calls=2, open_for=30, jitter=0.0))
        def answer():
            raise ConnectionError

        for _ in range(2):
            with pytest.raises(ConnectionError):
                answer()
        error = self.denied(fd.BreakerOpen, answer)
        assert error.gate == "breaker:llm:a/gpt-5"
        assert error.retry_after == 30.0

    def test_a_circuit_is_forced_by_hand(self, door):
        answer = door.llm("a", model="gpt-5", breaker=fd.Breaker())(completion)
        door.breakers.force("llm:a", "gpt-5", "forced_open")
        assert self.denied(fd.BreakerOpen, answer).retry_after is None
        door.breakers.force("llm:a", "gpt-5", "disabled")
        answer()
        assert door.snapshot()["breakers"]["llm:a/gpt-5"]["state"] == "disabled"
        door.breakers.reset("llm:a", "gpt-5")
        answer()
        assert door.snapshot()["breakers"]["llm:a/gpt-5"]["counts"]["calls"] == 1

    @pytest.mark.parametrize(
        ("route", "state", "words"),
        [
            ("llm:b", "open", "no breaker"),
            ("llm:a", "ajar", "forced_open"),
            ("llm:a", "half_open", "open it first"),
        ],
    )
    def test_what_a_circuit_cannot_be_is_refused(self, door, route, state, words):
        door.llm("a", model="gpt-5", breaker=fd.Breaker())
        with pytest.raises(fd.ConfigurationError, match=words):
            door.breakers.force(route, "gpt-5", state)

    def test_a_door_that_only_watches_forces_nothing_open(self, clock):
        with fd.Firedoor("support-copilot", enforce=False, clock=clock) as door:
            door.llm("a", model="gpt-5", breaker=fd.Breaker())
            with pytest.raises(fd.ConfigurationError, match="enforce=False"):
                door.breakers.force("llm:a", "gpt-5", "forced_open")

    def test_limiter(self, door):
        limiter = fd.Limiter(max_concurrent=1, max_wait=0)

        @door.llm("a", model="gpt-5", limiter=limiter)
        def answer(inner=None):
            return inner() if inner else completion()

        error = self.denied(fd.Saturated, lambda: answer(answer))
        assert error.gate == "limiter:llm:a/gpt-5"

    def test_policy(self, door):
        policies = [fd.policies.Regex("zeta-[0-9]{6}", on="input", action="block", name="zeta")]
        answer = door.llm("a", model="gpt-5", policies=policies)(lambda messages: completion())
        error = self.denied(fd.PolicyBlocked, lambda: answer("zeta-123456"))
        assert error.gate == "policy:zeta"
        assert "123456" not in str(error)

    def test_switch(self, door):
        switch = door.switches.disable("llm:a", reason="drill", actor="ana", ttl="30m")
        error = self.denied(fd.RouteDisabled, door.llm("a", model="gpt-5")(completion))
        assert error.gate == f"switch:{switch.id}"
        assert error.retry_after == 1800.0

    def test_deadline(self, door, clock):
        answer = door.llm("a", model="gpt-5")(completion)
        with door.request("checkout-help", deadline=5.0):
            clock.advance(6)
            error = self.denied(fd.DeadlineExceeded, answer)
        assert isinstance(error, TimeoutError)

    def test_the_family(self):
        kinds = (
            fd.BudgetExceeded,
            fd.BreakerOpen,
            fd.Saturated,
            fd.PolicyBlocked,
            fd.RouteDisabled,
            fd.GrantDenied,
            fd.EgressDenied,
            fd.DeadlineExceeded,
        )
        assert all(issubclass(kind, fd.Denied) for kind in kinds)
        assert issubclass(fd.Denied, fd.FiredoorError)
        assert issubclass(fd.ConfigurationError, fd.FiredoorError)


class TestSignals:
    def test_are_read_registered_and_observed(self, door, clock):
        door.signals.register("long_answers", lambda d: d.usage.output_tokens > 3)
        door.signals.register("stars", shape="mean", higher_is_worse=False)
        answer = door.llm("answer", model="gpt-5")(completion)
        for _ in range(4):
            with door.request("checkout-help"):
                answer()
            clock.advance(1)
        door.signals.observe("stars", 4, journey="checkout-help")
        sample = door.signals.read("refusal_rate", journey="checkout-help", window=300)
        assert (sample.value, sample.size) == (0.0, 4)
        assert door.signals.read("long_answers", route="llm:answer", alias="gpt-5").value == 1.0
        assert door.signals.read("stars", journey="checkout-help").value == 4.0
        assert {"refusal_rate", "long_answers", "stars"} <= set(door.signals.names())
        with pytest.raises(fd.ConfigurationError, match="refusal_rate"):
            door.signals.read("refusals")

    def test_a_check_scores_answers_off_the_path(self, door):
        seen = []

        def grounded(answer, context):
            seen.append((answer, type(context), context.question))
            return fd.Score(0.25, claims=4, unsupported=3)

        door.check("rests", grounded, sample=1.0)
        door.check("groundedness", lambda answer, context: 1.0, sample=0.1)
        with door.request("checkout-help"):
            door.llm("answer", model="gpt-5")(lambda messages: completion())(HELLO)
        door.flush()
        assert seen == [("It is on its way.", fd.CheckContext, "where is my order?")]
        assert door.signals.read("rests", journey="checkout-help").value == 0.25
        assert door.checks["rests"]["scored"] == 1

    def test_feedback_is_counted(self, door):
        with door.request("checkout-help") as request:
            door.llm("answer", model="gpt-5")(completion)()
        request.feedback(score=0.0, comment=None)
        assert door.feedback(request.id, 1.0) is True
        sample = door.signals.read("negative_feedback_rate", journey="checkout-help")
        assert (sample.value, sample.size) == (0.5, 2)


class TestRulesAndActions:
    def test_rules(self):
        assert fd.rules.Above(0.1, 300, 20) == fd.rules.Above(limit=0.1, window=300, minimum=20)
        assert fd.rules.Below(0.9, 300, 20) == fd.rules.Below(limit=0.9, window=300, minimum=20)
        shift = fd.rules.Shift(baseline=3600, window=300, factor=2.0, minimum=50, confidence=0.99)
        assert shift == fd.rules.Shift()
        burning = fd.rules.BurnRate(0.999)
        factors = [pair.factor(burning.period) for pair in burning.pairs]
        assert factors == pytest.approx([14.4, 6, 3, 1])
        assert fd.rules.Cusum() == fd.rules.Cusum()
        with pytest.raises(fd.ConfigurationError, match="could never fire"):
            fd.rules.BurnRate(0.5)

    def test_the_classes(self):
        assert list(fd.IncidentClass) == [
            "quality_regression",
            "safety_violation",
            "retrieval_failure",
            "latency_saturation",
            "cost_runaway",
        ]

    @pytest.mark.parametrize("mode", ["auto", "approve", "suggest"])
    def test_an_alert(self, mode):
        alert = fd.Alert(
            "refusals-up",
            signal="refusal_rate",
            journey="checkout-help",
            rule=fd.rules.Shift(),
            incident_class="quality_regression",
            first_action=fd.actions.SwitchAlias("gpt-5", "gpt-5-mini", ttl="30m"),
            mode=mode,
        )
        assert alert.first_action.ttl == 1800.0
        assert alert.mode is fd.Mode(mode)

    def test_no_alert_without_a_first_action(self):
        with pytest.raises(fd.ConfigurationError, match="no first_action"):
            fd.Alert("refusals-up", signal="refusal_rate", rule=fd.rules.Above(0.1))

    def test_every_action_can_be_made_and_says_what_it_does(self):
        actions = [
            fd.actions.SwitchAlias("gpt-5", "gpt-5-mini", ttl="30m"),
            fd.actions.RollbackPrompt("answer", "v12"),
            fd.actions.DisableRoute("tool:refund"),
            fd.actions.ReduceDepth("retrieval:kb", 3),
            fd.actions.TightenPolicies("strict"),
            fd.actions.SafeMode(),
            fd.actions.RaiseMinimumTier("llm:answer", 1),
            fd.actions.CapBudget("day", 0.5),
            fd.actions.ShedLoad(("news",)),
            fd.actions.RestoreKnownGood("2026-w47"),
            fd.actions.Call(lambda context: None),
            fd.actions.Notify("call the provider"),
        ]
        assert [a.preview() for a in actions if not a.preview()] == []
        assert all(fd.actions.build(a.to_dict()) == a for a in actions if a.kind != "call")

    def test_runbooks(self):
        books = fd.runbooks.defaults()
        assert isinstance(books, list)
        assert all(isinstance(book, fd.Runbook) for book in books)
        assert [book.incident_class for book in books] == list(fd.IncidentClass)
        for book in books:
            lines = book.render(width=80, height=24).splitlines()
            assert len(lines) <= 24
            assert max(map(len, lines)) <= 80
            assert lines[0].startswith("DO FIRST")


class Shop:
    """An application whose model begins to refuse, watched as the design says."""

    def __init__(self, **door):
        self.clock = FakeClock(auto=True)
        self.chance = random.Random(3).random
        self.refusing = 0.0
        self.door = door = fd.Firedoor("support-copilot", clock=self.clock, **door)

        @door.llm("answer", tiers=[fd.Tier("gpt-5"), fd.Tier("gpt-5-mini"), fd.Canned(SAFE)])
        def answer(messages, *, model):
            if model == "gpt-5" and self.chance() < self.refusing:
                return completion(None, model=model, refusal="I can't help with that.")
            return completion(model=model)

        self.answer = answer

    def serve(self, requests):
        for _ in range(requests):
            with self.door.request("checkout-help") as request:
                self.answer(HELLO)
            self.clock.advance(1)
            self.door.evaluate()
        return request


@pytest.fixture
def shop():
    shop = Shop()
    yield shop
    shop.door.close()


def refusals_up(**changed):
    return fd.Alert(
        **{
            "name": "refusals-up",
            "signal": "refusal_rate",
            "journey": "checkout-help",
            "rule": fd.rules.Shift(
                baseline=3600, window=300, factor=2.0, minimum=50, confidence=0.99
            ),
            "incident_class": "quality_regression",
            "first_action": fd.actions.SwitchAlias("gpt-5", "gpt-5-mini", ttl="30m"),
            "mode": "auto",
        }
        | changed
    )


class TestIncidents:
    def test_from_the_first_refusal_to_the_closed_incident(self, shop):
        door = shop.door
        door.watch([refusals_up()])
        shop.serve(600)
        assert door.incidents.current() == []
        shop.refusing = 0.6
        request = shop.serve(120)
        (incident,) = door.incidents.current()
        assert isinstance(incident, fd.Incident)
        assert incident.incident_class is fd.IncidentClass.QUALITY_REGRESSION
        assert incident.state is fd.IncidentState.CONTAINED
        assert incident.severity in fd.Severity
        assert [line.signal for line in incident.evidence] == ["refusal_rate"]
        assert [entry.event for entry in incident.timeline][0] == "detected"
        assert request.decisions[0].model == "gpt-5-mini"
        assert request.decisions[0].incident_id == incident.id
        assert door.incidents.get(incident.id) == incident
        with pytest.raises(fd.LifecycleError, match="known-good"):
            incident.diagnose("curious", actor="ana")
        shop.serve(900)
        assert incident.state is fd.IncidentState.STABILISED
        shop.refusing = 0.0
        (action,) = incident.actions
        incident.revert(action.id, actor="ana", reason="fixed by the provider")
        shop.serve(900)
        incident.diagnose("the provider changed the model", actor="ana")
        incident.close(
            findings=[fd.Finding("pin the model", owner="safety", probe="pinned")], actor="ana"
        )
        assert incident.state is fd.IncidentState.CLOSED
        assert door.incidents.current() == []
        assert incident.time_to_detect <= incident.time_to_contain <= incident.time_to_recover

    def test_the_defaults_are_enough(self, shop):
        door = shop.door
        alerts = fd.alerts.defaults(journeys={"checkout-help": fd.Journey(p95=6.0, critical=True)})
        assert all(isinstance(alert, fd.Alert) for alert in alerts)
        door.watch(alerts)
        shop.serve(1200)
        assert door.incidents.current() == []
        shop.refusing = 0.6
        shop.serve(120)
        (incident,) = door.incidents.current()
        assert incident.incident_class is fd.IncidentClass.QUALITY_REGRESSION
        assert incident.state is fd.IncidentState.CONTAINED

    def test_the_steps_by_hand(self, door):
        incident = door.incidents.declare("wrong language", journey="checkout-help")
        with pytest.raises(fd.LifecycleError, match="still affected"):
            incident.diagnose("curious")
        incident.contain("safe mode holds", actor="ana")
        incident.stabilise("prompt v12 again", actor="ana")
        incident.diagnose("which prompt", actor="ana")
        finding = fd.Finding(
            "zeta codes must not reach the model",
            owner="safety",
            probe=None,
            default={
                "policies": {
                    "llm:answer": [
                        {
                            "kind": "regex",
                            "pattern": "zeta-[0-9]{6}",
                            "on": "input",
                            "action": "block",
                        }
                    ]
                }
            },
        )
        with pytest.raises(fd.LifecycleError, match="probe"):
            incident.close(findings=[finding], recovered="read by hand")
        incident.close(findings=[finding], waiver="no probes yet", recovered="read by hand")
        assert incident.state is fd.IncidentState.CLOSED
        assert incident.findings == (finding,)
        with pytest.raises(fd.UnknownIncident):
            door.incidents.get("INC-00000000")


class TestTelemetry:
    def test_one_call_is_one_span_named_by_the_convention(self):
        spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
        tracers, loggers = TracerProvider(shutdown_on_exit=False), LoggerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(spans))
        loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
        with fd.Firedoor("app", tracer_provider=tracers, logger_provider=loggers) as door:
            with door.request("checkout-help"):
                door.llm("answer", model="gpt-5")(completion)()
                door.retrieval("kb")(list)()
                door.tool("refund", effect="write")(lambda: "done")()
        names = [span.name for span in spans.get_finished_spans()]
        assert names == [
            "chat gpt-5",
            "retrieval kb",
            "execute_tool refund",
            "firedoor.request checkout-help",
        ]
        assert len(logs.get_finished_logs()) == 3
        tracers.shutdown()
        loggers.shutdown()

    def test_redaction(self):
        redactor = fd.Redactor()
        assert re.fullmatch("Write to <email:[0-9a-f]+>", redactor.redact("Write to a@example.com"))
        nested = redactor.redact({"to": ["a@example.com"], "n": 1})
        assert "a@example.com" not in str(nested)
        assert nested["n"] == 1
        assert b"a@example.com" not in redactor.redact(b"to a@example.com")
        spans = InMemorySpanExporter()
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(fd.RedactingSpanExporter(spans, redactor)))
        with tracers.get_tracer("app").start_as_current_span("mail") as span:
            span.set_attribute("to", "a@example.com")
        assert "a@example.com" not in str(spans.get_finished_spans()[0].attributes)
        tracers.shutdown()


class TestTheCommand:
    def run(self, *line, code=0, **env):
        done = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1", **env}).invoke(command_line, line)
        assert done.exit_code == code, done.output
        return done.output

    def test_status_and_switch_share_the_applications_state(self, tmp_path):
        state = f"sqlite:///{tmp_path}/state.db"
        with fd.Firedoor("support-copilot", state=state) as door:
            line = ("switch", "alias", "gpt-5", "gpt-5-mini", "--reason", "refusals up")
            self.run(*line, "--ttl", "30m", "--actor", "ana", "--state", state)
            door.switches.sync()
            (switch,) = door.switches.active()
            assert (switch.reason, switch.actor) == ("refusals up", "ana")
            told = json.loads(self.run("status", "--json", FIREDOOR_STATE=state))
            assert [one["id"] for one in told["switches"]] == [switch.id]
            assert "refusals up" in self.run("status", "--state", state)

    @pytest.mark.parametrize(
        "line",
        [
            ("alias", "gpt-5", "gpt-5-mini"),
            ("disable", "tool:refund"),
            ("depth", "retrieval:kb", "3"),
            ("prompt", "answer", "v12"),
            ("strictness", "strict"),
            ("safe-mode", "checkout-help"),
            ("minimum-tier", "llm:answer", "1"),
        ],
    )
    def test_every_switch_asks_for_a_reason(self, tmp_path, line):
        state = f"sqlite:///{tmp_path}/state.db"
        assert "--reason" in self.run("switch", *line, "--state", state, code=2)
        self.run("switch", *line, "--state", state, "--reason", "drill")

    def test_incidents_and_runbook_share_the_applications_ledger(self, tmp_path):
        ledger = f"sqlite:///{tmp_path}/ledger.db"
        with fd.Firedoor("support-copilot", ledger=ledger) as door:
            incident = door.incidents.declare("wrong language", journey="checkout-help")
            assert incident.id in self.run("incidents", "--ledger", ledger)
            told = json.loads(self.run("incidents", "--ledger", ledger, "--json"))
            assert [one["id"] for one in told] == [incident.id]
            at = ("--ledger", ledger)
            assert "wrong language" in self.run("incidents", "show", incident.id, *at)
            self.run("incidents", "diagnose", incident.id, *at, code=2)
            for step in ("contain", "stabilise", "diagnose"):
                self.run("incidents", step, incident.id, "--reason", "drill", *at)
            line = ("incidents", "close", incident.id, "--waiver", "drill", "--owner", "ana")
            self.run(*line, "--recovered", "asked them", *at)
            assert incident.state is fd.IncidentState.CLOSED
        assert "DO FIRST" in self.run("runbook", "cost_runaway")

    def test_demo(self):
        assert "--class" in self.run("demo", "--help")
