"""Retrieval results of many libraries, by their shapes."""

import datetime as dt
import uuid
from types import SimpleNamespace

import pytest
from langchain_core.documents import Document

from firedoor.extraction import Extract, Extractors
from firedoor.types import Source


@pytest.fixture
def read():
    return Extractors().extract_retrieval


def test_dicts_with_an_id_a_score_and_a_text(read):
    found = read([{"id": "a", "score": 0.9, "text": "Alpha"}, {"_id": 7, "similarity": 0.5}])

    assert found.sources == (Source("a", 0.9), Source("7", 0.5))
    assert found.documents == ("Alpha",)
    assert found.unknown is None


def test_objects_with_id_score_and_metadata(read):
    point = SimpleNamespace(id="p-1", score=0.7, payload={"text": "Alpha", "updated_at": 1000})

    found = read([point])
    assert found.sources == (Source("p-1", 0.7, 1000.0),)
    assert found.documents == ("Alpha",)


def test_langchain_documents_and_pairs_with_a_score(read):
    named = Document(page_content="Alpha", metadata={"source": "a.md"})
    own = Document(page_content="Beta", id="b-1")

    assert read([named, own]).sources == (Source("a.md"), Source("b-1"))
    scored = read([(named, 0.2), (own, 0.4)])
    assert scored.sources == (Source("a.md", 0.2), Source("b-1", 0.4))
    assert scored.documents == ("Alpha", "Beta")


def test_llamaindex_nodes_with_a_score(read):
    node = SimpleNamespace(
        node_id="n-1", text="Alpha", metadata={"last_modified_date": "2026-01-02"}
    )
    found = read(SimpleNamespace(source_nodes=[SimpleNamespace(node=node, score=0.8)]))

    assert found.sources == (Source("n-1", 0.8, 1767312000.0),)
    assert found.documents == ("Alpha",)


def test_chromas_dict_of_lists(read):
    found = read(
        {
            "ids": [["a", "b"]],
            "distances": [[0.1, 0.2]],
            "documents": [["Alpha", None]],
            "metadatas": [[{"updated_at": 5}, None]],
        }
    )
    assert found.sources == (Source("a", 0.1, 5.0), Source("b", 0.2))
    assert found.documents == ("Alpha",)


@pytest.mark.parametrize("key", ["results", "matches", "documents", "points"])
def test_results_under_a_common_name(read, key):
    assert read({key: [{"id": "a", "score": 1}]}).sources == (Source("a", 1.0),)
    assert read(SimpleNamespace(**{key: [{"id": "a"}]})).sources == (Source("a"),)


def test_elasticsearch_hits(read):
    hit = {
        "_id": "e",
        "_score": 3.5,
        "_source": {"content": "Alpha", "timestamp": 1_700_000_000_000},
    }
    found = read({"hits": {"total": {"value": 1}, "hits": [hit]}})

    assert found.sources == (Source("e", 3.5, 1_700_000_000.0),)
    assert found.documents == ("Alpha",)


def test_pairs_of_an_id_and_a_score_in_either_order(read):
    assert read([("doc-1", 0.5), (0.4, "doc-2")]).sources == (
        Source("doc-1", 0.5),
        Source("doc-2", 0.4),
    )
    assert read([(3, 0.5)]).sources == (Source("3", 0.5),)


def test_scores_of_numpy_are_numbers(read):
    numpy = pytest.importorskip("numpy")
    found = read([{"id": "a", "score": numpy.float32(0.5)}, (3, numpy.float64(0.25))])
    assert found.sources == (Source("a", 0.5), Source("3", 0.25))


def test_no_text_becomes_an_id(read):
    """A text may hold anything; what names a source leaves the process."""
    text = "Ana Nowak lives at 4 Main Street"
    for result in ([text], [(text, 0.5)], [{"text": text}], [{"id": text}], text,
                   [Document(page_content=text, metadata={"source": text})]):  # fmt: skip
        found = read(result)
        assert [source.id for source in found.sources] == ["#0"]
    assert read([text, "Beta"]).sources == (Source("#0"), Source("#1"))
    assert read([text]).documents == (text,)


def test_only_the_first_are_read_and_all_are_counted(read):
    found = read([{"id": str(n), "text": "x"} for n in range(500)], 10)

    assert [source.id for source in found.sources] == [str(n) for n in range(10)]
    assert len(found.documents) == 10
    assert found.extra["count"] == 500


NEW_YEAR = 1767225600.0


@pytest.mark.parametrize(
    "told",
    [
        NEW_YEAR,
        NEW_YEAR * 1000,
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00+01:00",
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        dt.date(2026, 1, 1),
    ],
)
def test_timestamps_in_every_common_form(read, told):
    assert read([{"id": "a", "metadata": {"updated_at": told}}]).sources[0].timestamp == NEW_YEAR


@pytest.mark.parametrize("told", ["yesterday", "", None, True, float("nan"), [1]])
def test_a_timestamp_that_is_none_is_left_out(read, told):
    assert read([{"id": "a", "updated_at": told}]).sources[0].timestamp is None


@pytest.mark.parametrize("score", [float("nan"), float("inf"), "high", True, None])
def test_a_score_that_is_no_number_is_left_out(read, score):
    assert read([{"id": "a", "score": score}]).sources == (Source("a"),)


def test_uuids_are_ids(read):
    key = uuid.UUID(int=1)
    assert read([{"id": key}]).sources == (Source(str(key)),)


def test_nothing_found_is_no_unknown_shape(read):
    found = read([])
    assert (found.sources, found.unknown, found.extra["count"]) == ((), None, 0)


def test_generators_are_left_alone(read):
    results = ({"id": n} for n in range(3))
    assert "generator" in read(results).unknown
    assert len(list(results)) == 3


@pytest.mark.parametrize("value", [None, 3, object(), {"a": 1}])
def test_unknown_shapes_are_noted(read, value):
    assert read(value).unknown is not None


def test_a_registered_class_of_document_is_read_by_its_extractor():
    class Page:
        slug = "page-1"

    extractors = Extractors()
    extractors.register(Page, lambda page: {"sources": [Source(page.slug)], "text": "Alpha"})
    found = extractors.extract_retrieval([Page(), {"id": "b"}])
    assert found.sources == (Source("page-1"), Source("b"))
    assert found.documents == ("Alpha",)

    extractors.register(list, lambda value: Extract(sources=(Source("mine"),)))
    assert extractors.extract_retrieval([1]).sources == (Source("mine"),)
