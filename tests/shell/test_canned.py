"""A safe response looks like what the caller expects, to the SDKs' own types."""

import pytest

import firedoor as fd
from firedoor.extraction import Extractors
from firedoor.shell.canned import require_shape, respond
from support.provider_server import Failure, Reply

TEXT = "A person will follow up."
SHAPES = ["openai.chat", "openai.responses", "anthropic.messages"]


def test_a_plain_value_is_returned_as_it_is():
    value = {"answer": TEXT}
    assert respond(fd.Canned(value), (), {}, stream=False) is value


def test_a_callable_is_called_with_the_calls_arguments():
    canned = fd.Canned(lambda question, **_: f"No answer to {question!r}.")
    assert respond(canned, ("why?",), {"model": "m"}, stream=False) == "No answer to 'why?'."


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (lambda: "nothing", "nothing"),
        (lambda question: question, "why?"),
        (lambda *, model: model, "m"),
        (lambda question, tone="calm": question + tone, "why?calm"),
        (lambda *given: len(given), 2),
        (dict, {}),
    ],
)
def test_a_callable_is_given_what_it_takes(response, answer):
    """A mistake here would show in an outage, and nowhere before."""
    given = () if response is dict else ("why?", "really?")
    named = {} if response is dict else {"model": "m", "temperature": 0.5}
    if answer == "why?calm":
        given = given[:1]
    assert respond(fd.Canned(response), given, named, stream=False) == answer


def test_what_would_have_to_be_awaited_is_refused():
    async def response(question):
        raise AssertionError(question)

    class Response:
        async def __call__(self, question):
            raise AssertionError(question)

    for given in (response, Response()):
        with pytest.raises(fd.ConfigurationError, match="awaited"):
            fd.Canned(given)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_sdk_object_is_a_stream_of_that_sdks_chunks_where_one_is_expected(shape):
    own = respond(fd.Canned(TEXT, shape=shape), (), {"model": "m"}, stream=False)
    reader = Extractors().reader()
    for chunk in respond(fd.Canned(own), (), {}, stream=True):
        assert type(chunk) is not type(own)
        reader.feed(chunk)
    assert reader.result().text == TEXT
    assert reader.result().complete


@pytest.mark.parametrize("shape", SHAPES)
def test_an_sdk_object_reads_as_an_answer(shape):
    found = Extractors().extract(respond(fd.Canned(TEXT, shape=shape), (), {}, stream=False))
    assert found.text == TEXT
    assert found.finish_reasons == ("stop",)
    assert found.unknown is None


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stream_of_sdk_chunks_reads_as_a_complete_answer(shape):
    reader = Extractors().reader()
    for chunk in respond(fd.Canned(TEXT, shape=shape), (), {}, stream=True):
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


def openai_text(stream):
    return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)


class TestThroughTheDoor:
    """What a reader of a real stream gets when nothing else is left."""

    CANNED = fd.Canned(TEXT, shape="openai.chat")

    def guarded(self, door, provider, canned=CANNED):
        client = provider.openai()

        @door.llm("answer", tiers=[fd.Tier("big"), canned])
        def answer(question, *, model, stream=None):
            return client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": question}], stream=True
            )

        return answer

    def test_a_stream_that_breaks_before_its_first_content(self, door, provider, seen):
        provider.on("big", Reply("never said", after=0, then="cut"))
        assert openai_text(self.guarded(door, provider)("why?")) == TEXT
        assert seen.decisions[0].outcome == "canned"

    def test_a_route_that_has_streamed_before_streams_its_safe_response(self, door, provider):
        answer = self.guarded(door, provider)
        provider.on("big", Reply("hello"), Failure(503))
        assert openai_text(answer("why?")) == "hello"
        assert openai_text(answer("why?")) == TEXT

    @pytest.mark.parametrize("stream", [True, False])
    def test_the_call_says_whether_it_streams(self, door, provider, stream):
        provider.on("big", Failure(503))
        got = self.guarded(door, provider)("why?", stream=stream)
        said = openai_text(got) if stream else got.choices[0].message.content
        assert said == TEXT

    def test_the_tier_says_whether_it_is_a_stream(self, door, provider):
        """For a first call that meets an outage: what the route returns is not known yet."""
        provider.on("big", Failure(503))
        canned = fd.Canned(TEXT, shape="openai.chat", stream=True)
        assert openai_text(self.guarded(door, provider, canned)("why?")) == TEXT

    def test_a_callable_gets_the_calls_arguments_in_the_place_of_a_stream_too(self, door, provider):
        provider.on("big", Reply("never said", after=0, then="cut"))
        canned = fd.Canned(lambda question, **_: f"No answer to {question!r}.")
        assert list(self.guarded(door, provider, canned)("why?")) == ["No answer to 'why?'."]

    async def test_async_streams_of_anthropic(self, door, provider):
        provider.on("big", Failure(529))
        client = provider.async_anthropic()

        @door.llm(
            "answer",
            tiers=[fd.Tier("big"), fd.Canned(TEXT, shape="anthropic.messages", stream=True)],
        )
        async def answer(*, model):
            return await client.messages.create(
                model=model,
                max_tokens=9,
                messages=[{"role": "user", "content": "why?"}],
                stream=True,
            )

        events = [event async for event in await answer()]
        said = "".join(e.delta.text for e in events if e.type == "content_block_delta")
        assert said == TEXT
        assert events[-1].type == "message_stop"
