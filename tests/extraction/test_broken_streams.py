"""What really leaves the SDKs when a stream breaks, and what firedoor makes of it.

The tables are facts about `openai` and `anthropic`: when a release changes one of them, its row
here fails and the page on streams has to be corrected.
"""

import json
import threading

import anthropic
import httpx2
import openai
import pytest

from firedoor.extraction import Extractors
from firedoor.extraction.faults import attribute, error_type, is_retryable
from firedoor.types import Fault
from support.provider_server import Reply

ASK = [{"role": "user", "content": "Hi"}]
TEXT = "One two three four"

STREAMS = {
    "chat": ("openai", lambda c: c.chat.completions.create(model="m", messages=ASK, stream=True)),
    "responses": ("openai", lambda c: c.responses.create(model="m", input="x", stream=True)),
    "messages": (
        "anthropic",
        lambda c: c.messages.create(model="m", max_tokens=9, messages=ASK, stream=True),
    ),
}

# (what breaks, stream) -> (what the SDK raises, error_type); None: the SDK ends as if all were well.
RAISED = {
    ("cut", "chat"): (openai.APIConnectionError, "openai.APIConnectionError"),
    ("cut", "responses"): (openai.APIConnectionError, "openai.APIConnectionError"),
    ("cut", "messages"): (httpx2.RemoteProtocolError, "httpx2.RemoteProtocolError"),
    ("reset", "chat"): (openai.APIConnectionError, "openai.APIConnectionError"),
    ("reset", "responses"): (openai.APIConnectionError, "openai.APIConnectionError"),
    ("reset", "messages"): (httpx2.ReadError, "httpx2.ReadError"),
    ("stall", "chat"): (openai.APITimeoutError, "openai.APITimeoutError"),
    ("stall", "responses"): (openai.APITimeoutError, "openai.APITimeoutError"),
    ("stall", "messages"): (httpx2.ReadTimeout, "httpx2.ReadTimeout"),
    ("malformed", "chat"): (json.JSONDecodeError, "json.JSONDecodeError"),
    ("malformed", "responses"): (json.JSONDecodeError, "json.JSONDecodeError"),
    ("malformed", "messages"): (json.JSONDecodeError, "json.JSONDecodeError"),
    ("error", "chat"): (openai.APIError, "overloaded_error"),
    ("error", "responses"): None,
    ("error", "messages"): (anthropic.APIStatusError, "overloaded_error"),
    ("end", "chat"): None,
    ("end", "responses"): None,
    ("end", "messages"): None,
}
CASES = pytest.mark.parametrize(("how", "shape"), list(RAISED), ids=[f"{h}-{s}" for h, s in RAISED])


@pytest.fixture
def broken():
    gate = threading.Event()
    yield lambda how: Reply(TEXT, after=2, then=how, gate=gate)
    gate.set()


def check(how, shape, error, reader):
    """Both colours must come to the same."""
    expected = RAISED[how, shape]
    found = reader.result()
    assert found.text == "One two"
    assert found.complete is False
    if expected is None:
        assert error is None
        assert (reader.error is not None) == (how == "error")
        return
    assert type(error) is expected[0]
    assert error_type(error) == expected[1]
    assert attribute(error, streaming=True) is Fault.TARGET
    assert is_retryable(error)


@CASES
def test_a_broken_stream_of_a_sync_client(provider, broken, how, shape):
    sdk, start = STREAMS[shape]
    client = getattr(provider, sdk)(timeout=0.15 if how == "stall" else 20.0)
    provider.script(broken(how))
    reader = Extractors().reader()
    error = None
    try:
        for chunk in start(client):
            reader.feed(chunk)
    except Exception as raised:
        error = raised
    check(how, shape, error, reader)


@CASES
async def test_a_broken_stream_of_an_async_client(provider, broken, how, shape):
    sdk, start = STREAMS[shape]
    client = getattr(provider, f"async_{sdk}")(timeout=0.15 if how == "stall" else 20.0)
    provider.script(broken(how))
    reader = Extractors().reader()
    error = None
    try:
        async for chunk in await start(client):
            reader.feed(chunk)
    except Exception as raised:
        error = raised
    check(how, shape, error, reader)


@pytest.mark.parametrize("shape", STREAMS)
def test_a_stream_that_never_says_it_finished_is_not_complete(provider, shape):
    """It ends properly, to the last byte; only the finish reason is missing."""
    sdk, start = STREAMS[shape]
    provider.script(Reply(TEXT, finish=None))
    reader = Extractors().reader()
    for chunk in start(getattr(provider, sdk)()):
        reader.feed(chunk)
    found = reader.result()
    assert (found.text, found.complete, found.finish_reasons) == (TEXT, False, ())


@pytest.mark.parametrize("shape", ["chat", "responses"])
def test_a_providers_stream_without_a_single_chunk_is_not_complete(provider, shape):
    """Known by the stream object, as no chunk came to tell the shape."""
    sdk, start = STREAMS[shape]
    provider.script(Reply(TEXT, then="end", after=0))
    stream = start(getattr(provider, sdk)())
    stream.close()
    found = Extractors().reader(stream).result()
    assert (found.complete, found.provider) == (False, "openai")


def test_the_message_of_the_callers_fault_inside_a_stream_is_the_callers(provider):
    provider.script(Reply(TEXT, after=1, then="error", error_type="invalid_request_error"))
    with pytest.raises(anthropic.APIStatusError) as caught:
        list(STREAMS["messages"][1](provider.anthropic()))
    assert attribute(caught.value, streaming=True) is Fault.CALLER


def test_strings_have_no_notion_of_being_complete():
    reader = Extractors().reader()
    assert [reader.feed(piece) for piece in ("One ", "", "two")] == [True, False, True]
    found = reader.result()
    assert (found.text, found.complete, found.unknown) == ("One two", None, None)


def test_chunks_of_an_unknown_shape_are_content_and_noted():
    reader = Extractors().reader()
    assert reader.feed(object()) is True
    assert reader.feed(None) is False
    found = reader.result()
    assert (found.complete, found.unknown) == (None, "stream of builtins.object")
