"""A safe response looks like what the caller expects, to the SDKs' own types."""

import pytest

import firedoor as fd
from firedoor.extraction import Extractors
from firedoor.shell.canned import require_shape, respond

TEXT = "A person will follow up."
SHAPES = ["openai.chat", "openai.responses", "anthropic.messages"]


def test_a_plain_value_is_returned_as_it_is():
    value = {"answer": TEXT}
    assert respond(fd.Canned(value), (), {}, stream=False) is value


def test_a_callable_is_called_with_the_calls_arguments():
    canned = fd.Canned(lambda question, **_: f"No answer to {question!r}.")
    assert respond(canned, ("why?",), {"model": "m"}, stream=False) == "No answer to 'why?'."


@pytest.mark.parametrize("shape", SHAPES)
def test_an_sdk_object_reads_as_an_answer(shape):
    found = Extractors().extract(respond(fd.Canned(TEXT, shape=shape), (), {}, stream=False))
    assert found.text == TEXT
    assert found.finish_reasons == ("stop",)
    assert found.unknown is None


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stream_of_sdk_chunks_reads_as_a_complete_answer(shape):
    reader = Extractors().reader()
    for chunk in respond(fd.Canned(TEXT, shape=shape), (), {"stream": True}, stream=False):
        reader.feed(chunk)
    found = reader.result()
    assert found.text == TEXT
    assert found.complete


async def test_a_stream_is_async_too():
    stream = respond(fd.Canned(TEXT), (), {}, stream=True)
    assert [part async for part in stream] == [TEXT]


def test_a_shape_that_cannot_be_made_is_refused_at_construction():
    with pytest.raises(fd.ConfigurationError, match="of a string"):
        require_shape(fd.Canned({"a": 1}, shape="openai.chat"))
