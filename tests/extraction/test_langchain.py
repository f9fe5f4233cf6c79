"""LangChain's messages and results: real objects of `langchain-core`."""

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, Generation, LLMResult

import firedoor as fd
from firedoor.extraction import Extractors, map_texts, replace_text, text_of
from firedoor.types import ToolCall, Usage, UsageCertainty

ABOUT = {
    "model_name": "gpt-5",
    "finish_reason": "tool_calls",
    "id": "x-1",
    "model_provider": "openai",
}
USED = {
    "input_tokens": 20,
    "output_tokens": 9,
    "total_tokens": 29,
    "input_token_details": {"cache_read": 8, "cache_creation": 2},
    "output_token_details": {"reasoning": 4},
}


@pytest.fixture
def extractors():
    return Extractors()


def test_a_message_tells_what_the_model_said(extractors):
    message = AIMessage(
        [{"type": "text", "text": "One "}, "two"],
        response_metadata=ABOUT,
        usage_metadata=USED,
        tool_calls=[{"name": "f", "args": {"a": 1}, "id": "c-1"}],
    )
    found = extractors.extract(message)

    assert (found.model, found.provider, found.response_id) == ("gpt-5", "openai", "x-1")
    assert found.text == "One two"
    assert found.tool_calls == (ToolCall("f", "c-1", '{"a": 1}'),)
    assert found.finish_reasons == ("tool_call",)
    assert found.usage == Usage(20, 9, 8, 2, 4)


def test_a_message_that_knows_nothing_is_still_a_text(extractors):
    found = extractors.extract(AIMessage("hi"))
    assert (found.text, found.complete, found.usage, found.unknown) == ("hi", None, None, None)


def test_results_give_their_first_generations(extractors):
    output = {"model_name": "gpt-5", "token_usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    chat = LLMResult(
        generations=[
            [ChatGeneration(message=AIMessage("hi"))],
            [ChatGeneration(message=AIMessage("ho"))],
        ],
        llm_output=output,
    )
    found = extractors.extract(chat)
    assert (found.text, found.model, found.usage) == ("hi\nho", "gpt-5", Usage(3, 1))

    plain = LLMResult(
        generations=[[Generation(text="hi", generation_info={"finish_reason": "stop"})]]
    )
    found = extractors.extract(plain)
    assert (found.text, found.finish_reasons, found.complete) == ("hi", ("stop",), True)


def chunks(last):
    call = {"name": "f", "args": '{"a"', "id": "c-1", "index": 0, "type": "tool_call_chunk"}
    rest = {"name": None, "args": ": 1}", "id": None, "index": 0, "type": "tool_call_chunk"}
    return [
        AIMessageChunk(""),
        AIMessageChunk("One "),
        AIMessageChunk("two", tool_call_chunks=[call]),
        AIMessageChunk("", tool_call_chunks=[rest]),
        last,
    ]


def test_a_stream_of_chunks_is_their_sum(extractors):
    reader = extractors.reader()
    end = AIMessageChunk("", response_metadata=ABOUT, usage_metadata=USED)
    assert [reader.feed(chunk) for chunk in chunks(end)] == [False, True, True, True, False]
    found = reader.result()

    assert found.text == "One two"
    assert found.tool_calls == (ToolCall("f", "c-1", '{"a": 1}'),)
    assert (found.complete, found.finish_reasons) == (True, ("tool_call",))
    assert found.usage == Usage(20, 9, 8, 2, 4)


def test_a_stream_without_a_reason_is_not_complete(extractors):
    reader = extractors.reader()
    for chunk in chunks(AIMessageChunk("three")):
        reader.feed(chunk)
    found = reader.result()
    assert (found.complete, found.usage.certainty) == (False, UsageCertainty.AT_LEAST)


def test_the_library_may_say_that_a_chunk_is_the_last(extractors):
    reader = extractors.reader()
    for chunk in chunks(AIMessageChunk("", chunk_position="last")):
        reader.feed(chunk)
    assert reader.result().complete is True


def test_texts_are_found_and_replaced():
    chunk = AIMessageChunk("One", response_metadata=ABOUT)
    changed = replace_text(chunk, "Two")
    assert (text_of(chunk), text_of(changed)) == ("One", "Two")
    assert type(changed) is AIMessageChunk
    assert map_texts(AIMessage("One"), str.upper).content == "ONE"


@pytest.mark.parametrize("where", ["keyword", "block", "reasoning", "beside"])
@pytest.mark.parametrize("stream", [True, False])
def test_policies_see_a_refusal_and_reasoning_beside_the_text(make_door, where, stream):
    """The model's words are its words, wherever the library puts them."""
    secret = "AKIAIOSFODNN7EXAMPLQ"
    door = make_door()

    def made(kind, said):
        if where == "block":
            return kind([{"type": "refusal", "refusal": said, "index": 0}])
        name = "refusal" if where == "keyword" else "reasoning_content"
        return kind("Well." if where == "beside" else "", additional_kwargs={name: said})

    @door.llm("answer", policies=[fd.policies.Secrets(on="output", action="redact")])
    def answer():
        if not stream:
            return made(AIMessage, f"I can't tell that {secret}.")
        return iter([made(AIMessageChunk, s) for s in ("I can't tell ", f"that {secret[:9]}", f"{secret[9:]}. ")])  # fmt: skip

    found = answer() if not stream else list(answer())
    assert secret not in str(found)
    assert secret[:9] not in str(found)
    assert "aws_access_key" in str(found)
    assert "can't tell" in str(found)


def test_policies_see_what_a_result_holds(make_door):
    secret = "AKIAIOSFODNN7EXAMPLQ"
    result = LLMResult(
        generations=[
            [ChatGeneration(message=AIMessage(f"It is {secret}."))],
            [Generation(text=f"{secret}, then.")],
        ]
    )
    policies = [fd.policies.Secrets(on="output", action="redact")]
    found = make_door().llm("answer", policies=policies)(lambda: result)()
    assert secret not in str(found)
    assert [one[0].text[:4] for one in found.generations] == ["It i", "<aws"]
    assert found.generations[0][0].text == found.generations[0][0].message.content
