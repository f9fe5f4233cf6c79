"""Every way a stream can end, in every shape: one span, one decision, the right outcome.

The providers' own stream objects go through the same ways in `test_providers.py`.
"""

import asyncio
import gc
import subprocess
import sys
import textwrap
import weakref

import pytest

import firedoor as fd
from firedoor.testing import FakeClock


class Boom(ConnectionError):
    """The provider went away."""


def texts(fail_after=None):
    for number in range(3):
        if number == fail_after:
            raise Boom("gone")
        yield f"part {number} "


async def atexts(fail_after=None):
    for part in texts(fail_after):
        await asyncio.sleep(0)
        yield part


class Iterator:
    """A stream object as SDKs make them: neither generator nor list."""

    def __init__(self, parts):
        self.parts = parts
        self.closed = False
        self.response = "raw"

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.parts)

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


class AsyncIterator(Iterator):
    __iter__ = __next__ = __enter__ = __exit__ = None

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await anext(self.parts)

    async def close(self):
        self.closed = True

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        await self.close()


@pytest.fixture(params=["generator function", "returned generator", "stream object"])
def sync_stream(request, door):
    if request.param == "generator function":
        return door.llm("answer", model="m")(texts)
    if request.param == "returned generator":
        return door.llm("answer", model="m")(lambda **k: texts(**k))
    return door.llm("answer", model="m")(lambda **k: Iterator(texts(**k)))


@pytest.fixture(params=["async generator function", "returned by coroutine", "stream object"])
def async_stream(request, door):
    """Calls to it give an async stream, awaited or not as the shape asks."""
    if request.param == "async generator function":
        guarded = door.llm("answer", model="m")(atexts)

        async def start(**k):
            return guarded(**k)

        return start
    if request.param == "returned by coroutine":

        @door.llm("answer", model="m")
        async def returned(**k):
            return atexts(**k)

        return returned

    @door.llm("answer", model="m")
    async def made(**k):
        return AsyncIterator(atexts(**k))

    return made


def only(seen):
    """The one decision, which has the one span."""
    assert len(seen.decisions) == 1, seen.decisions
    assert len(seen.spans) == 1
    (decision,) = seen.decisions
    assert seen.spans[0].context.span_id == int(decision.span_id, 16)
    return decision


class TestSync:
    def test_read_to_the_end(self, sync_stream, seen):
        assert len(list(sync_stream())) == 3
        decision = only(seen)
        assert decision.outcome == "answered"
        assert decision.chunks == 3
        assert decision.first_token_s is not None

    def test_raising(self, sync_stream, seen):
        with pytest.raises(Boom):
            list(sync_stream(fail_after=1))
        decision = only(seen)
        assert (decision.outcome, decision.fault) == ("failed", "target")
        assert decision.truncated
        assert decision.finish_reasons == ("error",)

    def test_raising_before_the_first_chunk(self, sync_stream, seen):
        with pytest.raises(Boom):
            list(sync_stream(fail_after=0))
        decision = only(seen)
        assert decision.outcome == "failed"
        assert not decision.truncated

    def test_break(self, sync_stream, seen):
        for _ in sync_stream():
            break
        gc.collect()
        assert only(seen).outcome == "abandoned"

    def test_close(self, sync_stream, seen):
        stream = sync_stream()
        next(stream)
        stream.close()
        assert only(seen).outcome == "abandoned"
        stream.close()
        assert only(seen)

    def test_with_block_left_early(self, sync_stream, seen):
        with sync_stream() as stream:
            next(stream)
        assert only(seen).outcome == "abandoned"

    def test_with_block_left_by_an_exception(self, sync_stream, seen):
        with pytest.raises(KeyError), sync_stream() as stream:
            next(stream)
            raise KeyError("consumer")
        decision = only(seen)
        assert decision.outcome == "failed"

    def test_interrupted(self, door, seen):
        @door.llm("answer")
        def answer():
            yield "a"
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(answer())
        assert only(seen).outcome == "cancelled"

    def test_never_iterated(self, sync_stream, seen):
        sync_stream()
        gc.collect()
        decision = only(seen)
        assert decision.outcome == "abandoned"
        assert decision.chunks == 0

    def test_collected_in_a_cycle(self, sync_stream, seen, door):
        holder = [sync_stream()]
        next(holder[0])
        holder.append(holder)
        del holder
        gc.collect()
        door.flush()
        assert only(seen).outcome == "abandoned"

    def test_open_when_the_door_closes(self, sync_stream, seen, door):
        stream = sync_stream()
        next(stream)
        door.close()
        assert only(seen).outcome == "abandoned"
        assert list(stream)
        assert only(seen)

    def test_read_after_its_end(self, sync_stream, seen):
        stream = sync_stream()
        list(stream)
        assert list(stream) == []
        assert only(seen)


class TestAsync:
    async def test_read_to_the_end(self, async_stream, seen):
        assert len([part async for part in await async_stream()]) == 3
        decision = only(seen)
        assert decision.outcome == "answered"
        assert decision.chunks == 3

    async def test_raising(self, async_stream, seen):
        with pytest.raises(Boom):
            async for _ in await async_stream(fail_after=1):
                pass
        decision = only(seen)
        assert (decision.outcome, decision.fault) == ("failed", "target")
        assert decision.truncated

    async def test_break(self, async_stream, seen):
        async for _ in await async_stream():
            break
        gc.collect()
        assert only(seen).outcome == "abandoned"

    async def test_close(self, async_stream, seen):
        stream = await async_stream()
        await anext(stream)
        await stream.close()
        assert only(seen).outcome == "abandoned"

    async def test_aclose(self, async_stream, seen):
        stream = await async_stream()
        await anext(stream)
        await stream.aclose()
        assert only(seen).outcome == "abandoned"

    async def test_cancelled(self, door, seen):
        begun = asyncio.Event()

        @door.llm("answer")
        async def answer():
            yield "a"
            begun.set()
            await asyncio.Event().wait()

        async def consume():
            async for _ in answer():
                pass

        task = asyncio.create_task(consume())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert only(seen).outcome == "cancelled"

    async def test_never_iterated(self, async_stream, seen):
        await async_stream()
        gc.collect()
        assert only(seen).outcome == "abandoned"

    async def test_collected_in_a_cycle(self, async_stream, seen, door):
        holder = [await async_stream()]
        await anext(holder[0])
        holder.append(holder)
        del holder
        gc.collect()
        await asyncio.sleep(0)
        door.flush()
        assert only(seen).outcome == "abandoned"

    async def test_read_in_another_task_than_it_was_made_in(self, async_stream, seen):
        stream = await async_stream()

        async def consume():
            return [part async for part in stream]

        assert len(await asyncio.create_task(consume())) == 3
        assert only(seen).outcome == "answered"


class TestPlainCalls:
    """The two shapes without a stream."""

    def test_return(self, door, seen):
        assert door.llm("answer")(lambda: "hi")() == "hi"
        assert only(seen).outcome == "answered"

    def test_raise(self, door, seen):
        def fail():
            raise Boom("gone")

        with pytest.raises(Boom):
            door.llm("answer")(fail)()
        decision = only(seen)
        assert (decision.outcome, decision.fault) == ("failed", "target")
        assert decision.error_fingerprint

    def test_a_bug_of_the_application_is_its_own_fault(self, door, seen):
        with pytest.raises(ZeroDivisionError):
            door.tool("divide")(lambda: 1 / 0)()
        assert only(seen).fault == "caller"

    async def test_async_return_and_raise(self, door, seen):
        @door.llm("answer")
        async def answer(fail=False):
            if fail:
                raise Boom("gone")
            return "hi"

        assert await answer() == "hi"
        with pytest.raises(Boom):
            await answer(fail=True)
        assert [d.outcome for d in seen.decisions] == ["answered", "failed"]
        assert len(seen.spans) == 2

    async def test_async_cancel(self, door, seen):
        begun = asyncio.Event()

        @door.llm("answer")
        async def answer():
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(answer())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        decision = only(seen)
        assert decision.outcome == "cancelled"
        assert decision.fault is None


class TestTheProxyIsTheStream:
    def test_attributes_pass_through(self, door):
        stream = door.llm("answer")(lambda: Iterator(texts()))()
        assert stream.response == "raw"
        assert isinstance(stream, Iterator)
        stream.close()
        assert stream.closed

    def test_leaving_its_block_closes_it(self, door):
        with door.llm("answer")(lambda: Iterator(texts()))() as stream:
            pass
        assert stream.closed

    def test_generators_take_send_and_throw_and_give_their_value(self, door, seen):
        @door.tool("dialogue")
        def dialogue():
            got = yield "ready"
            try:
                yield got
            except KeyError:
                yield "caught"
            return "value"

        stream = dialogue()
        assert next(stream) == "ready"
        assert stream.send("hello") == "hello"
        assert stream.throw(KeyError("x")) == "caught"
        with pytest.raises(StopIteration) as stop:
            next(stream)
        assert stop.value.value == "value"
        assert only(seen).outcome == "answered"

    async def test_async_generators_take_asend_and_athrow(self, door, seen):
        @door.tool("dialogue")
        async def dialogue():
            got = yield "ready"
            try:
                yield got
            except KeyError:
                yield "caught"

        stream = dialogue()
        assert await anext(stream) == "ready"
        assert await stream.asend("hello") == "hello"
        assert await stream.athrow(KeyError("x")) == "caught"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert only(seen).outcome == "answered"


class TestContext:
    def test_the_span_is_current_inside_the_generator_and_not_outside(self, door, seen):
        inner = door.tool("inner")(lambda: None)

        @door.llm("answer", model="m")
        def answer():
            inner()
            yield fd.current_attempt()
            inner()

        stream = answer()
        assert next(stream) is not None
        assert fd.current_attempt() is None
        assert list(stream) == []
        spans = {s.name: s for s in seen.spans}
        assert spans["execute_tool inner"].parent.span_id == spans["chat m"].context.span_id

    async def test_two_interleaved_streams_keep_their_spans_apart(self, door, seen):
        @door.llm("answer")
        async def answer(name):
            for _ in range(2):
                door.tool(name)(lambda: None)()
                await asyncio.sleep(0)
                yield name

        first, second = answer("one"), answer("two")
        for _ in range(2):
            await anext(first)
            await anext(second)
        await first.aclose()
        await second.aclose()
        parents = {}
        for span in seen.spans:
            if span.parent:
                parents.setdefault(span.name, set()).add(span.parent.span_id)
        assert {len(p) for p in parents.values()} == {1}
        assert parents["execute_tool one"] != parents["execute_tool two"]


def test_first_token_idle_gap_and_total_are_timed(make_door, seen):
    clock = FakeClock()
    door = make_door(clock=clock)

    @door.llm("answer")
    def answer():
        clock.advance(2.0)
        yield "a"
        clock.advance(0.5)
        yield "b"
        clock.advance(3.0)
        yield "c"
        clock.advance(1.0)

    for _ in answer():
        clock.advance(10.0)  # the consumer's own time is not the provider's gap
    decision = only(seen)
    assert decision.first_token_s == pytest.approx(2.0)
    assert decision.idle_gap_s == pytest.approx(3.0)
    assert decision.latency_s == pytest.approx(36.5)


def test_a_dropped_stream_is_not_kept_alive(door):
    stream = door.llm("answer")(lambda: Iterator(texts()))()
    reference = weakref.ref(stream)
    next(stream)
    del stream
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("provider_first", [True, False])
def test_a_stream_open_at_interpreter_exit_is_told_of(tmp_path, provider_first):
    out = tmp_path / "spans.txt"
    program = textwrap.dedent(f"""
        import firedoor as fd
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        class ToFile(SpanExporter):
            def export(self, spans):
                with open({str(out)!r}, "a") as file:
                    for span in spans:
                        file.write(span.attributes["firedoor.outcome"] + "\\n")
                return SpanExportResult.SUCCESS

        def set_up():
            provider = TracerProvider()
            provider.add_span_processor(SimpleSpanProcessor(ToFile()))
            trace.set_tracer_provider(provider)

        if {provider_first}: set_up()
        door = fd.Firedoor("app")
        if not {provider_first}: set_up()

        @door.llm("answer")
        def answer():
            yield "a"
            yield "b"

        stream = answer()
        next(stream)
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert out.read_text() == "abandoned\n"
