"""The copilot's answers, over real HTTP, held to the documents it found."""

import pytest

import firedoor as fd
from firedoor.drill.copilot import JOURNEY, Copilot
from firedoor.drill.questions import BANK
from firedoor.drill.retrieval import Index
from support.provider_server import ProviderServer, Reply


class Elsewhere(Index):
    """Finds documents, and never the ones that were asked for."""

    def search(self, query, *, k=4):
        return super().search("calendar month weekday names and leap years", k=k)


@pytest.fixture
def served(extractive):
    """Asks a few questions of a copilot that searches `index`."""
    with fd.Firedoor("copilot") as door:
        door.check("groundedness")

        def run(index, answers=None):
            copilot = Copilot(
                door,
                index,
                base_url=answers or extractive.base_url,
                model="extractive",
                api_key="x",
            )
            for question in BANK[:8]:
                copilot.ask(question.text, user="u")
            copilot.close()
            door.flush()
            return door

        yield run


def test_answers_from_the_documents_are_grounded(served, index):
    door = served(index)
    assert door.checks["groundedness"]["errored"] == 0
    assert door.signals.read("groundedness", journey=JOURNEY).value > 0.9
    assert door.signals.read("ungrounded_rate", journey=JOURNEY).value == 0.0


def test_the_same_answers_are_not_when_retrieval_finds_something_else(served, index):
    """A model that answers well from what it knows, and not from what it was given."""
    said = {
        q.text: f"Use {q.about}(), as of Python 2.6 the only way, with 3 arguments." for q in BANK
    }
    with ProviderServer() as provider:
        provider.script(*[Reply(said[question.text]) for question in BANK[:8]])
        door = served(Elsewhere(index.documents), f"{provider.url}/v1")
    assert door.signals.read("ungrounded_rate", journey=JOURNEY).value == 1.0


def test_an_answerer_that_says_it_has_nothing_to_go_by_is_not_judged(served):
    door = served(Nothing())
    assert door.checks["groundedness"]["not_applicable"] == 8
    assert door.signals.read("groundedness").size == 0


class Nothing:
    """An index that finds nothing."""

    documents = ()

    def search(self, query, *, k=4):
        return []
