"""The extractive answerer speaks the OpenAI wire format, read by the real client."""

import openai
import pytest

from firedoor.drill.extractive import MODEL, NOTHING_TO_GO_BY, ExtractiveServer, extract_answer

PROMPT = """Documentation:
[heapq.heappush] Push item onto heap, maintaining the heap invariant.

[heapq.heappop] Pop the smallest item off the heap, maintaining the heap invariant.

Question: How do I push an item?"""


@pytest.fixture
def client(extractive: ExtractiveServer):
    with openai.OpenAI(base_url=extractive.base_url, api_key="none", max_retries=0) as client:
        yield client


def ask(client, prompt=PROMPT, **more):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
    return client.chat.completions.create(model=MODEL, messages=messages, **more)


def test_the_sentence_with_the_rarest_shared_words_answers():
    assert extract_answer(PROMPT) == (
        "heapq.heappush: Push item onto heap, maintaining the heap invariant."
    )
    assert extract_answer(PROMPT.replace("push an", "pop the smallest")).startswith("heapq.heappop")


def test_it_does_not_invent():
    """Without documentation, or with none that fits, it says so."""
    assert extract_answer("Question: How do I push an item?") == NOTHING_TO_GO_BY
    assert extract_answer("What is the capital of France?") == NOTHING_TO_GO_BY


def test_a_whole_answer_has_text_finish_reason_and_usage(client):
    completion = ask(client)
    assert completion.choices[0].message.content.startswith("heapq.heappush: Push item")
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == MODEL
    usage = completion.usage
    assert usage.prompt_tokens > 30
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_streamed_answer_is_the_same_answer(client):
    """Piece by piece, a finish reason on the last, then the usage that was asked for."""
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == whole.choices[0].message.content
    assert len([piece for piece in said if piece]) > 5
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_tells_no_usage_unasked(client):
    assert all(chunk.usage is None for chunk in ask(client, stream=True))


def test_an_output_cap_cuts_and_says_so(client):
    completion = ask(client, max_tokens=3)
    assert completion.choices[0].finish_reason == "length"
    assert len(completion.choices[0].message.content.split()) == 3


def test_the_model_list_names_it(client):
    assert [model.id for model in client.models.list()] == [MODEL]


def test_a_request_without_messages_is_the_callers_mistake(client):
    with pytest.raises(openai.BadRequestError, match="not a chat completion request"):
        client.post("/chat/completions", body={"model": MODEL}, cast_to=object)


def test_another_route_is_not_found(client):
    with pytest.raises(openai.NotFoundError):
        client.post("/embeddings", body={"model": MODEL}, cast_to=object)
