"""The matrix with the providers' real SDKs over real HTTP.

Four shapes (call, async call, stream, async stream) x every way to end x three APIs: one span, one
decision, the right outcome.
"""

import asyncio
import gc
import json
import threading

import pytest

from support.provider_server import Failure, Reply, Tokens, ToolUse

QUESTION = [{"role": "user", "content": "Where is my order?"}]


class Chat:
    """OpenAI Chat Completions."""

    name = "openai"
    model = "gpt-5"

    @staticmethod
    def arguments(stream):
        extra = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        return {"messages": QUESTION, **extra}

    @classmethod
    def call(cls, provider, stream):
        client = provider.openai()
        return lambda model: client.chat.completions.create(model=model, **cls.arguments(stream))

    @classmethod
    def acall(cls, provider, stream):
        client = provider.async_openai()
        return lambda model: client.chat.completions.create(model=model, **cls.arguments(stream))


class Responses(Chat):
    """OpenAI Responses."""

    @staticmethod
    def arguments(stream):
        return {"input": "Where is my order?", "stream": stream}

    @classmethod
    def call(cls, provider, stream):
        client = provider.openai()
        return lambda model: client.responses.create(model=model, **cls.arguments(stream))

    @classmethod
    def acall(cls, provider, stream):
        client = provider.async_openai()
        return lambda model: client.responses.create(model=model, **cls.arguments(stream))


class Messages:
    """Anthropic Messages."""

    name = "anthropic"
    model = "claude-test"

    @classmethod
    def call(cls, provider, stream):
        client = provider.anthropic()
        return lambda model: client.messages.create(
            model=model, messages=QUESTION, max_tokens=64, stream=stream
        )

    @classmethod
    def acall(cls, provider, stream):
        client = provider.async_anthropic()
        return lambda model: client.messages.create(
            model=model, messages=QUESTION, max_tokens=64, stream=stream
        )


@pytest.fixture(params=[Chat, Responses, Messages], ids=lambda c: c.__name__.lower())
def api(request):
    return request.param


@pytest.fixture
def guarded(door, provider, api):
    """Makes the guarded function of a shape."""

    def make(stream=False, asynchronous=False):
        if asynchronous:
            create = api.acall(provider, stream)

            @door.llm("answer", model=api.model)
            async def answer(*, model):
                return await create(model)

        else:
            create = api.call(provider, stream)

            @door.llm("answer", model=api.model)
            def answer(*, model):
                return create(model)

        return answer

    return make


def only(seen):
    assert len(seen.decisions) == 1, seen.decisions
    assert len(seen.spans) == 1
    return seen.decisions[0]


class TestCall:
    def test_return(self, guarded, seen, api):
        guarded()()
        decision = only(seen)
        assert decision.outcome == "answered"
        assert decision.provider == api.name
        assert decision.finish_reasons == ("stop",)
        assert decision.usage.input_tokens == 12
        assert decision.usage.certainty == "exact"
        assert decision.response_id

    @pytest.mark.parametrize(
        ("status", "fault"),
        [(400, "caller"), (401, "caller"), (404, "caller"), (429, "target"), (503, "target")],
    )
    def test_raise(self, guarded, provider, seen, status, fault):
        provider.script(Failure(status))
        with pytest.raises(Exception):
            guarded()()
        decision = only(seen)
        assert (decision.outcome, decision.fault) == ("failed", fault)
        assert decision.error_type

    def test_refusal(self, guarded, provider, seen):
        provider.script(
            Reply(text=None, refusal="I can't help with that.", finish="content_filter")
        )
        guarded()()
        assert only(seen).outcome == "refused"

    def test_tool_calls(self, guarded, provider, seen):
        provider.script(Reply(text=None, tools=(ToolUse("refund", '{"order": "o-1"}'),)))
        guarded()()
        decision = only(seen)
        assert [t.name for t in decision.tool_calls] == ["refund"]
        assert decision.finish_reasons == ("tool_call",)

    async def test_async_return(self, guarded, seen):
        await guarded(asynchronous=True)()
        assert only(seen).outcome == "answered"

    async def test_async_raise(self, guarded, provider, seen):
        provider.script(Failure(503))
        with pytest.raises(Exception):
            await guarded(asynchronous=True)()
        assert only(seen).fault == "target"

    async def test_async_cancel(self, guarded, provider, seen):
        hold = threading.Event()
        provider.script(Reply(hold=hold))
        task = asyncio.create_task(guarded(asynchronous=True)())
        while not provider.requests:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hold.set()
        assert only(seen).outcome == "cancelled"


class TestStream:
    def test_return(self, guarded, seen, api):
        chunks = list(guarded(stream=True)())
        decision = only(seen)
        assert decision.outcome == "answered"
        assert decision.finish_reasons == ("stop",)
        assert decision.chunks == len(chunks)
        assert decision.first_token_s is not None
        assert decision.usage.certainty == "exact"

    def test_raise_before_the_stream(self, guarded, provider, seen):
        provider.script(Failure(503))
        with pytest.raises(Exception):
            guarded(stream=True)()
        assert only(seen).fault == "target"

    @pytest.mark.parametrize("then", ["cut", "reset", "end", "malformed", "error"])
    def test_broken_in_the_middle(self, guarded, provider, seen, then):
        provider.script(Reply("One two three four", after=2, then=then))
        try:
            list(guarded(stream=True)())
        except Exception:
            pass
        decision = only(seen)
        assert decision.truncated
        assert (decision.outcome, decision.fault) == ("failed", "target")
        assert decision.finish_reasons == ("error",)
        assert decision.error_type

    def test_without_a_finish_reason(self, guarded, provider, seen):
        provider.script(Reply(finish=None))
        list(guarded(stream=True)())
        decision = only(seen)
        assert decision.truncated
        assert decision.outcome == "failed"

    def test_break(self, guarded, seen):
        for _ in guarded(stream=True)():
            break
        gc.collect()
        assert only(seen).outcome == "abandoned"

    def test_close(self, guarded, seen):
        stream = guarded(stream=True)()
        next(stream)
        stream.close()
        assert only(seen).outcome == "abandoned"

    def test_with_block(self, guarded, seen):
        with guarded(stream=True)() as stream:
            for _ in stream:
                pass
        assert only(seen).outcome == "answered"

    def test_never_iterated(self, guarded, seen):
        guarded(stream=True)()
        gc.collect()
        assert only(seen).outcome == "abandoned"

    def test_collected_in_a_cycle(self, guarded, seen, door):
        holder = [guarded(stream=True)()]
        next(holder[0])
        holder.append(holder)
        del holder
        gc.collect()
        door.flush()
        assert only(seen).outcome == "abandoned"

    def test_interface_of_the_sdk_is_kept(self, guarded):
        with guarded(stream=True)() as stream:
            assert stream.response.status_code == 200


class TestAsyncStream:
    async def test_return(self, guarded, seen):
        async for _ in await guarded(stream=True, asynchronous=True)():
            pass
        decision = only(seen)
        assert decision.outcome == "answered"
        assert decision.usage.certainty == "exact"

    @pytest.mark.parametrize("then", ["cut", "reset", "end", "malformed", "error"])
    async def test_broken_in_the_middle(self, guarded, provider, seen, then):
        provider.script(Reply("One two three four", after=2, then=then))
        try:
            async for _ in await guarded(stream=True, asynchronous=True)():
                pass
        except Exception:
            pass
        decision = only(seen)
        assert decision.truncated
        assert (decision.outcome, decision.fault) == ("failed", "target")

    async def test_break(self, guarded, seen):
        stream = await guarded(stream=True, asynchronous=True)()
        async for _ in stream:
            break
        await stream.close()
        assert only(seen).outcome == "abandoned"

    async def test_close(self, guarded, seen):
        stream = await guarded(stream=True, asynchronous=True)()
        await anext(stream)
        await stream.close()
        assert only(seen).outcome == "abandoned"

    async def test_async_with(self, guarded, seen):
        async with await guarded(stream=True, asynchronous=True)() as stream:
            async for _ in stream:
                pass
        assert only(seen).outcome == "answered"

    async def test_cancel(self, guarded, provider, seen):
        gate = threading.Event()
        provider.script(Reply("One two three", after=1, then="stall", gate=gate))
        got = asyncio.Event()

        async def consume():
            async for _ in await guarded(stream=True, asynchronous=True)():
                got.set()

        task = asyncio.create_task(consume())
        await got.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        assert only(seen).outcome == "cancelled"

    async def test_collected_in_a_cycle(self, guarded, seen, door):
        holder = [await guarded(stream=True, asynchronous=True)()]
        response = holder[0].response
        await anext(holder[0])
        holder.append(holder)
        del holder
        gc.collect()
        await response.aclose()
        door.flush()
        assert only(seen).outcome == "abandoned"

    async def test_never_iterated(self, guarded, seen):
        stream = await guarded(stream=True, asynchronous=True)()
        response = stream.response
        del stream
        gc.collect()
        await response.aclose()
        assert only(seen).outcome == "abandoned"


def test_usage_is_counted_when_the_provider_sends_none(door, provider, seen):
    provider.script(Reply("One two three four", usage=None))
    create = Chat.call(provider, stream=True)
    list(door.llm("answer", model="gpt-5")(lambda model: create(model))("gpt-5"))
    usage = only(seen).usage
    assert usage.certainty == "at_least"
    assert usage.output_tokens >= 1


def test_cached_and_reasoning_tokens(guarded, provider, seen):
    provider.script(Reply(usage=Tokens(input=100, output=20, cached=60, reasoning=5)))
    guarded()()
    usage = only(seen).usage
    assert usage.input_tokens == 100
    assert usage.cached_input_tokens == 60


class TestHelpers:
    """The SDKs' own conveniences around streams, which bypass a naive proxy."""

    def test_openai_chat_stream_manager(self, door, provider, seen):
        client = provider.openai()

        @door.llm("answer", model="gpt-5")
        def answer(*, model):
            return client.chat.completions.stream(model=model, messages=QUESTION)

        with answer() as stream:
            for _ in stream:
                pass
            assert stream.get_final_completion().choices[0].message.content
        assert only(seen).outcome == "answered"

    @pytest.mark.parametrize("way", ["iterate", "text_stream", "until_done", "get_final_text"])
    def test_anthropic_stream_manager(self, door, provider, seen, way):
        client = provider.anthropic()

        @door.llm("answer", model="claude")
        def answer(*, model):
            return client.messages.stream(model=model, messages=QUESTION, max_tokens=64)

        with answer() as stream:
            if way == "iterate":
                for _ in stream:
                    pass
            elif way == "text_stream":
                assert "".join(stream.text_stream) == "Hello there, friend."
            elif way == "until_done":
                stream.until_done()
            else:
                assert stream.get_final_text() == "Hello there, friend."
            assert stream.get_final_message().stop_reason == "end_turn"
        decision = only(seen)
        assert decision.outcome == "answered"
        assert decision.usage.input_tokens == 12
        assert decision.first_token_s is not None

    async def test_anthropic_async_stream_manager(self, door, provider, seen):
        client = provider.async_anthropic()

        @door.llm("answer", model="claude")
        def answer(*, model):
            return client.messages.stream(model=model, messages=QUESTION, max_tokens=64)

        async with answer() as stream:
            parts = [part async for part in stream.text_stream]
            assert "".join(parts) == "Hello there, friend."
            assert (await stream.get_final_message()).stop_reason == "end_turn"
        assert only(seen).outcome == "answered"


def test_the_span_of_a_real_call_names_nothing_the_user_said(guarded, seen):
    guarded()()
    text = json.dumps([json.loads(s.to_json()) for s in seen.spans])
    assert "Where is my order" not in text
    assert "Hello there" not in text
