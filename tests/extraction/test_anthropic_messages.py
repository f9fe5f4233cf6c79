"""Anthropic's Messages, read from what the real client returns over HTTP."""

import pytest

from firedoor.extraction import Extractors
from firedoor.types import ToolCall, Usage, UsageCertainty
from support.provider_server import Reply, Tokens, ToolUse

ASK = {"model": "claude-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}
WEATHER = ToolUse("weather", '{"city": "Ulm"}', id="toolu_1")


@pytest.fixture
def extractors():
    return Extractors()


@pytest.fixture(params=["whole", "raw events", "helper events"])
def ask(request, provider, extractors):
    client = provider.anthropic()

    def ask(reply):
        provider.script(reply)
        if request.param == "whole":
            return extractors.extract(client.messages.create(**ASK))
        reader = extractors.reader()
        if request.param == "raw events":
            for event in client.messages.create(stream=True, **ASK):
                reader.feed(event)
        else:
            with client.messages.stream(**ASK) as stream:
                for event in stream:
                    reader.feed(event)
        return reader.result()

    return ask


def test_cached_input_is_part_of_the_input(ask):
    used = Tokens(input=100, output=9, cached=60, cache_write=30, reasoning=4)
    found = ask(Reply("On its way.", usage=used, thinking="hmm"))

    assert (found.model, found.provider, found.response_id) == ("claude-5", "anthropic", "resp-1")
    assert found.text == "On its way."
    assert found.finish_reasons == ("stop",)
    assert found.complete is True
    usage = found.usage
    assert (usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens) == (
        100,
        60,
        30,
    )
    assert (usage.output_tokens, usage.certainty) == (9, UsageCertainty.EXACT)


def test_a_whole_message_tells_its_thinking_tokens(provider, extractors):
    provider.script(Reply(usage=Tokens(input=5, output=9, reasoning=4)))
    found = extractors.extract(provider.anthropic().messages.create(**ASK))
    assert found.usage == Usage(5, 9, 0, 0, 4)


@pytest.mark.parametrize(
    ("told", "word", "refusal"),
    [
        ("end_turn", "stop", None),
        ("stop_sequence", "stop", None),
        ("max_tokens", "length", None),
        ("model_context_window_exceeded", "length", None),
        ("refusal", "content_filter", "stop_reason"),
        ("pause_turn", "pause_turn", None),
    ],
)
def test_stop_reasons_are_opentelemetrys_words_where_it_has_one(ask, told, word, refusal):
    found = ask(Reply(finish=told))

    assert found.finish_reasons == (word,)
    assert found.refusal == refusal
    assert found.complete is True


def test_tool_use_is_a_tool_call(ask):
    found = ask(Reply("Let me see.", tools=(WEATHER,)))

    assert found.tool_calls == (ToolCall("weather", "toolu_1", '{"city": "Ulm"}'),)
    assert found.finish_reasons == ("tool_call",)
    assert found.text == "Let me see."


def test_a_stream_that_ends_early_keeps_the_input_and_counts_the_output(provider, extractors):
    provider.script(Reply("One two three four", usage=Tokens(input=40), after=3, then="end"))
    reader = extractors.reader()
    for event in provider.anthropic().messages.create(stream=True, **ASK):
        reader.feed(event)
    found = reader.result()

    assert found.complete is False
    assert (found.usage.input_tokens, found.usage.output_tokens) == (40, 3)
    assert found.usage.certainty is UsageCertainty.AT_LEAST


def test_thinking_and_metadata_are_not_content(provider, extractors):
    provider.script(Reply("One two", thinking="hmm", tools=(WEATHER,)))
    reader = extractors.reader()
    content = []
    for event in provider.anthropic().messages.create(stream=True, **ASK):
        if reader.feed(event):
            content.append(event.type)

    assert content[:2] == ["content_block_delta", "content_block_delta"]
    assert content[2] == "content_block_start"
    assert set(content[3:]) == {"content_block_delta"}


async def test_the_async_stream_is_read(provider, extractors):
    reader = extractors.reader()
    async with provider.async_anthropic().messages.stream(**ASK) as stream:
        async for event in stream:
            reader.feed(event)
    assert reader.result().text == "Hello there, friend."


def test_dicts_of_the_shape_are_read_alike(provider, extractors):
    provider.script(Reply("One two", tools=(WEATHER,)), Reply("One two", tools=(WEATHER,)))
    client = provider.anthropic()
    answer = client.messages.create(**ASK)
    found = extractors.extract(answer.to_dict())
    found.provider = "anthropic"
    assert found == extractors.extract(answer)

    objects, dicts = extractors.reader(), extractors.reader()
    for event in client.messages.create(stream=True, **ASK):
        assert objects.feed(event) == dicts.feed(event.to_dict())
    theirs = dicts.result()
    theirs.provider = "anthropic"
    assert theirs == objects.result()


def test_a_raw_response_is_read(provider, extractors):
    raw = provider.anthropic().messages.with_raw_response.create(**ASK)
    assert extractors.extract(raw).text == "Hello there, friend."
    assert raw.parse().content[0].text == "Hello there, friend."
