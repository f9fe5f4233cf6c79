"""Retrieval finds the documents that people ask for."""

import pytest

from firedoor.drill.questions import ABOUT_THE_VERSION, BANK, draw


@pytest.mark.parametrize("question", [*BANK, ABOUT_THE_VERSION], ids=lambda one: one.about)
def test_every_question_finds_its_document(index, question):
    """The drill expects the right source among the three that the copilot reads."""
    assert question.about in [hit["id"] for hit in index.search(question.text, k=3)]


def test_a_document_is_found_by_its_full_name_first(index):
    assert index.search("functools.lru_cache", k=1)[0]["id"] == "functools.lru_cache"


def test_hits_come_best_first_with_their_text(index):
    hits = index.search("push an item onto a heap", k=5)
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert all(hit["text"] and hit["score"] > 0 for hit in hits)


def test_words_no_document_has_find_nothing(index):
    """A document with score zero is no result."""
    assert index.search("qwertzuiop zxcvbnm", k=3) == []


def test_the_same_seed_draws_the_same_questions(index):
    assert draw(40, seed=3, documents=index.documents) == draw(
        40, seed=3, documents=index.documents
    )
    assert draw(8, seed=3, documents=index.documents) != draw(8, seed=4, documents=index.documents)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_as_many_questions_as_asked_for_one_of_which_needs_the_tool(index, count):
    drawn = draw(count, seed=1, documents=index.documents)
    assert len(set(drawn)) == count
    assert drawn[1:2] == (ABOUT_THE_VERSION,)[: count - 1]


def test_questions_beyond_the_bank_ask_for_documents(index):
    drawn = draw(len(BANK) + 6, seed=0, documents=index.documents)
    ids = {one.id for one in index.documents}
    assert set(drawn[:-5]) == {*BANK, ABOUT_THE_VERSION}
    assert all(question.about in ids and question.about in question.text for question in drawn[-5:])


def test_more_questions_than_there_are_is_refused(index):
    with pytest.raises(ValueError, match="at most 26 known"):
        draw(27, seed=0, documents=index.documents[:1])
