"""Whether an answer says what its sources say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firedoor.extraction.grounding import ground
from support.groundedness import auc, load, shuffled

SOURCES = (
    "Parcels within Germany take two to three days. Orders before noon ship the same day.",
    "Returns are free within 30 days of delivery. Write to Ms. Okafor for a label.",
)


def score(answer, sources=SOURCES, question="", beside=()):
    return ground(answer, sources, question, beside).score


@pytest.mark.parametrize("name", ["tuning", "heldout"])
def test_grounded_answers_part_from_invented_ones(name):
    cases = load(name)
    good, half, bad = (
        [score(c.answer, c.sources, c.question) or 0.0 for c in cases if c.label == label]
        for label in "GMI"
    )
    other = [score(c.answer, c.sources, c.question) or 0.0 for c in shuffled(cases)]
    assert auc(good, bad) >= 0.98
    assert auc(good, other) >= 0.98
    assert auc(good, half) >= 0.95
    assert auc(half, bad) >= 0.9
    assert sum(value < 0.5 for value in good) <= len(good) * 0.05
    assert sum(value >= 0.5 for value in bad) <= len(bad) * 0.05


@pytest.mark.parametrize(
    "answer",
    [
        "Parcels take 2 to 3 days within Germany.",
        "If you order before noon, it ships on the same day.",
        "Returns are free for 30 days after delivery; Ms. Okafor sends the label.",
        '"Returns are free within 30 days of delivery."',
    ],
)
def test_what_the_sources_say_in_other_words_is_grounded(answer):
    assert score(answer) > 0.7


@pytest.mark.parametrize(
    "answer",
    [
        "Parcels take 9 days within Germany.",
        "Returns are free within 30 days; write to Ms. Lindqvist.",
        'It says: "Returns are free for members of the gold club" on page two.',
        "Call parcels.track(order_id) to follow it.",
    ],
)
def test_a_number_a_name_a_quote_or_a_function_that_no_source_has_weighs_heavily(answer):
    assert score(answer) < 0.7


def test_claims_without_sources_are_not_grounded():
    found = ground("Parcels take two days and cost 4 euros.", ())
    assert (found.score, found.claims, found.unsupported) == (0.0, 1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I don't know.",
        "The documents do not say.",
        "Sorry, I can't help with that.",
        "Could you tell me your order number?",
        "Of course! Let me know if you have further questions.",
        "```python\ndef invented(): ...\n```",
    ],
)
def test_what_claims_nothing_is_not_judged(answer):
    assert score(answer, ()) is None


def test_repeating_the_question_is_no_claim():
    assert score("You ask how to escape special HTML characters.", (),
                 "How do I escape special HTML characters?") is None  # fmt: skip


def test_a_question_that_holds_the_material_is_a_source():
    text = "The bridge was built in 1894 by Hanna Weiss. " + "It crosses the river. " * 40
    assert score("Hanna Weiss built the bridge in 1894.", (), f"{text} Summarise this.") > 0.8


def test_what_the_model_was_told_supports_a_claim_beside_sources():
    told = ["You work for Acme. The hotline is open until 20:00."]
    assert score("The hotline is open until 20:00.") < 0.5
    assert score("The hotline is open until 20:00.", beside=told) > 0.8


def test_words_gathered_from_many_documents_bear_less_than_one_document():
    apart = ["The red fox sleeps.", "A boat crosses the lake.", "Snow fell in April."]
    together = ["In April a red fox crosses the snow by boat.", "Nothing else."]
    answer = "A red fox crosses snow in April."
    assert score(answer, apart) < score(answer, together)


def test_the_worst_claims_are_told():
    found = ground("Returns are free within 30 days. The manager is called Bob Hawkins.", SOURCES)
    assert (found.claims, found.unsupported) == (2, 1)
    assert found.worst == ("The manager is called Bob Hawkins.",)


@given(st.text(max_size=800), st.lists(st.text(max_size=300), max_size=3), st.text(max_size=200))
def test_any_texts_get_a_score_within_bounds(answer, sources, question):
    found = ground(answer, sources, question)
    assert found.score is None or 0 <= found.score <= 1
    assert 0 <= found.unsupported <= found.claims


@given(st.sampled_from(SOURCES))
def test_a_source_bears_itself_out(source):
    assert score(source) > 0.95
