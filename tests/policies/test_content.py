"""Where the texts are, and that nothing of the caller's is changed."""

import copy
import dataclasses
import json
from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firedoor.policies import Chain, MaxLength, Regex, policy
from firedoor.policies.content import rewrite, texts

OPENAI_CHAT = {
    "model": "gpt-5",
    "messages": [
        {"role": "system", "content": "TEXT be kind"},
        {"role": "user", "name": "ana", "content": [
            {"type": "text", "text": "TEXT look"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "refund", "arguments": '{"why": "TEXT late", "n": 1}'}},
        ]},
        {"role": "tool", "tool_call_id": "call_1", "content": "TEXT done"},
    ],
}  # fmt: skip
ANTHROPIC = {
    "model": "claude",
    "system": [{"type": "text", "text": "TEXT system", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "TEXT question"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        ]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "refund", "input": {"why": {"deep": ["TEXT a"]}}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "TEXT b"}]}]},
    ],
}  # fmt: skip
RESPONSES = {
    "model": "gpt-5",
    "instructions": "TEXT rules",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "TEXT hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"q": "TEXT q"}'},
        {"type": "function_call_output", "call_id": "c", "output": "TEXT result"},
    ],
}


@pytest.mark.parametrize(("call", "count"), [(OPENAI_CHAT, 4), (ANTHROPIC, 4), (RESPONSES, 4)])
def test_request_shapes(call, count):
    """Every text of a request, and no id, role, name or image."""
    before = copy.deepcopy(call)
    found = list(texts(call, "input"))
    assert len(found) == count
    assert all(text.startswith("TEXT") for text in found)
    changed = rewrite(call, lambda text: text.replace("TEXT", "SAFE"), "input")
    assert call == before
    assert "TEXT" not in json.dumps(changed)
    assert json.loads(json.dumps(changed).replace("SAFE", "TEXT")) == before


def test_what_is_not_changed_is_the_same_object():
    """Copies only along the path of a change."""
    messages = OPENAI_CHAT["messages"]
    assert rewrite(messages, lambda text: text) is messages
    changed = rewrite(messages, lambda text: text.replace("done", "gone"))
    assert changed is not messages
    assert [a is b for a, b in zip(changed, messages)] == [True, True, True, False]


def test_openai_response_objects():
    """The real objects, with their types kept."""
    chat = pytest.importorskip("openai.types.chat")
    completion = chat.ChatCompletion.model_validate({
        "id": "x", "object": "chat.completion", "created": 1, "model": "gpt-5",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant", "content": "TEXT", "reasoning_content": "TEXT",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "TEXT"}'}}]}}],
    })  # fmt: skip
    assert list(texts(completion, "output")) == ["TEXT"] * 3
    changed = rewrite(completion, str.lower, "output")
    message = changed.choices[0].message
    assert isinstance(changed, chat.ChatCompletion)
    assert (message.content, message.reasoning_content) == ("text", "text")
    assert json.loads(message.tool_calls[0].function.arguments) == {"a": "text"}
    assert completion.choices[0].message.content == "TEXT"
    chunk = chat.ChatCompletionChunk.model_validate({
        "id": "x", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5",
        "choices": [{"index": 0, "delta": {"content": "TEXT"}}],
    })  # fmt: skip
    assert rewrite(chunk, str.lower, "output").choices[0].delta.content == "text"


def test_anthropic_response_objects():
    """Text and tool use."""
    types = pytest.importorskip("anthropic.types")
    message = types.Message.model_validate({
        "id": "x", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
        "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
        "content": [{"type": "text", "text": "TEXT"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": "TEXT"}}],
    })  # fmt: skip
    changed = rewrite(message, str.lower, "output")
    assert (changed.content[0].text, changed.content[1].input) == ("text", {"a": "text"})
    assert isinstance(changed, types.Message)


@dataclasses.dataclass(frozen=True)
class Document:
    id: str
    text: str
    score: float


Hit = namedtuple("Hit", "document score")


def test_retrieval_results():
    """Dicts, tuples, named tuples, dataclasses; ids are what citations stand on."""
    found = [
        {"id": "ID", "text": "TEXT", "metadata": {"title": "TEXT", "page": 3}},
        (Document("ID", "TEXT", 0.5), 0.5),
        Hit(Document("ID", "TEXT", 1), 1),
    ]
    changed = rewrite(found, str.lower, "retrieval")
    assert changed == [
        {"id": "ID", "text": "text", "metadata": {"title": "text", "page": 3}},
        (Document("ID", "text", 0.5), 0.5),
        Hit(Document("ID", "text", 1), 1),
    ]


def test_langchain_documents():
    """Pydantic models of others are copied with their type."""
    documents = pytest.importorskip("langchain_core.documents")
    document = documents.Document(page_content="TEXT", metadata={"source": "TEXT"}, id="ID")
    changed = rewrite([document], str.lower, "retrieval")[0]
    assert (changed.page_content, changed.metadata, changed.id) == (
        "text",
        {"source": "text"},
        "ID",
    )
    assert document.page_content == "TEXT"


def test_arguments_and_results_are_all_text():
    """Every string an application passes to a tool or gets from it; bytes where they are text."""
    value = {"id": "TEXT", "rows": ({"a": "TEXT"}, b"TEXT", b"\xff\xfe", 7, None)}
    assert rewrite(value, str.lower, "tool_arguments") == {
        "id": "text",
        "rows": ({"a": "text"}, b"text", b"\xff\xfe", 7, None),
    }


def test_broken_json_is_still_text():
    """Arguments that do not parse are screened as they are."""
    call = {"arguments": '{"a": "sk-secret'}
    assert list(texts(call, "output")) == ['{"a": "sk-secret']


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(plain, st.sampled_from(["input", "output", "retrieval", "tool_arguments", "tool_result"]))
def test_rewriting_puts_each_text_back_in_its_place(value, stage):
    """In the order in which they were found; the value stays as it was."""
    before = copy.deepcopy(value)
    found = list(texts(value, stage))
    assert rewrite(value, lambda text: text, stage) is value
    numbers = iter(range(len(found)))
    changed = rewrite(value, lambda text: f"{next(numbers)}:{text}", stage)
    assert list(texts(changed, stage)) == [f"{n}:{text}" for n, text in enumerate(found)]
    assert value == before


def test_a_conversation_is_screened_text_by_text():
    """One verdict a policy: the gravest, with the labels of all."""
    chain = Chain(
        [
            Regex("TEXT", on="input", action="redact", name="t", label="t"),
            Regex("late", on="input", action="flag", name="late"),
        ]
    )
    screening = chain.screen_content(OPENAI_CHAT, "input")
    assert "TEXT" not in json.dumps(screening.value)
    assert [(v.gate, v.status, v.labels) for v in screening.verdicts] == [
        ("policy:t", "redacted", ("t",)),
        ("policy:late", "flagged", ("late",)),
    ]
    assert screening.flagged
    assert "TEXT" in json.dumps(OPENAI_CHAT)


async def test_a_block_stops_the_conversation():
    """What was not looked at did not pass."""
    chain = Chain([Regex("look", on="input"), MaxLength(100, on="input")])
    for screening in (
        chain.screen_content(OPENAI_CHAT, "input"),
        await chain.ascreen_content(OPENAI_CHAT, "input"),
    ):
        assert screening.blocked_by == "policy:regex"
        assert [v.status for v in screening.verdicts] == ["blocked", "skipped"]
        assert screening.value is OPENAI_CHAT


def test_no_text_is_not_applicable():
    """Numbers and unknown objects were not judged, so they did not pass."""
    chain = Chain([Regex("x", on="tool_arguments")])
    for value in ({"n": 1}, object(), None, []):
        screening = chain.screen_content(value, "tool_arguments")
        assert [v.status for v in screening.verdicts] == ["not_applicable"]
        assert screening.value is value


def test_a_structure_that_holds_itself_is_errored():
    """And blocks, as the policies could not look at it."""
    loop = []
    loop.append(loop)
    screening = Chain([Regex("x", on="tool_result")]).screen_content(loop, "tool_result")
    assert [v.status for v in screening.verdicts] == ["errored"]
    assert screening.blocked_by == "policy:regex"


async def test_async_policies_over_a_conversation():
    """Each text is awaited."""

    @policy(on="input")
    async def lower(text):
        return text.lower()

    screening = await Chain([lower]).ascreen_content(ANTHROPIC, "input")
    assert list(texts(screening.value)) == [text.lower() for text in texts(ANTHROPIC)]
