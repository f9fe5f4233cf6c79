"""What a retriever returned: which documents, how well they scored, how old they are.

Known shapes: a list of dicts, of objects with `id`, `score` and `metadata`, of LangChain
`Document`s or `(Document, score)` pairs, of LlamaIndex `NodeWithScore`, of `(id, score)` pairs, of
strings; Chroma's dict of lists; a dict or object that holds such a list under a common name.

No text ever becomes an id: a document that gives no id of its own is called by its place, `#0`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from firedoor.extraction.fields import field, items, number, path, text
from firedoor.types import Extract, Source

__all__ = ["extract_retrieval"]

_IDS = ("id", "_id", "doc_id", "document_id", "chunk_id", "node_id", "id_", "key", "uuid", "pk")
_METADATA_IDS = (*_IDS, "source", "file_path", "path", "url", "uri")
_SCORES = ("score", "_score", "similarity", "similarity_score", "relevance_score", "distance",
           "_distance", "@search.score")  # fmt: skip
_TEXTS = ("text", "page_content", "content", "document", "body", "chunk", "snippet", "passage")
_METADATA = ("metadata", "meta", "payload", "_source", "fields", "properties", "entity")
_TIMES = ("updated_at", "last_updated", "last_modified", "modified_at", "modified", "timestamp",
          "last_modified_date", "published_at", "created_at", "date")  # fmt: skip
_LISTS = ("results", "documents", "matches", "hits", "points", "source_nodes", "docs", "items",
          "nodes", "data", "objects", "context", "source_documents")  # fmt: skip
_LONGEST_ID = 200
_MILLISECONDS = 1e11
"""Epoch figures beyond this (the year 5138 in seconds) are milliseconds."""


def extract_retrieval(
    value: Any,
    limit: int,
    registered: Callable[[type], Callable[[Any], Extract] | None] | None = None,
) -> Extract:
    """Sources and documents of a retrieval result, the first `limit` of them.

    Args:
        value: What the retriever returned.
        limit: How many to read.
        registered: Finds the application's own extractor for a class of document.
    """
    found = _chroma(value, limit)
    if found is None:
        entries = _entries(value)
        if entries is None:
            kind = type(value)
            return Extract(unknown=f"retrieval result {kind.__module__}.{kind.__qualname__}")
        found = []
        for place, entry in enumerate(entries[:limit]):
            read = registered(type(entry)) if registered is not None else None
            found.append(_document(entry, place) if read is None else _own(read(entry), place))
        total = len(entries)
    else:
        total = len(items(field(value, "ids"))[0])
    answer = Extract(
        sources=tuple(source for source, _ in found),
        documents=tuple(said for _, said in found if said is not None),
    )
    answer.extra["count"] = total
    return answer


def _entries(value: Any) -> list[Any] | tuple[Any, ...] | None:
    kind = type(value)
    if issubclass(kind, list | tuple):
        return items(value)
    if issubclass(kind, str):
        return (value,)
    for name in _LISTS:
        held = field(value, name)
        if issubclass(type(held), list | tuple):
            return items(held)
        inner = field(held, name) if issubclass(type(held), dict) else None
        if issubclass(type(inner), list | tuple):  # Elasticsearch: {"hits": {"hits": [...]}}
            return items(inner)
    if _identity(value) is not None or _said(value) is not None:
        return (value,)
    return None


def _chroma(value: Any, limit: int) -> list[tuple[Source, str | None]] | None:
    """Chroma's `{"ids": [[...]], "distances": [[...]], ...}`; the first query's results."""
    columns = items(field(value, "ids"))
    if not columns or not issubclass(type(columns[0]), list | tuple):
        return None

    def column(name: str) -> Any:
        held = items(field(value, name))
        return items(held[0]) if held else ()

    def at(held: Any, place: int) -> Any:
        return held[place] if place < len(held) else None

    scores, texts, metadata = column("distances"), column("documents"), column("metadatas")
    return [
        (
            Source(_id(key) or f"#{place}", number(at(scores, place)), _time(at(metadata, place))),
            text(at(texts, place)),
        )
        for place, key in enumerate(columns[0][:limit])
    ]


def _own(said: Extract, place: int) -> tuple[Source, str | None]:
    source = said.sources[0] if said.sources else Source(f"#{place}")
    return source, said.documents[0] if said.documents else said.text


def _document(entry: Any, place: int) -> tuple[Source, str | None]:
    given: Any = entry
    score = None
    pair = items(entry)
    if len(pair) == 2:
        score = number(pair[1])
        given = pair[0]
        if score is None and number(pair[0]) is not None:
            score, given = number(pair[0]), pair[1]
    key = None
    said = None
    if issubclass(type(given), str):
        # One word beside a score is an id; anything with spaces in it is a text.
        if score is not None and _looks_like_id(given):
            key = str(given)
        else:
            said = str(given)
    elif type(given) is int and score is not None:
        key = str(given)
    else:
        # LlamaIndex keeps the document under `node`.
        inner = field(given, "node") or field(given, "document")
        key = _identity(given)
        if key is None and inner is not None:
            key = _identity(inner)
        said = _said(given) or (_said(inner) if inner is not None else None)
        if score is None:
            score = _score(given)
        if score is None and inner is not None:
            score = _score(inner)
        moment = _time(given)
        if moment is None and inner is not None:
            moment = _time(inner)
        return Source(key or f"#{place}", score, moment), said
    return Source(key or f"#{place}", score), said


def _looks_like_id(word: str) -> bool:
    return 0 < len(word) <= _LONGEST_ID and not any(mark.isspace() for mark in word)


def _id(value: Any) -> str | None:
    if type(value) is int:
        return str(value)
    if type(value).__name__ in ("UUID", "ObjectId"):
        return str(value)
    given = text(value)
    return given if given is not None and _looks_like_id(given) else None


def _identity(value: Any) -> str | None:
    for name in _IDS:
        key = _id(field(value, name))
        if key is not None:
            return key
    for holder in _METADATA:
        metadata = field(value, holder)
        if not issubclass(type(metadata), dict):
            continue
        for name in _METADATA_IDS:
            key = _id(metadata.get(name))
            if key is not None:
                return key
    return _id(field(value, "source")) or _id(field(value, "url"))


def _score(value: Any) -> float | None:
    for name in _SCORES:
        score = number(field(value, name))
        if score is not None:
            return score
    for name in ("score", "relevance_score", "distance", "certainty"):
        score = number(path(value, "metadata", name))
        if score is not None:
            return score
    return None


def _said(value: Any) -> str | None:
    for holder in (value, field(value, "payload"), field(value, "_source")):
        for name in _TEXTS:
            said = text(field(holder, name)) if holder is not None else None
            if said is not None:
                return said
    return text(path(value, "metadata", "text"))


def _time(value: Any) -> float | None:
    for holder in (value, *(field(value, name) for name in _METADATA)):
        if holder is None:
            continue
        for name in _TIMES:
            moment = _epoch(field(holder, name))
            if moment is not None:
                return moment
    return None


def _epoch(value: Any) -> float | None:
    """Seconds since the epoch of a figure, an ISO 8601 string, a date or a datetime."""
    moment = number(value)
    if moment is not None:
        return moment / 1000 if moment > _MILLISECONDS else moment
    try:
        if type(value) is str:
            value = dt.datetime.fromisoformat(value)
        if type(value) is dt.date:
            value = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
        if type(value) is not dt.datetime:
            return None
        if value.tzinfo is None:
            value = value.replace(tzinfo=dt.UTC)
        return number(value.timestamp())
    except Exception:
        return None
