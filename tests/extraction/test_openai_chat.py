"""Chat Completions, read from what the real client returns over HTTP."""

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firedoor.extraction import Extractors
from firedoor.extraction.chat import extract_chat
from firedoor.extraction.quick import quick_chat
from firedoor.types import ToolCall, Usage, UsageCertainty
from support.provider_server import Failure, Reply, Tokens, ToolUse

MESSAGES = [{"role": "user", "content": "Where is my order?"}]
WEATHER = ToolUse("weather", '{"city": "Ulm"}', id="call_a")
CLOCK = ToolUse("clock", '{"zone": "CET"}', id="call_b")


@pytest.fixture
def extractors():
    return Extractors()


@pytest.fixture
def ask(provider, extractors):
    """Ask once; the extract of the answer. Streams are read through a reader, chunk by chunk."""
    client = provider.openai()

    def ask(reply, *, stream=False, **kwargs):
        provider.script(reply)
        answer = client.chat.completions.create(
            model="gpt-5", messages=MESSAGES, stream=stream, **kwargs
        )
        if not stream:
            return extractors.extract(answer)
        reader = extractors.reader(answer)
        for chunk in answer:
            reader.feed(chunk)
        return reader.result()

    return ask


USAGE_ON = {"stream_options": {"include_usage": True}}
BOTH = pytest.mark.parametrize("how", [{}, {"stream": True, **USAGE_ON}], ids=["whole", "streamed"])


@BOTH
def test_an_answer_tells_model_id_usage_reason_and_text(ask, how):
    used = Tokens(input=20, output=9, cached=8, reasoning=4)
    found = ask(Reply("It is on its way.", usage=used, model="gpt-5-2026"), **how)

    assert found.model == "gpt-5-2026"
    assert found.provider == "openai"
    assert found.response_id == "resp-1"
    assert found.text == "It is on its way."
    assert found.finish_reasons == ("stop",)
    assert found.complete is True
    assert found.refusal is None
    assert found.unknown is None
    assert found.usage == Usage(20, 9, 8, None, 4, UsageCertainty.EXACT)


@BOTH
def test_tool_calls_are_put_together_from_their_fragments(ask, how):
    found = ask(Reply(None, tools=(WEATHER, CLOCK)), **how)

    assert found.tool_calls == (
        ToolCall("weather", "call_a", '{"city": "Ulm"}'),
        ToolCall("clock", "call_b", '{"zone": "CET"}'),
    )
    assert found.finish_reasons == ("tool_call",)
    assert found.text is None


@BOTH
def test_a_refusal_is_told_by_its_block(ask, how):
    found = ask(Reply(None, refusal="I cannot help with that."), **how)

    assert found.refusal == "refusal_block"
    assert found.text == "I cannot help with that."


@BOTH
def test_a_content_filter_is_a_refusal_told_by_the_stop_reason(ask, how):
    found = ask(Reply("I", finish="content_filter"), **how)

    assert found.refusal == "stop_reason"
    assert found.finish_reasons == ("content_filter",)
    assert found.complete is True


@BOTH
def test_several_choices_give_a_reason_each_and_all_their_texts(ask, how):
    found = ask(Reply("Yes, sir."), n=3, **how)

    assert found.finish_reasons == ("stop", "stop", "stop")
    assert found.text == "Yes, sir.\nYes, sir.\nYes, sir."


@pytest.mark.parametrize(("told", "word"), [("length", "length"), ("eos", "stop")])
def test_finish_reasons_are_opentelemetrys_words(ask, told, word):
    assert ask(Reply(finish=told)).finish_reasons == (word,)


def test_a_stream_without_usage_is_counted_and_said_to_be_a_lower_bound(ask):
    found = ask(Reply("One two three four five"), stream=True)

    assert found.usage == Usage(None, 5, certainty=UsageCertainty.AT_LEAST)


def test_a_stream_of_one_unfinished_choice_is_not_complete(ask, extractors):
    """With two choices, one finish reason does not end the answer."""

    def chunk(index, content, finish=None):
        delta = {"content": content}
        return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

    reader = extractors.reader()
    for piece in (chunk(0, "a"), chunk(1, "b"), chunk(0, None, "stop")):
        reader.feed(piece)
    assert reader.result().complete is False
    reader.feed(chunk(1, None, "length"))
    assert reader.result().complete is True
    assert reader.result().finish_reasons == ("stop", "length")


def test_content_is_text_refusal_and_tool_calls_and_nothing_else(provider, extractors):
    provider.script(Reply("Hi", tools=(WEATHER,)))
    stream = provider.openai().chat.completions.create(
        model="m", messages=MESSAGES, stream=True, **USAGE_ON
    )
    reader = extractors.reader()
    content = [reader.feed(chunk) for chunk in stream]

    head, *middle, finish, usage = content
    assert [head, finish, usage] == [False, False, False]
    assert all(middle)
    assert len(middle) >= 3


def test_a_parsed_answer_is_json(provider, extractors):
    class Order(pydantic.BaseModel):
        number: int

    provider.script(Reply('{"number": 7}'))
    parsed = provider.openai().chat.completions.parse(
        model="m", messages=MESSAGES, response_format=Order
    )
    found = extractors.extract(parsed)

    assert parsed.choices[0].message.parsed == Order(number=7)
    assert (found.text, found.output_type) == ('{"number": 7}', "json")


def test_a_raw_response_is_read_and_left_usable(provider, extractors):
    raw = provider.openai().chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
    assert extractors.extract(raw).text == "Hello there, friend."
    assert raw.parse().choices[0].message.content == "Hello there, friend."
    assert raw.headers["x-request-id"] == "req_1"


def test_a_raw_response_of_a_stream_is_not_consumed(provider, extractors):
    raw = provider.openai().chat.completions.with_raw_response.create(
        model="m", messages=MESSAGES, stream=True
    )
    assert "LegacyAPIResponse" in extractors.extract(raw).unknown
    assert sum(1 for _ in raw.parse()) > 3


async def test_the_async_client_gives_the_same(provider, extractors):
    client = provider.async_openai()
    whole = await client.chat.completions.create(model="gpt-5", messages=MESSAGES)
    raw = await client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
    assert extractors.extract(whole).text == "Hello there, friend."
    assert extractors.extract(raw).text == "Hello there, friend."
    reader = extractors.reader()
    async for chunk in await client.chat.completions.create(
        model="gpt-5", messages=MESSAGES, stream=True
    ):
        reader.feed(chunk)
    assert reader.result().text == "Hello there, friend."


def test_the_helper_stream_is_read_once_though_it_tells_everything_twice(provider, extractors):
    provider.script(Reply("One two", tools=(WEATHER,)))
    reader = extractors.reader()
    with provider.openai().chat.completions.stream(model="m", messages=MESSAGES) as stream:
        for event in stream:
            reader.feed(event)
    found = reader.result()

    assert found.text == "One two"
    assert found.tool_calls == (ToolCall("weather", "call_a", '{"city": "Ulm"}'),)
    assert found.complete is True


def test_plain_dicts_of_the_shape_are_read_alike(provider, extractors):
    used = Tokens(input=20, output=9, cached=8, reasoning=4)
    provider.script(Reply("Hi there", usage=used, tools=(WEATHER,)))
    answer = provider.openai().chat.completions.create(model="m", messages=MESSAGES)
    as_dict = extractors.extract(answer.to_dict())

    assert as_dict.provider is None  # a dict does not say who made it
    as_dict.provider = "openai"
    assert as_dict == extractors.extract(answer)


def test_dict_chunks_are_read_alike(provider, extractors):
    provider.script(Reply("Hi there", tools=(WEATHER,)))
    stream = provider.openai().chat.completions.create(
        model="m", messages=MESSAGES, stream=True, **USAGE_ON
    )
    objects, dicts = extractors.reader(), extractors.reader()
    for chunk in stream:
        assert objects.feed(chunk) == dicts.feed(chunk.to_dict())
    ours, theirs = objects.result(), dicts.result()
    theirs.provider = "openai"
    assert ours == theirs


def test_custom_tools_and_the_old_function_call_are_tool_calls(extractors):
    custom = {"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    old = {"name": "f", "arguments": "{}"}
    message = {"content": None, "tool_calls": [custom], "function_call": old}
    found = extractors.extract({"choices": [{"message": message, "finish_reason": "tool_calls"}]})

    assert found.tool_calls == (ToolCall("sql", "c", "select 1"), ToolCall("f", None, "{}"))


def test_audio_is_speech_and_no_text(extractors):
    message = {"content": None, "audio": {"id": "audio_1", "data": "AAAA", "transcript": "hi"}}
    found = extractors.extract({"choices": [{"message": message, "finish_reason": "stop"}]})

    assert (found.output_type, found.text, found.unknown) == ("speech", None, None)


def test_azures_first_chunk_without_names_does_not_hide_the_model(extractors):
    reader = extractors.reader()
    reader.feed({"id": "", "model": "", "choices": [], "object": "chat.completion.chunk"})
    reader.feed({"id": "x", "model": "gpt", "choices": [{"index": 0, "delta": {"content": "a"}}]})
    assert (reader.result().model, reader.result().response_id) == ("gpt", "x")


def test_an_error_told_inside_a_chunk_is_an_error(extractors):
    """Gateways that have already answered 200 tell of failures in the stream."""
    reader = extractors.reader()
    reader.feed({"choices": [{"index": 0, "delta": {"content": "a"}}]})
    reader.feed({"choices": [], "error": {"code": "server_error", "message": "secret"}})
    found = reader.result()

    assert reader.error == "server_error"
    assert (found.complete, found.finish_reasons) == (False, ("error",))


def test_a_failure_leaves_nothing_to_read(provider):
    provider.script(Failure(500))
    with pytest.raises(Exception, match="Something went wrong"):
        provider.openai().chat.completions.create(model="m", messages=MESSAGES)
    assert provider.requests[-1].model == "m"


def some(**fields):
    """A dict with any of these fields, none of them sure to be there."""
    return st.fixed_dictionaries({}, optional=fields)


odd = st.none() | st.sampled_from(["", "x", 3, -1, 2.0, True, (), {}, []])
counts = odd | st.integers(0, 99)
choices = some(
    index=odd,
    finish_reason=odd | st.sampled_from(["stop", "length", "content_filter", "STOP", "tool_calls"]),
    message=odd
    | some(
        role=odd,
        content=odd | st.just("Hi."),
        refusal=odd,
        tool_calls=odd,
        audio=odd,
        parsed=odd,
        function_call=odd,
    ),
)
usages = some(
    prompt_tokens=counts,
    completion_tokens=counts,
    cache_read_input_tokens=counts,
    prompt_tokens_details=odd | some(cached_tokens=counts, cache_write_tokens=counts),
    completion_tokens_details=odd | some(reasoning_tokens=counts),
)


@given(some(id=odd, model=odd, choices=st.lists(choices, max_size=2), usage=odd | usages))
def test_the_quick_reader_says_what_the_careful_one_does_or_nothing(answer):
    quick = quick_chat(answer)
    assert quick is None or quick == extract_chat(answer)


def test_the_quick_reader_takes_the_commonest_answers():
    message = {"role": "assistant", "content": "Hi."}
    plain = {
        "choices": [{"message": message}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2},
    }
    whole = {**plain, "id": "c-1", "model": "m"}
    whole["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
    for answer in (plain, whole):
        assert quick_chat(answer) == extract_chat(answer)
        assert quick_chat(answer) is not None
