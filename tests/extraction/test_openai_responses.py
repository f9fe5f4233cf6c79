"""The Responses API, read from what the real client returns over HTTP."""

import pydantic
import pytest

from firedoor.extraction import Extractors
from firedoor.types import ToolCall, Usage, UsageCertainty
from support.provider_server import Reply, Tokens, ToolUse

WEATHER = ToolUse("weather", '{"city": "Ulm"}', id="call_a")


@pytest.fixture
def extractors():
    return Extractors()


@pytest.fixture(params=["whole", "streamed"])
def ask(request, provider, extractors):
    client = provider.openai()

    def ask(reply):
        provider.script(reply)
        stream = request.param == "streamed"
        answer = client.responses.create(model="gpt-5", input="Where is it?", stream=stream)
        if not stream:
            return extractors.extract(answer)
        reader = extractors.reader(answer)
        for event in answer:
            reader.feed(event)
        return reader.result()

    return ask


def test_a_response_tells_model_id_usage_and_text(ask):
    used = Tokens(input=30, output=9, cached=8, cache_write=2, reasoning=4)
    found = ask(Reply("On its way.", usage=used, thinking="hmm"))

    assert (found.model, found.provider, found.response_id) == ("gpt-5", "openai", "resp-1")
    assert found.text == "On its way."
    assert found.finish_reasons == ("stop",)
    assert found.complete is True
    assert found.usage == Usage(30, 9, 8, 2, 4, UsageCertainty.EXACT)


@pytest.mark.parametrize("why", ["length", "content_filter"])
def test_an_incomplete_response_says_why(ask, why):
    found = ask(Reply("On", finish=why))

    assert found.finish_reasons == (why,)
    assert found.complete is True
    assert found.refusal == ("stop_reason" if why == "content_filter" else None)


def test_a_refusal_part_is_a_refusal(ask):
    found = ask(Reply(None, refusal="I cannot."))

    assert (found.refusal, found.text) == ("refusal_block", "I cannot.")


def test_function_calls_are_tool_calls_under_their_call_id(ask):
    found = ask(Reply("Let me see.", tools=(WEATHER,)))

    assert found.tool_calls == (ToolCall("weather", "call_a", '{"city": "Ulm"}'),)
    assert found.finish_reasons == ("tool_call",)


def test_a_failed_response_is_an_error(ask):
    found = ask(Reply("On", finish="error"))

    assert found.finish_reasons == ("error",)
    assert found.extra["error"] == "server_error"


def test_a_response_still_in_progress_is_not_complete(provider, extractors):
    provider.script(Reply("On", finish=None))
    queued = provider.openai().responses.create(model="m", input="x", background=True)

    assert extractors.extract(queued).complete is False


def test_an_error_event_is_yielded_by_the_client_and_seen_by_the_reader(provider, extractors):
    """The SDK raises nothing for it: without the reader the stream looks like a short answer."""
    provider.script(Reply("One two three", after=2, then="error"))
    stream = provider.openai().responses.create(model="m", input="x", stream=True)
    reader = extractors.reader(stream)
    for event in stream:
        reader.feed(event)

    assert reader.error == "overloaded_error"
    found = reader.result()
    assert (found.complete, found.finish_reasons, found.text) == (False, ("error",), "One two")


def test_only_deltas_are_content(provider, extractors):
    provider.script(Reply("One two", thinking="hmm"))
    reader = extractors.reader()
    stream = provider.openai().responses.create(model="m", input="x", stream=True)
    content = [event.type for event in stream if reader.feed(event)]

    assert content == ["response.output_text.delta"] * 2


def test_a_cut_stream_with_a_tool_call_keeps_what_came(provider, extractors):
    provider.script(Reply(None, tools=(WEATHER,), after=3, then="end"))
    reader = extractors.reader()
    for event in provider.openai().responses.create(model="m", input="x", stream=True):
        reader.feed(event)
    found = reader.result()

    assert [call.name for call in found.tool_calls] == ["weather"]
    assert found.complete is False
    assert found.usage.certainty is UsageCertainty.AT_LEAST


def test_the_helper_stream_and_parsed_responses_are_read(provider, extractors):
    class Order(pydantic.BaseModel):
        number: int

    client = provider.openai()
    provider.script(Reply('{"number": 7}'), Reply("One two"))
    parsed = client.responses.parse(model="m", input="x", text_format=Order)
    assert extractors.extract(parsed).output_type == "json"
    reader = extractors.reader()
    with client.responses.stream(model="m", input="x") as stream:
        for event in stream:
            reader.feed(event)
    found = reader.result()
    assert (found.text, found.complete) == ("One two", True)


def test_dicts_of_the_shape_are_read_alike(provider, extractors):
    provider.script(Reply("One two", tools=(WEATHER,)))
    answer = provider.openai().responses.create(model="m", input="x")
    found = extractors.extract(answer.to_dict())
    found.provider = "openai"
    assert found == extractors.extract(answer)
