"""Lexical retrieval over the documents: BM25, from the `bm25s` library."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypedDict

import bm25s

from firedoor.drill.corpus import Document

__all__ = ["Hit", "Index", "Shelf"]

_WORD = r"(?u)\b\w[\w.]*\w\b"


class Hit(TypedDict):
    """One retrieved document; `score` is BM25's own, higher is better."""

    id: str
    score: float
    text: str


class Index:
    """An in-memory BM25 index of documents.

    A document's id counts as words of it, whole and in its parts: people ask for "heapq" as well
    as for "heapq.heappush".
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = tuple(documents)
        self._bm25 = bm25s.BM25()
        self._bm25.index(
            _words([f"{document.id} {document.text}" for document in self.documents]),
            show_progress=False,
        )

    def search(self, query: str, *, k: int = 4) -> list[Hit]:
        """The `k` best documents that share a word with `query`, best first; none may."""
        positions, scores = self._bm25.retrieve(
            _words([query]), k=min(k, len(self.documents)), show_progress=False
        )
        return [
            Hit(
                id=self.documents[position].id,
                score=round(float(score), 3),
                text=self.documents[position].text,
            )
            for position, score in zip(positions[0], scores[0], strict=True)
            if score > 0
        ]


class Shelf:
    """An index whose documents can be taken away, as one that is built anew and comes up empty.

    Attributes:
        gone: They are away: every search finds nothing, and raises nothing.
    """

    def __init__(self, index: Index) -> None:
        self.gone = False
        self._index = index

    @property
    def documents(self) -> tuple[Document, ...]:
        """The documents of the index."""
        return self._index.documents

    def search(self, query: str, *, k: int = 4) -> list[Hit]:
        """As the index answers, or nothing."""
        return [] if self.gone else self._index.search(query, k=k)


def _words(texts: list[str]) -> list[list[str]]:
    widened = [re.sub(r"\w+(?:[._]\w+)+", _with_parts, text) for text in texts]
    words: Any = bm25s.tokenize(
        widened,
        token_pattern=_WORD,
        stopwords="en",
        return_ids=False,
        show_progress=False,
    )
    return list(words)


def _with_parts(match: re.Match[str]) -> str:
    whole = match.group()
    return f"{whole} {' '.join(re.split(r'[._]', whole))}"
