"""Policies on real calls: before anything is sent, and before anything is seen."""

import asyncio
import contextlib
import threading
from functools import partial

import pydantic
import pytest

import firedoor as fd
from firedoor.extraction import text_of
from firedoor.policies import JsonSchema, MaxLength, PersonalData, Regex, Secrets
from support.provider_server import Failure, Reply, ToolUse

KEY = "AKIAIOSFODNN7EXAMPLQ"
MAIL = "ana@example.com"


def chat(model, *, given, made, text):
    """A chat completion that says what it used."""
    return {
        "object": "chat.completion",
        "model": model,
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": given, "completion_tokens": made},
    }


def statuses(decision):
    return [(v.gate, v.stage, v.status) for v in decision.verdicts]


class TestInput:
    def test_is_redacted_before_it_is_sent(self, door, seen):
        sent = []

        @door.llm("answer", policies=[PersonalData(on="input", action="redact")])
        def answer(question, *, note="", model="gpt-5"):
            sent.append((question, note, model))
            return "ok"

        messages = [{"role": "user", "content": f"I am {MAIL}"}]
        answer(messages, note=f"from {MAIL}")
        assert MAIL not in str(sent)
        assert messages == [{"role": "user", "content": f"I am {MAIL}"}]
        (decision,) = seen.decisions
        assert [v.status for v in decision.verdicts] == ["redacted"]
        assert decision.verdicts[0].labels == ("email",)
        assert decision.outcome == "answered"

    def test_is_blocked_with_nothing_sent(self, door, seen):
        calls = []

        @door.llm("answer", policies=[Regex("zeta-[0-9]{6}", on="input", action="block")])
        def answer(question):
            calls.append(question)

        with pytest.raises(fd.PolicyBlocked) as denied:
            answer("tell me of zeta-123456")
        assert not calls
        assert not denied.value.ran
        assert denied.value.decision.outcome == "blocked"
        assert "zeta-123456" not in str(denied.value)
        assert seen.spans[0].attributes["openinference.span.kind"] == "GUARDRAIL"

    async def test_async_policies_are_awaited(self, door):
        @door.policy(on="input")
        async def no_shouting(text: str) -> bool:
            await asyncio.sleep(0)
            return not text.isupper()

        @door.llm("answer", policies=[no_shouting])
        async def answer(question):
            return "ok"

        assert await answer("hello") == "ok"
        with pytest.raises(fd.PolicyBlocked):
            await answer("HELLO")

    def test_async_policies_on_a_sync_function_are_refused_when_it_is_decorated(self, door):
        @door.policy(on="input")
        async def slow(text: str) -> bool:
            return True

        with pytest.raises(fd.ConfigurationError, match="async"):
            door.llm("answer", policies=[slow])(lambda q: q)

    def test_a_policy_of_a_stage_the_route_never_has_is_refused(self, door):
        with pytest.raises(fd.ConfigurationError, match="never has"):
            door.llm("answer", policies=[Regex("x", on="tool_arguments", action="block")])

    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_one_that_overlaps_holds_back_what_the_model_said(self, door, asynchronous):
        @door.policy(on="input", overlap=True)
        def no_orders(text: str) -> bool:
            return "order" not in text

        if asynchronous:

            @door.llm("answer", policies=[no_orders])
            async def answer(question):
                return "said"

            assert await answer("hello") == "said"
            with pytest.raises(fd.PolicyBlocked) as denied:
                await answer("my order")
        else:
            sync = door.llm("answer", policies=[no_orders])(lambda question: "said")
            assert sync("hello") == "said"
            with pytest.raises(fd.PolicyBlocked) as denied:
                sync("my order")
        assert denied.value.ran

    def test_one_that_overlaps_holds_back_a_stream_too(self, door, seen):
        """No output policy looks at it, and still nothing is shown before the input is judged."""
        begun, judged = threading.Event(), []

        @door.policy(on="input", overlap=True)
        def no_orders(text: str) -> bool:
            assert begun.wait(20)
            judged.append(text)
            return "order" not in text

        @door.llm("answer", policies=[no_orders])
        def answer(question):
            begun.set()
            yield "said"

        stream = answer("hello")
        assert next(stream) == "said"
        assert judged == ["hello"]
        assert list(stream) == []
        with pytest.raises(fd.PolicyBlocked) as denied:
            next(answer("my order"))
        assert denied.value.ran
        assert [d.outcome for d in seen.decisions] == ["answered", "blocked"]

    async def test_one_that_overlaps_holds_back_an_async_stream(self, door, seen):
        begun = asyncio.Event()

        @door.policy(on="input", overlap=True)
        async def no_orders(text: str) -> bool:
            await begun.wait()
            return "order" not in text

        async def pieces():
            begun.set()
            yield "said"

        @door.llm("answer", policies=[no_orders])
        async def answer(question):
            return pieces()

        assert [piece async for piece in await answer("hello")] == ["said"]
        with pytest.raises(fd.PolicyBlocked):
            await anext(await answer("my order"))

    async def test_one_that_overlaps_holds_back_a_stream_that_nobody_awaits(self, door, seen):
        """An async function may return a plain iterator: whoever reads that cannot wait."""

        @door.policy(on="input", overlap=True)
        async def no_orders(text: str) -> bool:
            await asyncio.sleep(0)
            return "order" not in text

        @door.llm("answer", policies=[no_orders])
        async def answer(question):
            return (piece for piece in ("sa", "id"))

        assert list(await answer("hello")) == ["sa", "id"]
        with pytest.raises(fd.PolicyBlocked):
            list(await answer("my order"))
        assert [d.outcome for d in seen.decisions] == ["answered", "blocked"]

    async def test_a_call_that_is_cancelled_while_a_policy_thinks_has_ended(self, door, seen):
        thinking = asyncio.Event()

        @door.policy(on="input")
        async def slow(text: str) -> bool:
            thinking.set()
            return await asyncio.Future()

        @door.llm("answer", policies=[slow])
        async def answer(question):
            return "said"

        @door.llm("stream", policies=[slow])
        async def stream(question):
            yield "said"

        for begin in (answer, lambda question: anext(stream(question))):
            thinking.clear()
            task = asyncio.ensure_future(begin("hello"))
            await thinking.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert [d.outcome for d in seen.decisions] == ["cancelled", "cancelled"]

    async def test_async_policies_look_at_what_an_async_generator_is_given(self, door, seen):
        sent = []

        @door.policy(on="input", action="redact")
        async def no_names(text: str) -> str:
            await asyncio.sleep(0)
            return text.replace("Ana", "somebody")

        @door.policy(on="input")
        async def no_shouting(text: str) -> bool:
            await asyncio.sleep(0)
            return not text.isupper()

        @door.llm("answer", policies=[no_names, no_shouting])
        async def answer(question):
            sent.append(question)
            yield "sa"
            yield "id"

        assert [piece async for piece in answer("I am Ana")] == ["sa", "id"]
        assert sent == ["I am somebody"]
        with pytest.raises(fd.PolicyBlocked):
            await anext(answer("HELLO"))
        assert [d.outcome for d in seen.decisions] == ["answered", "blocked"]

    async def test_one_that_overlaps_ends_with_its_call_and_has_passed_nothing(self, door, seen):
        ended = asyncio.Event()

        @door.policy(on="input", overlap=True)
        async def slow(text: str) -> bool:
            try:
                return await asyncio.Future()
            finally:
                ended.set()

        @door.llm("answer", policies=[slow])
        async def answer(question):
            await asyncio.sleep(0)
            raise ConnectionError(question)

        with pytest.raises(ConnectionError):
            await answer("hello")
        await asyncio.wait_for(ended.wait(), 10)
        assert statuses(seen.decisions[0]) == [("policy:slow", "input", "skipped")]

    def test_a_block_shows_no_input_and_the_decision_says_so(self, door, seen):
        policies = [Regex("x", on="input", action="block"), Regex("y", on="output", name="out")]
        guard = door.llm("answer", policies=policies)
        with guard as call:
            call.record("said")
        for attempt in guard.attempts():
            with attempt:
                attempt.record("said")
        for decision in seen.decisions:
            assert statuses(decision) == [
                ("policy:regex", "input", "skipped"),
                ("policy:out", "output", "passed"),
            ]

    def test_nothing_overlaps_a_tool(self, door):
        """What a tool does cannot be thrown away."""
        with pytest.raises(fd.ConfigurationError, match="nothing else has a generation"):
            Regex("x", on="tool_arguments", action="block", overlap=True)
        slow = Regex("x", on="input", action="block", overlap=True)
        with pytest.raises(fd.ConfigurationError, match="never has"):
            door.tool("refund", effect="write", policies=[slow])

    @pytest.mark.parametrize("form", ["function", "block", "attempts", "generator"])
    def test_no_tool_runs_inside_a_call_whose_input_is_not_judged_yet(self, door, seen, form):
        """An agent that is one guarded function works its tools while the policy thinks."""
        begun, ran = threading.Event(), []

        @door.policy(on="input", overlap=True)
        def no_orders(text: str) -> bool:
            assert begun.wait(20)
            ran.append("judged")
            return "order" not in text

        def refund():
            tool = door.tool("refund", effect="write")
            if form == "function":
                tool(lambda: ran.append("refunded"))()
            elif form == "block":
                with tool:
                    ran.append("refunded")
            elif form == "attempts":
                for attempt in tool.attempts():
                    with attempt:
                        ran.append("refunded")
            else:

                @tool
                def steps():
                    yield ran.append("refunded")

                list(steps())

        @door.llm("agent", policies=[no_orders])
        def agent(question):
            begun.set()
            with (
                contextlib.suppress(fd.PolicyBlocked)
                if "quiet" in question
                else (contextlib.nullcontext())
            ):
                refund()
            return "done"

        assert agent("hello") == "done"
        assert ran == ["judged", "refunded"]
        for question in ("my order", "my order, quiet"):
            begun.clear()
            ran.clear()
            seen.decisions.clear()
            with pytest.raises(fd.PolicyBlocked):
                agent(question)
            assert ran == ["judged"]
            assert {d.route: d.outcome for d in seen.decisions} == {
                "tool:refund": "blocked",
                "llm:agent": "blocked",
            }

    @pytest.mark.parametrize("form", ["function", "block", "attempts", "generator"])
    async def test_no_async_tool_does_either(self, door, seen, form):
        begun, ran = asyncio.Event(), []

        @door.policy(on="input", overlap=True)
        async def no_orders(text: str) -> bool:
            await begun.wait()
            ran.append("judged")
            return "order" not in text

        async def refund():
            tool = door.tool("refund", effect="write")
            if form == "function":

                @tool
                async def work():
                    ran.append("refunded")

                await work()
            elif form == "block":
                async with tool:
                    ran.append("refunded")
            elif form == "attempts":
                async for attempt in tool.attempts():
                    with attempt:
                        ran.append("refunded")
            else:

                @tool
                async def steps():
                    yield ran.append("refunded")

                [step async for step in steps()]

        @door.llm("agent", policies=[no_orders])
        async def agent(question):
            begun.set()
            await refund()
            return "done"

        assert await agent("hello") == "done"
        assert ran == ["judged", "refunded"]
        ran.clear()
        with pytest.raises(fd.PolicyBlocked):
            await agent("my order")
        assert ran == ["judged"]
        assert [d.outcome for d in seen.decisions] == ["answered"] * 2 + ["blocked"] * 2

    async def test_a_tool_that_cannot_wait_for_the_verdict_is_refused(self, door):
        """Its thread is the one in which the policy would have to think."""

        @door.policy(on="input", overlap=True)
        async def slow(text: str) -> bool:
            await asyncio.sleep(0)
            return True

        refund = door.tool("refund")(lambda: "refunded")

        @door.llm("agent", policies=[slow])
        async def agent(question):
            if "late" in question:
                for _ in range(10):
                    await asyncio.sleep(0)
            return refund()

        assert await agent("late") == "refunded"
        with pytest.raises(fd.PolicyBlocked, match="make the tool async") as denied:
            await agent("at once")
        assert denied.value.gate == "policy:slow"

    def test_shadow_records_and_changes_nothing(self, make_door, seen):
        door = make_door(enforce=False)
        answer = door.llm("answer", policies=[Regex("zeta", on="input", action="block")])(
            lambda question: question
        )
        assert answer("zeta") == "zeta"
        (verdict,) = seen.decisions[0].verdicts
        assert verdict.shadow
        assert verdict.status == "blocked"


class TestOutput:
    def test_is_redacted_in_the_sdks_own_object(self, door, provider, seen):
        client = provider.openai()
        provider.script(Reply(f"The key is {KEY}."))

        @door.llm("answer", model="gpt-5", policies=[Secrets(on="output", action="redact")])
        def answer(*, model):
            return client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "?"}]
            )

        reply = answer()
        assert KEY not in reply.choices[0].message.content
        assert reply.choices[0].message.content.startswith("The key is <aws_access_key:")
        assert seen.decisions[0].outcome == "degraded"
        assert seen.decisions[0].usage.input_tokens == 12

    @pytest.mark.parametrize("shape", ["chat", "responses", "messages"])
    def test_what_a_library_parsed_of_it_is_not_left_beside_it(self, door, provider, shape):
        """It was made of the text as it came."""

        class Answer(pydantic.BaseModel):
            key: str

        ask = [{"role": "user", "content": "?"}]
        openai, anthropic = provider.openai(), provider.anthropic()

        @door.llm("answer", model="m", policies=[Secrets(on="output", action="redact")])
        def answer(*, model):
            if shape == "chat":
                return openai.chat.completions.parse(
                    model=model, messages=ask, response_format=Answer
                )
            if shape == "responses":
                return openai.responses.parse(model=model, input="?", text_format=Answer)
            return anthropic.messages.parse(
                model=model, messages=ask, max_tokens=9, output_format=Answer
            )

        def read(reply):
            if shape == "chat":
                message = reply.choices[0].message
                return message.content, message.parsed
            if shape == "responses":
                return reply.output_text, reply.output_parsed
            return reply.content[0].text, reply.parsed_output

        provider.script(Reply('{"key": "none"}'), Reply(f'{{"key": "{KEY}"}}'))
        assert read(answer())[1] == Answer(key="none")
        text, parsed = read(answer())
        assert text.startswith('{"key": "<aws_access_key:')
        assert parsed is None

    def test_is_blocked_and_was_paid_for(self, door, seen):
        answer = door.llm("answer", policies=[Secrets(on="output", action="block")])(
            lambda: f"The key is {KEY}."
        )
        with pytest.raises(fd.PolicyBlocked) as denied:
            answer()
        assert denied.value.ran
        assert seen.decisions[0].outcome == "blocked"

    @pytest.mark.parametrize("shape", ["function", "async", "block"])
    async def test_what_was_refused_costs_what_it_cost(self, make_door, seen, shape):
        """A long answer that nobody sees is as dear as one that somebody sees."""
        said = chat("big", given=10, made=500, text=f"The key is {KEY}.")
        for budgets in ([], [fd.Budget(usd=1, per="day")]):
            door = make_door(prices={"big": (10, 40)})
            policies = [Secrets(on="output", action="block")]
            guard = door.llm("answer", model="big", policies=policies, budgets=budgets)
            with pytest.raises(fd.PolicyBlocked) as denied:
                if shape == "function":
                    guard(lambda: said)()
                elif shape == "async":
                    await guard(partial(asyncio.sleep, 0, said))()
                else:
                    with guard as call:
                        call.record(said)
            assert denied.value.usage == fd.Usage(10, 500)
            decision = seen.decisions[-1]
            assert decision.usage == fd.Usage(10, 500)
            assert decision.cost_usd == pytest.approx(10 * 10e-6 + 500 * 40e-6)
            assert decision.cost_certainty == "exact"
        budget = door.snapshot()["budgets"]["budgets"]["llm:answer/day"]
        (counter,) = budget["counters"].values()
        assert counter == {"settled": 20_100, "held": 0}

    @pytest.mark.parametrize("shape", ["function", "async", "block", "hedged", "tiers"])
    @pytest.mark.parametrize("told", [True, False])
    async def test_what_was_answered_costs_what_it_cost_though_nobody_waited_for_the_policy(
        self, make_door, seen, shape, told
    ):
        """Ctrl-C, or a client that hangs up, after the provider has answered in full."""
        text = "It is at the depot. " * 20
        said = chat("big", given=10, made=500, text=text)
        if not told:
            del said["usage"]
        leaving = asyncio.CancelledError if shape in {"async", "hedged"} else KeyboardInterrupt

        @fd.policies.policy(on="output")
        def left(text: str) -> bool:
            raise leaving

        for budgets in ([], [fd.Budget(usd=1, per="day")]):
            door = make_door(prices={"big": (10, 40)})
            how = {"model": "big"}
            if shape == "hedged":
                how = {"model": "big", "hedge": fd.Hedge(after=60.0), "side_effect_free": True}
            elif shape == "tiers":
                how = {"tiers": [fd.Tier("big"), fd.Canned("later")]}
            guard = door.llm("answer", policies=[left], budgets=budgets, **how)
            with pytest.raises(leaving):
                if shape in {"function", "tiers"}:
                    guard(lambda: said)()
                elif shape in {"async", "hedged"}:
                    await guard(partial(asyncio.sleep, 0, said))()
                else:
                    with guard as call:
                        call.record(said)
            decision = seen.decisions[-1]
            assert decision.outcome == "cancelled"
            if told:
                assert decision.usage == fd.Usage(10, 500)
                assert decision.cost_usd == pytest.approx(10 * 10e-6 + 500 * 40e-6)
                assert decision.cost_certainty == "exact"
        budget = door.snapshot()["budgets"]["budgets"]["llm:answer/day"]
        (counter,) = budget["counters"].values()
        assert counter["held"] == 0
        if told:
            assert counter["settled"] == 20_100
        else:  # no tokenizer makes more tokens of a text than it has bytes
            assert counter["settled"] >= len(text) * 40
            assert decision.cost_certainty == "estimated"

    @pytest.mark.parametrize("tiers", [(), (fd.Tier("big"), fd.Tier("small"))])
    async def test_what_a_plain_function_gives_to_await_is_looked_at_too(
        self, door, provider, seen, tiers
    ):
        """`return client.chat...` of an async client, in a function that is not async itself."""
        client = provider.async_openai()
        how = {"tiers": tiers} if tiers else {"model": "small"}
        provider.on("big", Failure(503))
        provider.on("small", Reply(f"The key is {KEY}."))

        def ask(*, model):
            return client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "?"}]
            )

        shown = await door.llm("answer", **how, policies=[Secrets(on="output", action="redact")])(
            ask
        )()
        assert shown.choices[0].message.content.startswith("The key is <aws_access_key:")
        with pytest.raises(fd.PolicyBlocked) as denied:
            await door.llm("blocked", **how, policies=[Secrets(on="output", action="block")])(ask)()
        assert denied.value.usage.input_tokens == 12
        assert [statuses(d) for d in seen.decisions] == [
            [("policy:secrets", "output", "redacted")],
            [("policy:secrets", "output", "blocked")],
        ]

    async def test_the_loop_goes_on_while_a_policy_beside_a_call_thinks(self, door):
        """It runs in a thread, where the function is not async but what it gives is."""
        served = threading.Event()

        @door.policy(on="input", overlap=True)
        def no_orders(text: str) -> bool:
            assert served.wait(20)
            return "order" not in text

        async def serve():
            served.set()

        async def later(said):
            return said

        async def pieces(said):
            yield said

        @door.llm("answer", policies=[no_orders])
        def answer(question):
            return later("said")

        @door.llm("stream", policies=[no_orders])
        def stream(question):
            return pieces("said")

        async def read(question):
            return [piece async for piece in stream(question)]

        for ask, expected in ((answer, "said"), (read, ["said"])):
            served.clear()
            shown, _ = await asyncio.gather(ask("hello"), serve())
            assert shown == expected
            with pytest.raises(fd.PolicyBlocked):
                await ask("my order")

    def test_a_schema_is_checked(self, door):
        answer = door.llm("answer", policies=[JsonSchema(dict[str, int], on="output")])(
            lambda text: text
        )
        assert answer('{"a": 1}') == '{"a": 1}'
        with pytest.raises(fd.PolicyBlocked):
            answer('{"a": "x"}')

    def test_tool_arguments_and_results(self, door, seen):
        ran = []

        @door.tool(
            "mail",
            policies=[
                Secrets(on="tool_arguments", action="block"),
                PersonalData(on="tool_result", action="redact"),
            ],
        )
        def mail(to, body):
            ran.append(to)
            return {"sent": MAIL}

        assert MAIL not in str(mail("x", "hello"))
        with pytest.raises(fd.PolicyBlocked):
            mail("x", f"take {KEY}")
        assert ran == ["x"]

    def test_retrieved_documents(self, door, seen):
        @door.retrieval("kb", policies=[PersonalData(on="retrieval", action="redact")])
        def search(query):
            return [{"id": "d1", "text": f"Write to {MAIL}", "score": 0.5}]

        (document,) = search("q")
        assert MAIL not in document["text"]
        assert document["id"] == "d1"
        assert [s.id for s in seen.decisions[0].sources] == ["d1"]

    def test_strictness_is_raised_by_a_switch(self, door):
        policy = Regex("zeta", on="output", action="flag", strict_action="block")
        answer = door.llm("answer", policies=[policy])(lambda: "zeta")
        assert answer() == "zeta"
        door.switches.strictness("strict", reason="drill", actor="ana")
        with pytest.raises(fd.PolicyBlocked):
            answer()

    def test_policies_that_break_are_told_of_and_do_what_they_were_told(self, door, seen):
        @door.policy(on="output", on_error="allow")
        def broken(text: str) -> bool:
            raise RuntimeError("canary-91")

        assert door.llm("answer", policies=[broken])(lambda: "said")() == "said"
        (verdict,) = seen.decisions[0].verdicts
        assert verdict.status == "errored"
        assert "canary-91" not in str(verdict)


class TestStreams:
    @pytest.mark.parametrize("shape", ["generator", "async generator"])
    async def test_one_that_is_left_while_a_policy_thinks_was_cancelled_and_paid_for(
        self, make_door, seen, shape
    ):
        text = "It is at the depot. " * 20

        @fd.policies.policy(on="output")
        def left(text: str) -> bool:
            raise asyncio.CancelledError

        door = make_door(prices={"big": (10, 40)})
        guard = door.llm(
            "answer", model="big", policies=[left], budgets=[fd.Budget(usd=1, per="day")]
        )

        @guard
        def answer():
            yield from text.split()

        @guard
        async def answered():
            for word in text.split():
                yield word

        stream = answer() if shape == "generator" else answered()
        with pytest.raises(asyncio.CancelledError):
            if shape == "generator":
                list(stream)
            else:
                [word async for word in stream]
        (decision,) = seen.decisions
        assert decision.outcome == "cancelled"
        assert decision.usage.output_tokens
        assert decision.cost_usd > 0

    @pytest.mark.parametrize("cut", range(0, len(KEY), 3))
    def test_a_secret_cut_anywhere_is_never_let_out(self, door, seen, cut):
        @door.llm("answer", policies=[Secrets(on="output", action="redact")])
        def answer():
            yield "The key is "
            yield KEY[:cut]
            yield KEY[cut:]
            yield ". That is all.\n"

        text = "".join(answer())
        assert KEY[: max(cut, 8)] not in text
        assert text.startswith("The key is <aws_access_key:")
        assert text.endswith(". That is all.\n")
        assert seen.decisions[0].outcome == "degraded"

    def test_a_block_ends_the_stream_before_the_finding(self, door, provider, seen):
        client = provider.openai()
        provider.script(Reply(f"First line.\nThe key is {KEY} ok?"))

        @door.llm("answer", model="gpt-5", policies=[Secrets(on="output", action="block")])
        def answer(*, model):
            return client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "?"}], stream=True
            )

        got = []
        with pytest.raises(fd.PolicyBlocked) as denied:
            for chunk in answer():
                got.append(chunk)
        text = "".join(c.choices[0].delta.content or "" for c in got if c.choices)
        assert "AKIA" not in text
        assert text.startswith("First line.")
        assert denied.value.ran
        assert seen.decisions[0].outcome == "blocked"
        assert len(seen.decisions) == 1

    async def test_async_policies_judge_the_stream_of_an_async_generator(self, door, seen):
        """They need the whole: nothing is shown before its end, and then all of it or nothing."""

        @door.policy(on="output")
        async def no_names(text: str) -> bool | str:
            await asyncio.sleep(0)
            return text.replace("zeta", "<name>") if "zeta" in text else "order" not in text

        @door.llm("answer", policies=[no_names, Regex("page", on="output", action="redact")])
        async def answer(question):
            for piece in question.split("|"):
                yield piece

        assert "".join([piece async for piece in answer("the ze|ta| pa|ge")]) == (
            "the <name> <regex>"
        )
        shown = []
        with pytest.raises(fd.PolicyBlocked) as denied:
            async for piece in answer("my or|der"):
                shown.append(piece)
        assert not shown
        assert denied.value.ran
        assert [d.outcome for d in seen.decisions] == ["degraded", "blocked"]
        assert [v.status for v in seen.decisions[0].verdicts] == ["redacted", "redacted"]

    async def test_async_streams_of_an_sdk(self, door, provider, seen):
        client = provider.async_anthropic()
        provider.script(Reply(f"Write to {MAIL} today."))

        @door.llm("answer", model="claude", policies=[PersonalData(on="output", action="redact")])
        async def answer(*, model):
            return await client.messages.create(
                model=model,
                messages=[{"role": "user", "content": "?"}],
                max_tokens=64,
                stream=True,
            )

        text = ""
        async for event in await answer():
            if event.type == "content_block_delta":
                text += event.delta.text
        assert MAIL not in text
        assert text.endswith("today.")
        (decision,) = seen.decisions
        assert decision.finish_reasons == ("stop",)
        assert decision.verdicts[0].status == "redacted"

    def test_a_whole_text_policy_holds_everything(self, door, seen):
        @door.llm("answer", policies=[JsonSchema(dict[str, int], on="output")])
        def answer(parts):
            yield from parts

        assert "".join(answer(['{"a"', ": 1}"])) == '{"a": 1}'
        with pytest.raises(fd.PolicyBlocked):
            list(answer(['{"a"', ": true"]))
        assert [d.outcome for d in seen.decisions] == ["answered", "blocked"]

    def test_max_length_cuts_a_stream_exactly(self, door):
        @door.llm("answer", policies=[MaxLength(5, on="output", action="redact")])
        def answer():
            yield from ["abc", "def", "ghi"]

        assert "".join(answer()).startswith("abcde")

    def test_tool_calls_of_a_stream_pass(self, door, provider):
        client = provider.openai()
        provider.script(Reply(text=None, tools=(ToolUse("refund", '{"order": "o-1"}'),)))

        @door.llm("answer", model="gpt-5", policies=[Secrets(on="output", action="redact")])
        def answer(*, model):
            return client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "?"}], stream=True
            )

        arguments = "".join(
            tool.function.arguments or ""
            for chunk in answer()
            if chunk.choices
            for tool in chunk.choices[0].delta.tool_calls or ()
        )
        assert arguments == '{"order": "o-1"}'

    async def test_async_policies_judge_events_that_repeat_the_whole(self, door, provider, seen):
        """A provider's "done" events come in mid-stream, and show what the pieces showed."""

        @door.policy(on="output")
        async def no_names(text: str) -> str:
            await asyncio.sleep(0)
            return text.replace("zeta", "<name>")

        client = provider.async_openai()
        provider.script(Reply("my zeta is here"))

        @door.llm("answer", model="gpt-5", policies=[no_names])
        async def answer(*, model):
            return await client.responses.create(model=model, input="?", stream=True)

        events = [event async for event in await answer()]
        deltas = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        (done,) = [e.text for e in events if e.type == "response.output_text.done"]
        assert deltas == done == events[-1].response.output_text == "my <name> is here"
        (decision,) = seen.decisions
        assert statuses(decision) == [("policy:no_names", "output", "redacted")]

    @pytest.mark.parametrize("shape", ["chat", "responses", "messages"])
    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_what_was_held_goes_out_before_the_end_is_told(
        self, door, provider, seen, shape, asynchronous
    ):
        """Whoever reads up to the event that says so has it all."""
        provider.script(Reply(f"The key is {KEY}"))
        sdk = "anthropic" if shape == "messages" else "openai"
        client = getattr(provider, f"async_{sdk}" if asynchronous else sdk)()
        ask = [{"role": "user", "content": "?"}]
        begin = {
            "chat": lambda **kw: client.chat.completions.create(messages=ask, **kw),
            "responses": lambda **kw: client.responses.create(input="?", **kw),
            "messages": lambda **kw: client.messages.create(messages=ask, max_tokens=9, **kw),
        }[shape]

        def over(event):
            if shape == "chat":
                return bool(event.choices) and event.choices[0].finish_reason == "stop"
            return event.type in ("response.output_text.done", "content_block_stop")

        guard = door.llm("answer", model="m", policies=[Secrets(on="output", action="redact")])
        got = []
        if asynchronous:

            @guard
            async def answer(*, model):
                return await begin(model=model, stream=True)

            async for event in await answer():
                got.append(event)
                if over(event):
                    break
        else:
            for event in guard(lambda *, model: begin(model=model, stream=True))():
                got.append(event)
                if over(event):
                    break
        text = "".join(text_of(event) or "" for event in got)
        assert over(got[-1])
        assert text.startswith("The key is <aws_access_key:")

    async def test_helpers_of_the_sdks_tell_the_whole_text_at_its_end(self, door, provider):
        """They put the pieces together themselves, up to the event that ends them."""
        openai, anthropic = provider.openai(), provider.async_anthropic()
        ask = [{"role": "user", "content": "?"}]
        guard = partial(door.llm, model="m", policies=[Secrets(on="output", action="redact")])
        chat = guard("chat")(
            lambda *, model: openai.chat.completions.stream(model=model, messages=ask)
        )
        messages = guard("messages")(
            lambda *, model: anthropic.messages.stream(model=model, messages=ask, max_tokens=9)
        )
        provider.script(Reply(f"The key is {KEY}"), Reply(f"The key is {KEY}"))
        with chat() as stream:
            (done,) = [event.content for event in stream if event.type == "content.done"]
        async with messages() as stream:
            blocks = [e.content_block async for e in stream if e.type == "content_block_stop"]
        for text in (done, blocks[0].text):
            assert text.startswith("The key is <aws_access_key:")

    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_what_a_generator_yields_when_it_is_resumed_passes_too(
        self, door, seen, asynchronous
    ):
        """By a value that is sent, or an exception that is thrown."""
        guard = door.llm("answer", policies=[Secrets(on="output", action="redact")])
        got = []
        if asynchronous:

            @guard
            async def answer():
                got.append((yield "The key is " + KEY[:9]))
                yield KEY[9:] + " now.\n"
                try:
                    yield "So.\n"
                except ValueError:
                    yield f"No, {KEY}\n"

            stream = answer()
            shown = [await anext(stream), await stream.asend("one"), await stream.asend("two")]
            shown.append(await stream.athrow(ValueError("three")))
            with pytest.raises(StopAsyncIteration):
                await stream.asend("four")
        else:

            @guard
            def answer():
                got.append((yield "The key is " + KEY[:9]))
                yield KEY[9:] + " now.\n"
                try:
                    yield "So.\n"
                except ValueError:
                    yield f"No, {KEY}\n"

            stream = answer()
            shown = [next(stream), stream.send("one"), stream.send("two")]
            shown.append(stream.throw(ValueError("three")))
            with pytest.raises(StopIteration):
                stream.send("four")
        assert got == ["one"]
        assert KEY[:9] not in "".join(shown)
        assert "".join(shown).count("<aws_access_key:") == 2
        assert seen.decisions[0].outcome == "degraded"

    @pytest.mark.parametrize("shape", ["responses", "messages"])
    def test_reasoning_that_is_told_is_filtered_too(self, door, provider, shape):
        """As of a whole answer; whatever event repeats it."""
        provider.script(Reply("Done.", thinking=f"The key is {KEY}"))
        openai, anthropic = provider.openai(), provider.anthropic()

        @door.llm("answer", model="m", policies=[Secrets(on="output", action="redact")])
        def answer(*, model):
            if shape == "responses":
                return openai.responses.create(model=model, input="?", stream=True)
            ask = [{"role": "user", "content": "?"}]
            return anthropic.messages.create(model=model, messages=ask, max_tokens=9, stream=True)

        events = list(answer())
        told = [event.to_json() for event in events]
        assert KEY not in "".join(told)
        assert "<aws_access_key:" in "".join(told)
        assert "".join(text_of(event) or "" for event in events) == "Done."

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("shape", ["responses", "messages"])
    def test_reasoning_need_not_be_of_the_answers_schema(self, door, provider, shape, stream):
        """It comes before the answer, in words; a function is told which of the two it is given."""
        said = Reply('{"a": 1}', thinking="Let me see")
        provider.script(said, said, Reply("one", thinking='{"a": 1}'))
        openai, anthropic = provider.openai(), provider.anthropic()
        given = []

        @door.policy(on="output")
        def look(text: str, context) -> None:
            given.append((text, context.reasoning))

        @door.llm("answer", model="m", policies=[JsonSchema(dict[str, int], on="output"), look])
        def answer(*, model):
            if shape == "responses":
                return openai.responses.create(model=model, input="?", stream=stream)
            ask = [{"role": "user", "content": "?"}]
            return anthropic.messages.create(model=model, messages=ask, max_tokens=9, stream=stream)

        def read():
            return list(answer()) if stream else answer()

        read()
        assert set(given) == {("Let me see", True), ('{"a": 1}', False)}
        read()
        with pytest.raises(fd.PolicyBlocked):
            read()

    def test_pieces_that_are_empty_are_no_texts(self, door):
        @door.llm("answer", policies=[JsonSchema(dict[str, int], on="output")])
        def answer():
            yield from ["", '{"a"', "", ": 1}", ""]

        assert "".join(answer()) == '{"a": 1}'

    @pytest.mark.parametrize(
        "place", ["reasoning_content", "second choice", "blocks", "start", "ollama", "generate"]
    )
    def test_every_text_of_a_chunk_has_a_window_of_its_own(self, door, place):
        """Whatever comes with it, and wherever it stands in its chunk."""
        pieces = ["The key is " + KEY[:9], KEY[9:] + " ok ", "and that is all of it for now "]

        def chunk(number, piece):
            plain = {"index": 0, "delta": {"content": f"{number}. "}, "finish_reason": None}
            if place == "reasoning_content":
                plain["delta"]["reasoning_content"] = piece
                return {"choices": [plain]}
            if place == "second choice":
                choices = [plain, {"index": 1, "delta": {"content": piece}}]
                return {"choices": choices[::-1] if number % 2 else choices}
            if place == "blocks":
                block = {"type": "text", "text": piece, "index": 0}
                return {"content": [block], "response_metadata": {}, "type": "AIMessageChunk"}
            if place == "ollama":
                return {"message": {"role": "assistant", "content": piece}, "done": False}
            if place == "generate":
                return {"response": piece, "done": False}
            if number == 0:
                opened = {"type": "text", "text": piece}
                return {"type": "content_block_start", "index": 0, "content_block": opened}
            delta = {"type": "text_delta", "text": piece}
            return {"type": "content_block_delta", "index": 0, "delta": delta}

        @door.llm("answer", policies=[Secrets(on="output", action="redact")])
        def answer():
            for number, piece in enumerate(pieces):
                yield chunk(number, piece)

        shown = str(list(answer()))
        assert KEY[:9] not in shown
        assert KEY[9:] not in shown
        assert shown.count("<aws_access_key:") == 1
        for number in range(3) if place in {"reasoning_content", "second choice"} else ():
            assert shown.count(f"{number}. ") == 1

    def test_an_end_that_is_told_too_early_ends_no_text(self, door):
        """Some servers say `finish_reason` again and again."""

        def said(text, finish=None):
            return {"choices": [{"delta": {"content": text}, "finish_reason": finish}]}

        @door.llm("answer", policies=[Secrets(on="output", action="redact")])
        def answer():
            yield said("The key is " + KEY[:9])
            yield said("", "stop")
            yield said(KEY[9:] + " now")
            yield said("", "stop")
            yield {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}

        chunks = list(answer())
        text = "".join(c["choices"][0]["delta"]["content"] for c in chunks if c["choices"])
        assert text.startswith("The key is <aws_access_key:")
        assert text.endswith("> now")
        assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-2:] == [
            "stop",
            "stop",
        ]
        assert "usage" in chunks[-1]

    def test_watchers_delay_no_end(self, door):
        """What holds no text back holds no chunk back either."""
        last = {"choices": [{"delta": {"content": None}, "finish_reason": "stop"}]}

        @door.llm("answer", policies=[Secrets(on="output", action="flag")])
        def answer():
            yield {"choices": [{"delta": {"content": "said"}, "finish_reason": None}]}
            yield last
            raise ConnectionError

        stream = answer()
        next(stream)
        assert next(stream) == last

    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_values_of_a_stream_are_judged_one_by_one(self, door, seen, asynchronous):
        """A tool's results are no text in pieces; the verdict is the gravest."""
        policies = [
            PersonalData(on="tool_result", action="redact"),
            Secrets(on="tool_result", action="block"),
        ]

        async def read(*rows):
            if asynchronous:

                @door.tool("rows", policies=policies)
                async def find():
                    for row in rows:
                        yield row

                return [row async for row in find()]

            @door.tool("rows", policies=policies)
            def find():
                yield from rows

            return list(find())

        rows = {"id": MAIL, "body": "one"}, [f"Write to {MAIL}"], MAIL.encode(), {"content": "four"}
        shown = await read(*rows)
        assert MAIL not in str(shown)
        assert shown[0]["body"] == "one"
        assert shown[3] is rows[3]
        with pytest.raises(fd.PolicyBlocked, match="tool result"):
            await read({"text": "one"}, {"body": KEY})
        await read({"rows": 3})
        assert [[v.status for v in d.verdicts] for d in seen.decisions] == [
            ["redacted", "passed"],
            ["passed", "blocked"],
            ["not_applicable", "not_applicable"],
        ]

    def test_documents_of_a_stream_stay_apart(self, door, seen):
        """Also where each is but a text."""
        documents = ["Call 020 7946 0958", f"Write to {MAIL}", "or come by"]

        @door.retrieval("kb", policies=[PersonalData(on="retrieval", action="redact")])
        def search(query):
            yield from documents

        one, two, three = search("q")
        assert one.startswith("Call <phone:")
        assert two.startswith("Write to <email:")
        assert three == "or come by"
        assert statuses(seen.decisions[0]) == [("policy:personal_data", "retrieval", "redacted")]

    def test_fallback_and_filter_together(self, door, provider, seen):
        client = provider.openai()
        provider.on("big", Reply("x", after=0, then="cut"))
        provider.on("small", Reply(f"Write to {MAIL} today."))

        @door.llm(
            "answer",
            tiers=[fd.Tier("big"), fd.Tier("small")],
            policies=[PersonalData(on="output", action="redact")],
        )
        def answer(*, model):
            return client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "?"}], stream=True
            )

        text = "".join(c.choices[0].delta.content or "" for c in answer() if c.choices)
        assert text.startswith("Write to <email:")
        assert seen.decisions[0].tier == 1
