"""Several texts at once, in the chunks of any provider: each comes out as filtering its whole would leave it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firedoor.errors import PolicyBlocked
from firedoor.extraction.rewrite import End, end_of, lane_of, pieces_of
from firedoor.policies import Chain, MaxLength, Regex, Stage, policy
from firedoor.shell.outflow import Outflow


def chat(lane, piece, *, field="content"):
    return {"choices": [{"index": lane, "delta": {field: piece}, "finish_reason": None}]}


def chat_end(lane):
    return {"choices": [{"index": lane, "delta": {}, "finish_reason": "stop"}]}


def response(lane, piece):
    at = {"output_index": 0, "content_index": lane}
    return {"type": "response.output_text.delta", "delta": piece, **at}


def response_end(lane):
    return {"type": "response.output_text.done", "output_index": 0, "content_index": lane}


def message(lane, piece):
    delta = {"type": "text_delta", "text": piece}
    return {"type": "content_block_delta", "index": lane, "delta": delta}


def message_end(lane):
    return {"type": "content_block_stop", "index": lane}


SHAPES = {
    "chat": (chat, chat_end),
    "responses": (response, response_end),
    "messages": (message, message_end),
}


@policy(on="output", name="upper")
def upper(text):
    return text.replace("b1", "B!")


CHAINS = [
    Chain([Regex("ab{1,4}1", on="output", action="redact")]),
    Chain([Regex(r"\ba{2,3}\b", on="output", action="replace", replacement="-")]),
    Chain([Regex("a1", on="output", action="flag"), MaxLength(9, on="output", action="redact")]),
    Chain([Regex("ab", on="output", action="redact"), upper]),
]
BLOCKING = Chain([Regex("ab{1,3}1", on="output", action="block")])


@st.composite
def streams(draw):
    """Up to three texts in pieces, and the order in which these come."""
    pieces = st.lists(st.text("ab1 ", min_size=1, max_size=6), max_size=8)
    texts = draw(st.lists(pieces, min_size=1, max_size=3))
    order = draw(st.permutations([lane for lane, text in enumerate(texts) for _ in text]))
    left = [list(text) for text in texts]
    return ["".join(text) for text in texts], [(lane, left[lane].pop(0)) for lane in order]


def read(chunks):
    """The texts by lane, and which of them went on after their end was told."""
    texts, ended, late = {}, set(), set()
    for chunk in chunks:
        for way, text in pieces_of(chunk):
            lane = lane_of(chunk, way)
            texts[lane] = texts.get(lane, "") + text
            if lane in ended:
                late.add(lane)
        if end_of(chunk) is End.LANE:
            ended.add(lane_of(chunk))
        elif end_of(chunk) is End.SAID:
            ended.add(chunk["choices"][0]["index"])
    return texts, late


def run(outflow, chunks):
    return [out for chunk in chunks for out in outflow.push(chunk)] + outflow.end()


@pytest.mark.parametrize("shape", SHAPES)
@given(streams(), st.sampled_from(CHAINS), st.booleans())
@settings(max_examples=150, deadline=None)
def test_each_text_comes_out_as_its_whole_would(shape, case, chain, told):
    texts, order = case
    piece, end = SHAPES[shape]
    chunks = [piece(lane, text) for lane, text in order]
    if told:
        chunks += [end(lane) for lane in range(len(texts))]
    outflow = Outflow(chain, Stage.OUTPUT, "normal", None)
    shown, late = read(run(outflow, chunks))
    wholes = [chain.screen(text, "output") for text in texts]
    assert [shown.get(lane, "") for lane in range(len(texts))] == [one.text for one in wholes]
    assert not late
    said = sorted((v.gate, v.status) for v in outflow.verdicts)
    judged = [one for one, text in zip(wholes, texts, strict=True) if text]
    if judged:
        assert said == sorted((v.gate, v.status) for one in judged for v in one.verdicts)
    else:
        assert {status for _, status in said} == {"not_applicable"}


@pytest.mark.parametrize("shape", SHAPES)
@given(streams())
@settings(max_examples=100, deadline=None)
def test_a_block_lets_out_nothing_of_what_it_found(shape, case):
    texts, order = case
    piece, _ = SHAPES[shape]
    outflow, got = Outflow(BLOCKING, Stage.OUTPUT, "normal", None), []
    refused = [BLOCKING.screen(text, "output").blocked_by is not None for text in texts]
    try:
        for lane, text in order:
            got += outflow.push(piece(lane, text))
        got += outflow.end()
        blocked = False
    except PolicyBlocked:
        blocked = True
    assert blocked is any(refused)
    finder = BLOCKING.policies[0]
    for lane, shown in read(got)[0].items():
        found = finder.find(texts[lane])
        assert texts[lane].startswith(shown)
        assert len(shown) <= (found[0].start if found else len(texts[lane]))


@given(streams(), st.sampled_from(CHAINS))
@settings(max_examples=100, deadline=None)
def test_reasoning_and_answer_in_one_chunk_are_two_texts(case, chain):
    texts, order = case
    fields = ["content", "reasoning_content", "refusal"]
    chunks = [chat(0, text, field=fields[lane]) for lane, text in order]
    shown = dict.fromkeys(fields, "")
    for chunk in run(Outflow(chain, Stage.OUTPUT, "normal", None), chunks):
        for way, text in pieces_of(chunk):
            shown[way[-1]] += text
    for name, text in zip(fields, texts, strict=False):
        assert shown[name] == chain.screen(text, "output").text
