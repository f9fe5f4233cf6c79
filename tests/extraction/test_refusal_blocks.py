"""A refusal block beside an answer: a stream, however it is cut, tells what the whole tells."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk

from firedoor.extraction import Extractors
from firedoor.types import Extract

SHAPES = ("chat", "messages", "blocks", "registered")


@dataclass
class Piece:
    """A chunk, or a whole answer, of a type that an application registered."""

    content: str = ""
    refusal: str = ""
    end: str | None = None


def read(piece):
    reasons = (piece.end,) if piece.end else ()
    refusal = "refusal_block" if piece.refusal else None
    return Extract(
        text=f"{piece.content}{piece.refusal}" or None,
        refusal="stop_reason" if piece.end == "content_filter" else refusal,
        answered=piece.content or None,
        finish_reasons=reasons,
        complete=True if reasons else None,
    )


def whole(shape, content, refusal, end):
    """The answer at once."""
    if shape == "registered":
        return Piece(content, refusal, end)
    if shape == "chat":
        message = {"role": "assistant", "content": content or None, "refusal": refusal or None}
        choice = {"index": 0, "message": message, "finish_reason": end}
        return {"object": "chat.completion", "model": "gpt-5", "choices": [choice]}
    about = {"finish_reason": end} if end else {}
    if shape == "messages":
        kwargs = {"refusal": refusal} if refusal else {}
        return AIMessage(content, additional_kwargs=kwargs, response_metadata=about)
    blocks = [{"type": "text", "text": content}] if content else []
    blocks += [{"type": "refusal", "refusal": refusal}] if refusal else []
    return AIMessage(blocks, response_metadata=about)


def chunk(shape, *, content="", refusal="", end=None):
    """A piece of it."""
    if shape == "registered":
        return Piece(content, refusal, end)
    if shape == "chat":
        delta = {name: piece for name, piece in (("content", content), ("refusal", refusal)) if piece}  # fmt: skip
        choice = {"index": 0, "delta": delta, "finish_reason": end}
        return {"object": "chat.completion.chunk", "model": "gpt-5", "choices": [choice]}
    about = {"finish_reason": end} if end else {}
    if shape == "messages":
        kwargs = {"refusal": refusal} if refusal else {}
        return AIMessageChunk(content, additional_kwargs=kwargs, response_metadata=about)
    blocks = [{"type": "text", "text": content, "index": 0}] if content else []
    blocks += [{"type": "refusal", "refusal": refusal, "index": 1}] if refusal else []
    return AIMessageChunk(blocks, response_metadata=about)


@st.composite
def cut(draw, text):
    """The same text in pieces, none of them empty."""
    places = draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=5))
    edges = [0, *sorted(p for p in places if p < len(text)), len(text)]
    return [text[a:b] for a, b in zip(edges, edges[1:], strict=False) if text[a:b]]


@st.composite
def answers(draw):
    content = draw(st.text("ab \n", max_size=12) | st.just("x" * 200))
    refusal = draw(st.just("") | st.text("no ", min_size=1, max_size=8))
    end = draw(st.sampled_from(["stop", "length", "content_filter"]))
    pieces = [("content", p) for p in draw(cut(content))]
    pieces += [("refusal", p) for p in draw(cut(refusal))]
    return content, refusal, end, pieces


@pytest.mark.parametrize("shape", SHAPES)
@given(answer=answers(), together=st.booleans())
def test_a_stream_tells_what_the_whole_tells(shape, answer, together):
    content, refusal, end, pieces = answer
    extractors = Extractors()
    extractors.register(Piece, read)
    chunks = [chunk(shape, **{kind: piece}) for kind, piece in pieces]
    if together and pieces and pieces[-1][0] == "content":
        chunks[-1] = chunk(shape, content=pieces[-1][1], end=end)
    else:
        chunks.append(chunk(shape, end=end))
    reader = extractors.reader()
    shown = [reader.feed(piece) for piece in chunks]
    found, once = reader.result(), extractors.extract(whole(shape, content, refusal, end))
    for name in ("refusal", "answered", "text", "finish_reasons", "complete"):
        told, expected = getattr(found, name), getattr(once, name)
        if name == "answered" and once.refusal is None:
            continue  # of no meaning without a refusal
        assert told == expected, name
    assert shown[: len(pieces)] == [True] * len(pieces)  # a refusal is content too


@pytest.mark.parametrize("shape", SHAPES)
def test_the_order_in_which_they_come_does_not_matter(shape):
    extractors = Extractors()
    extractors.register(Piece, read)
    reader = extractors.reader()
    for piece in ({"refusal": "No"}, {"content": "It is "}, {"refusal": "."}, {"content": "here"}):
        reader.feed(chunk(shape, **piece))
    reader.feed(chunk(shape, end="stop"))
    found = reader.result()
    assert (found.refusal, found.answered) == ("refusal_block", "It is here")
