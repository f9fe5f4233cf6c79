"""Changing the text of real chunks and responses, in copies."""

import copy

import pydantic
import pytest

from firedoor.extraction import Extractors, lane_of, map_texts, replace_text, text_of
from firedoor.extraction.rewrite import End, end_of
from support.provider_server import Reply, ToolUse

ASK = [{"role": "user", "content": "Hi"}]
SECRET = "tok-123"
TEXT = "The code is tok-123 today"
WEATHER = ToolUse("weather", '{"city": "Ulm"}')


def chat(client, **kw):
    return client.chat.completions.create(model="m", messages=ASK, **kw)


def response(client, **kw):
    return client.responses.create(model="m", input="x", **kw)


def message(client, **kw):
    return client.messages.create(model="m", max_tokens=9, messages=ASK, **kw)


SHAPES = pytest.mark.parametrize(
    ("sdk", "call"),
    [("openai", chat), ("openai", response), ("anthropic", message)],
    ids=["chat", "responses", "messages"],
)


def hide(text):
    return text.replace(SECRET, "<code>")


@SHAPES
@pytest.mark.parametrize("plain", [False, True], ids=["objects", "dicts"])
def test_the_pieces_of_a_stream_are_found_and_replaced(provider, sdk, call, plain):
    provider.script(Reply(TEXT, tools=(WEATHER,)))
    chunks = list(call(getattr(provider, sdk)(), stream=True))
    if plain:
        chunks = [chunk.to_dict() for chunk in chunks]
    before = copy.deepcopy(chunks)

    assert "".join(text_of(chunk) or "" for chunk in chunks) == TEXT
    changed = [replace_text(chunk, "X") for chunk in chunks]

    assert chunks == before
    reader = Extractors().reader()
    for old, new in zip(chunks, changed, strict=True):
        assert type(new) is type(old)
        if text_of(old) is None:
            assert new is old
        reader.feed(new)
    # The final event of the Responses API repeats the text: that is what map_texts is for.
    if call is not response:
        assert reader.result().text == "X" * 5


@pytest.mark.parametrize("call", [chat, response])
def test_a_refusal_is_text_too(provider, call):
    """Anthropic refuses by a stop reason, in ordinary text."""
    provider.script(Reply(None, refusal="I cannot do that"))
    chunks = list(call(provider.openai(), stream=True))

    assert "".join(text_of(chunk) or "" for chunk in chunks) == "I cannot do that"
    [first, *_] = [chunk for chunk in chunks if text_of(chunk)]
    assert text_of(replace_text(first, "X")) == "X"


def test_texts_written_at_once_are_told_apart_by_their_lane(provider):
    provider.script(Reply(TEXT), Reply(TEXT), Reply(TEXT, thinking="hmm"))
    lanes = {}
    for chunk in chat(provider.openai(), stream=True, n=2):
        lanes[lane_of(chunk)] = lanes.get(lane_of(chunk), "") + (text_of(chunk) or "")
    assert lanes == {0: TEXT, 1: TEXT}
    for chunks in (
        response(provider.openai(), stream=True),
        message(provider.anthropic(), stream=True),
    ):
        assert len({lane_of(chunk) for chunk in chunks if text_of(chunk)}) == 1
    assert lane_of("text") == lane_of(None) == 0


@pytest.mark.parametrize("then", [None, "end"])
@SHAPES
def test_the_end_of_a_text_is_told_after_its_last_piece(provider, sdk, call, then):
    """And only by a stream that comes to its end."""
    provider.script(Reply(TEXT, then=then, after=3))
    chunks = list(call(getattr(provider, sdk)(), stream=True))
    ends = [end_of(chunk) for chunk in chunks]
    last = max(place for place, chunk in enumerate(chunks) if text_of(chunk))

    assert set(ends[: last + 1]) == {End.NONE}
    first = next((end for end in ends[last:] if end is not End.NONE), None)
    expected = End.SAID if call is chat else End.LANE
    assert first is (expected if then is None else None)
    if call is not chat and then is None:
        assert ends[-1] is End.ALL


@SHAPES
def test_a_whole_answer_is_changed_in_every_place_that_repeats_the_text(provider, sdk, call):
    provider.script(Reply(TEXT, tools=(WEATHER,)))
    answer = call(getattr(provider, sdk)())
    before = answer.to_json()
    changed = map_texts(answer, hide)

    assert answer.to_json() == before
    assert type(changed) is type(answer)
    assert SECRET not in changed.to_json()
    extractors = Extractors()
    ours, theirs = extractors.extract(changed), extractors.extract(answer)
    assert ours.text == hide(TEXT)
    ours.text = theirs.text
    assert ours == theirs


@SHAPES
def test_every_event_of_a_stream_can_be_cleaned_of_a_secret_it_holds_whole(provider, sdk, call):
    """A piece of a word each: the secret stands whole in one delta and in whatever repeats it."""
    provider.script(Reply(TEXT))
    changed = [map_texts(event, hide) for event in call(getattr(provider, sdk)(), stream=True)]

    assert not any(SECRET in event.to_json() for event in changed)


@pytest.mark.parametrize("shape", ["chat", "responses", "messages"])
def test_helper_events_repeat_the_text_in_snapshots_and_are_cleaned_as_well(provider, shape):
    provider.script(Reply(TEXT))
    if shape == "messages":
        opened = provider.anthropic().messages.stream(model="m", max_tokens=9, messages=ASK)
    elif shape == "chat":
        opened = provider.openai().chat.completions.stream(model="m", messages=ASK)
    else:
        opened = provider.openai().responses.stream(model="m", input="x")
    with opened as stream:
        # Looked at as they come: the SDK goes on writing in the snapshot of earlier events.
        assert not any(SECRET in repr(map_texts(event, hide)) for event in stream)


def test_a_value_parsed_from_a_changed_text_is_dropped(provider):
    class Order(pydantic.BaseModel):
        code: str

    provider.script(Reply('{"code": "tok-123"}'))
    parsed = provider.openai().chat.completions.parse(
        model="m", messages=ASK, response_format=Order
    )
    changed = map_texts(parsed, hide)

    assert changed.choices[0].message.parsed is None
    assert parsed.choices[0].message.parsed == Order(code="tok-123")


def test_nothing_to_change_gives_the_same_object(provider):
    answer = chat(provider.openai())
    assert map_texts(answer, hide) is answer
    assert replace_text({"type": "ping"}, "X") == {"type": "ping"}


def test_strings_are_texts():
    assert text_of("a") == "a"
    assert text_of("") is None
    assert replace_text("a", "b") == "b"
    assert map_texts(TEXT, hide) == hide(TEXT)


def test_tool_arguments_are_not_text(provider):
    provider.script(Reply(None, tools=(ToolUse("f", '{"a": "tok-123"}'),)))
    answer = chat(provider.openai())
    assert map_texts(answer, hide) is answer


@pytest.mark.parametrize("value", [None, 3, object(), b"bytes", ["a", {"x": 1}]])
def test_values_of_no_known_shape_pass_through(value):
    assert replace_text(value, "X") is value
    assert text_of(value) is None


def test_a_ring_of_objects_ends():
    ring = {"content": [], "text": TEXT}
    ring["content"].append(ring)
    assert map_texts(ring, hide)["text"] == hide(TEXT)
