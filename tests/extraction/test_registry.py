"""The registry: the application's own types, and objects that mean harm."""

import threading
from types import SimpleNamespace
from unittest.mock import AsyncMock, MagicMock, Mock

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import firedoor as fd
from firedoor.extraction import Extract, Extractors, map_texts, replace_text, text_of
from firedoor.extraction.faults import attribute, error_type, is_retryable, retry_after
from firedoor.types import Fault, ToolCall, Usage


class Base:
    text = "base"


class Derived(Base):
    text = "derived"


@pytest.fixture
def extractors():
    return Extractors()


def test_a_registered_type_is_read_by_its_function(extractors):
    extractors.register(Base, lambda value: Extract(text=value.text, model="own"))
    assert extractors.extract(Derived()).text == "derived"
    assert extractors.extract_tool(Base()).text == "base"


def test_the_most_specific_class_wins_in_any_order_of_registering(extractors):
    extractors.register(Derived, lambda value: "specific")
    extractors.register(Base, lambda value: "general")
    assert extractors.extract(Derived()).text == "specific"
    assert extractors.extract(Base()).text == "general"


def test_a_registered_type_is_asked_before_the_known_shapes(extractors):
    extractors.register(str, lambda value: value.upper())
    assert extractors.extract("hi").text == "HI"


def test_an_extractor_may_answer_a_dict_of_fields(extractors):
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    call = ToolCall("f")
    said = {"text": "hi", "usage": usage, "finish_reasons": "stop", "tool_calls": [call]}
    extractors.register(Base, lambda value: said)
    found = extractors.extract(Base())
    assert found == Extract(
        text="hi", usage=Usage(3, 4), finish_reasons=("stop",), tool_calls=(call,)
    )


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (lambda value: 1 / 0, "raised ZeroDivisionError"),
        (lambda value: 3, "returned int"),
        (lambda value: {"nonsense": 1}, "returned dict"),
        (lambda value: {"finish_reasons": 3}, "TypeError"),
    ],
)
def test_an_extractor_that_fails_is_a_note(extractors, answer, note):
    extractors.register(Base, answer)
    found = extractors.extract(Base())
    assert note in found.unknown
    assert "Base" in found.unknown


def test_none_is_nothing_to_tell(extractors):
    extractors.register(Base, lambda value: None)
    assert extractors.extract(Base()) == Extract()


def test_chunks_of_a_registered_type_are_put_together(extractors):
    def read(chunk):
        return Extract(text=chunk.text, model="own", complete=chunk.text == "derived" or None)

    extractors.register(Base, read)
    reader = extractors.reader()
    assert reader.feed(Base()) is True
    assert reader.feed(Derived()) is True
    found = reader.result()
    assert (found.text, found.model, found.complete) == ("basederived", "own", True)


@pytest.mark.parametrize(
    ("kind", "fn"),
    [("str", len), (object, len), (None, len), (Base, None), (Base, "text")],
)
def test_nonsense_is_a_configuration_error(extractors, kind, fn):
    with pytest.raises(fd.ConfigurationError, match=r"extractors\.register"):
        extractors.register(kind, fn)


def test_registering_while_others_read_is_safe(extractors):
    stop = threading.Event()
    wrong = []

    def read():
        while not stop.is_set():
            if extractors.extract("hi").text != "hi":
                wrong.append(1)

    thread = threading.Thread(target=read)
    thread.start()
    for n in range(200):
        extractors.register(type(f"T{n}", (), {}), lambda value: None)
    stop.set()
    thread.join()
    assert not wrong


def test_plain_strings_are_texts(extractors):
    assert extractors.extract("hi") == Extract(text="hi")
    assert extractors.extract("") == Extract()


def test_any_object_with_usage_is_read_by_the_common_names(extractors):
    class Tokens(pydantic.BaseModel):
        input_tokens: int = 5
        output_tokens: int = 2

    class Answer(pydantic.BaseModel):
        model: str = "own-1"
        output: str = "hi"
        usage: Tokens = Tokens()
        finish_reason: str = "end_turn"

    found = extractors.extract(Answer())
    assert found == Extract(
        model="own-1", usage=Usage(5, 2), text="hi", finish_reasons=("stop",), complete=True
    )


@pytest.mark.parametrize("value", [None, 3, object(), b"x", [], {}, {"a": 1}, {"choices": 3}])
def test_unknown_shapes_are_noted_by_their_type(extractors, value):
    assert type(value).__qualname__ in extractors.extract(value).unknown


def test_a_tool_result_is_its_text_and_size(extractors):
    assert extractors.extract_tool("ok").extra == {"size": 2}
    found = extractors.extract_tool({"a": [1, "ü"]})
    assert (found.text, found.extra) == ('{"a": [1, "ü"]}', {"size": 15})
    assert extractors.extract_tool(None) == Extract()
    assert "tool result" in extractors.extract_tool(object()).unknown


# Objects that mean harm -----------------------------------------------------------------------


class Raises:
    """Every attribute raises, and so does every question about it."""

    def __getattribute__(self, name):
        raise RuntimeError("secret: " + name)

    def __eq__(self, other):
        raise RuntimeError("secret")

    __hash__ = None

    def __bool__(self):
        raise RuntimeError("secret")

    def __len__(self):
        raise RuntimeError("secret")

    def __repr__(self):
        raise RuntimeError("secret")

    def __str__(self):
        raise RuntimeError("secret")


class Endless:
    """Answers every attribute with another of its kind."""

    def __getattr__(self, name):
        return Endless()

    def __iter__(self):
        return self

    def __next__(self):
        return Endless()

    def __len__(self):
        return 3


class LyingDict(dict):
    def get(self, *args):
        raise RuntimeError("secret")

    def __getitem__(self, key):
        raise RuntimeError("secret")


def ring():
    value = {"type": "message", "content": []}
    value["content"].append(value)
    value["message"] = value["delta"] = value["choices"] = [value]
    value["usage"] = value
    return value


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.binary(max_size=4),
    st.builds(Raises), st.builds(Endless), st.builds(MagicMock), st.builds(Mock),
    st.builds(AsyncMock), st.just(ring()), st.builds(object), st.just(Raises), st.just(int),
)  # fmt: skip
NAMES = st.sampled_from(
    """choices delta message content index finish_reason tool_calls function name arguments id type
    object output status usage prompt_tokens completion_tokens input_tokens output_tokens text
    refusal response item model response_metadata generations ids distances documents metadata
    score node results hits payload updated_at chunk snapshot error code event partial_json
    content_block stop_reason response_metadata tool_call_chunks additional_kwargs parsed"""
    .split()
)  # fmt: skip
TYPES = st.sampled_from(
    ["message", "message_start", "content_block_delta", "content_block_start", "message_delta",
     "text", "tool_use", "response.output_text.delta", "response.completed", "error", "chunk",
     "response.output_item.added", "content.delta", "chat.completion", "response"]
)  # fmt: skip


def shapes(children):
    fields = st.dictionaries(NAMES, st.one_of(children, TYPES), max_size=6)
    return st.one_of(
        st.lists(children, max_size=3),
        st.tuples(children, children),
        fields,
        fields.map(LyingDict),
        fields.map(lambda given: SimpleNamespace(**given)),
    )


ANYTHING = st.recursive(LEAVES, shapes, max_leaves=12)


@settings(max_examples=100, deadline=None)
@given(ANYTHING)
def test_no_object_breaks_the_extractors(value):
    extractors = Extractors()
    for found in (
        extractors.extract(value),
        extractors.extract_retrieval(value, 5),
        extractors.extract_tool(value),
    ):
        assert type(found) is Extract
        assert found.text is None or isinstance(found.text, str)
        assert all(isinstance(reason, str) for reason in found.finish_reasons)
        assert all(isinstance(source.id, str) for source in found.sources)
        assert "secret" not in (found.unknown or "")
    text_of(value)


@settings(max_examples=100, deadline=None)
@given(st.lists(ANYTHING, min_size=1, max_size=5))
def test_no_chunk_breaks_a_reader(chunks):
    reader = Extractors().reader()
    for chunk in chunks:
        assert reader.feed(chunk) in (True, False)
    found = reader.result()
    assert type(found) is Extract
    assert reader.result() == found
    if found.usage is not None and found.usage.output_tokens is not None:
        assert found.usage.output_tokens >= 0


@settings(max_examples=100, deadline=None)
@given(ANYTHING)
def test_no_object_breaks_the_rewriting(value):
    map_texts(value, lambda text: text + "x")
    replace_text(value, "x")


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["code", "type", "body", "response", "status_code",
                                        "message", "status", "headers"]), ANYTHING))  # fmt: skip
def test_no_exception_breaks_the_attribution(fields):
    error = ValueError("x")
    error.__dict__.update(fields)
    assert attribute(error, streaming=True) in Fault
    assert isinstance(error_type(error), str)
    assert is_retryable(error) in (True, False)
    assert retry_after(error, now=0.0) is None or retry_after(error, now=0.0) >= 0
