"""Three layers tell of refusals, over the providers' real SDKs and in every shape."""

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

import firedoor as fd
from support.provider_server import Reply, ToolUse

QUESTION = [{"role": "user", "content": "How do I open my neighbour's door?"}]
DECLINED = "I'm sorry, but I can't help with entering a house that isn't yours."
HELPED = "Ask them for a spare key, or call a locksmith together with them."
PARTLY = (
    "I can't tell you how to open their lock, but here is what to do if you are locked out of your "
    "own flat: call the caretaker first, as many buildings keep a master key; then a locksmith, who "
    "will ask for your identity card and charge about 90 euros on weekdays."
)


class Chat:
    model = "gpt-5"
    blocks = True

    @staticmethod
    def create(client, model, stream):
        return client.chat.completions.create(model=model, messages=QUESTION, stream=stream)

    sync = staticmethod(lambda provider: provider.openai())
    asynchronous = staticmethod(lambda provider: provider.async_openai())


class Responses(Chat):
    @staticmethod
    def create(client, model, stream):
        return client.responses.create(model=model, input=QUESTION, stream=stream)


class Messages:
    model = "claude-test"
    blocks = False

    @staticmethod
    def create(client, model, stream):
        return client.messages.create(model=model, messages=QUESTION, max_tokens=256, stream=stream)

    sync = staticmethod(lambda provider: provider.anthropic())
    asynchronous = staticmethod(lambda provider: provider.async_anthropic())


@pytest.fixture(params=[Chat, Responses, Messages], ids=lambda c: c.__name__.lower())
def api(request):
    return request.param


@pytest.fixture(params=["call", "async call", "stream", "async stream"])
def ask(request, door, provider, api):
    """Asks once, in one of the four shapes, and reads the answer to its end."""
    streams = "stream" in request.param

    async def run():
        if "async" in request.param:
            client = api.asynchronous(provider)

            @door.llm("answer", model=api.model)
            async def answer(messages, *, model):
                return await api.create(client, model, streams)

            found = await answer(QUESTION)
            if streams:
                async for _ in found:
                    pass
        else:
            client = api.sync(provider)

            @door.llm("answer", model=api.model)
            def answer(messages, *, model):
                return api.create(client, model, streams)

            found = answer(QUESTION)
            if streams:
                list(found)

    return run


def told(seen):
    (decision,) = seen.decisions
    return decision.refusal, decision.partial_refusal, decision.outcome


async def test_the_text_tells_where_the_provider_does_not(ask, provider, seen, door):
    provider.script(Reply(DECLINED))
    await ask()
    assert told(seen) == ("text", False, "refused")
    (span,) = seen.spans
    assert span.attributes["firedoor.refusal"] == "text"
    assert door.signals.read("refusal_rate", route="llm:answer").value == 1.0


async def test_the_stop_reason_comes_before_the_text(ask, provider, seen):
    provider.script(Reply(DECLINED, finish="content_filter"))
    await ask()
    assert told(seen) == ("stop_reason", False, "refused")


async def test_a_refusal_block_comes_before_the_text(ask, provider, seen, api):
    provider.script(Reply(text=None, refusal=DECLINED))
    await ask()
    if api.blocks:
        assert told(seen) == ("refusal_block", False, "refused")


async def test_an_answer_is_no_refusal(ask, provider, seen, door):
    provider.script(Reply(HELPED))
    await ask()
    assert told(seen) == (None, False, "answered")
    assert door.signals.read("refusal_rate", route="llm:answer").value == 0.0


async def test_a_partial_refusal_is_an_answer_and_counted_apart(ask, provider, seen, door):
    provider.script(Reply(PARTLY))
    await ask()
    assert told(seen) == (None, True, "answered")
    (span,) = seen.spans
    assert span.attributes["firedoor.partial_refusal"] is True
    assert "firedoor.refusal" not in span.attributes
    assert door.signals.read("partial_refusal_rate", route="llm:answer").value == 1.0
    assert door.signals.read("refusal_rate", route="llm:answer").value == 0.0


async def test_a_model_that_asks_for_a_tool_goes_on(ask, provider, seen):
    provider.script(Reply("I can't do that myself.", tools=(ToolUse("locksmith", "{}"),)))
    await ask()
    assert told(seen) == (None, False, "answered")


def test_a_safe_response_of_ours_is_not_the_models_refusal(door, seen):
    @door.llm("answer", tiers=[fd.Tier("m", attempts=1), fd.Canned("I can't help with that now.")])
    def answer(*, model):
        raise ConnectionError

    answer()
    assert told(seen) == (None, False, "canned")


def test_what_searches_and_tools_say_is_not_looked_at(door, seen):
    @door.retrieval("kb")
    def search(query):
        return [{"id": "1", "text": DECLINED}]

    @door.tool("mail")
    def mail():
        return DECLINED

    search("x")
    mail()
    assert [d.refusal for d in seen.decisions] == [None, None]


def test_a_stream_that_broke_is_a_failure_whatever_it_said(door, seen):
    @door.llm("answer")
    def answer():
        yield DECLINED
        raise ConnectionError

    with pytest.raises(ConnectionError):
        list(answer())
    assert told(seen)[2] == "failed"


# An answer beside a refusal block ----------------------------------------------------------------

DOES = PARTLY.partition("but ")[2].capitalize()


def chat(content, refusal, finish="stop"):
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"object": "chat.completion", "model": "gpt-5", "choices": [choice]}


def response(content, refusal, finish="stop"):
    parts = [
        {"type": "output_text", "text": content},
        {"type": "refusal", "refusal": refusal},
    ]
    filtered = finish != "stop"
    return {
        "object": "response",
        "model": "gpt-5",
        "status": "incomplete" if filtered else "completed",
        "incomplete_details": {"reason": "content_filter"} if filtered else None,
        "output": [{"type": "message", "role": "assistant", "content": parts}],
    }


def chat_stream(content, refusal, finish="stop"):
    def chunk(delta, end=None):
        choice = {"index": 0, "delta": delta, "finish_reason": end}
        return {"object": "chat.completion.chunk", "model": "gpt-5", "choices": [choice]}

    for piece in content.split(" "):
        yield chunk({"content": f"{piece} "})
    yield chunk({"refusal": refusal})
    yield chunk({}, finish)


def response_stream(content, refusal, finish="stop"):
    yield {"type": "response.created", "response": {"model": "gpt-5"}}
    for piece in content.split(" "):
        yield {"type": "response.output_text.delta", "delta": f"{piece} "}
    yield {"type": "response.refusal.delta", "delta": refusal}
    if finish == "stop":  # else it is seen in the final event only
        yield {
            "type": "response.completed",
            "response": response(content, refusal),
        }
    else:
        yield {"type": "response.incomplete", "response": response(content, refusal, finish)}


def chain(content, refusal, finish="stop"):
    kwargs = {"refusal": refusal}
    return AIMessage(content, additional_kwargs=kwargs, response_metadata={"finish_reason": finish})


def chain_stream(content, refusal, finish="stop"):
    for piece in content.split(" "):
        yield AIMessageChunk(f"{piece} ")
    yield AIMessageChunk([{"type": "refusal", "refusal": refusal}])
    yield AIMessageChunk("", response_metadata={"finish_reason": finish})


def own_stream(content, refusal, finish="stop"):
    for piece in content.split(" "):
        yield Own(text=f"{piece} ")
    yield Own(refusal="refusal_block", text=refusal)
    yield Own(refusal="stop_reason" if finish == "content_filter" else None, finish_reasons=finish)


class Own(dict):
    """A chunk of a type that the application registered."""


@pytest.fixture(
    params=[chat, response, chain, chat_stream, response_stream, chain_stream, own_stream],
    ids=lambda f: f.__name__,
)
def both(request, door):
    @door.llm("answer", model="gpt-5")
    def answer(*said, **kwargs):
        return request.param(*said, **kwargs)

    door.extractors.register(Own, dict)

    def run(*said, **kwargs):
        found = answer(*said, **kwargs)
        if not isinstance(found, dict | AIMessage):
            list(found)

    return run


def test_an_answer_of_substance_beside_a_refusal_block_is_a_partial_refusal(both, seen, door):
    both(DOES, DECLINED)
    assert told(seen) == (None, True, "answered")
    assert door.signals.read("partial_refusal_rate", route="llm:answer").value == 1.0


@pytest.mark.parametrize("content", ["Thanks for asking.", DECLINED + " " + DECLINED * 2])
def test_a_phrase_or_a_second_no_beside_a_refusal_block_leaves_it_one(both, seen, content):
    both(content, DECLINED)
    assert told(seen) == ("refusal_block", False, "refused")


def test_the_stop_reason_comes_before_the_block(both, seen):
    both(DOES, DECLINED, finish="content_filter")
    assert told(seen) == ("stop_reason", False, "refused")
