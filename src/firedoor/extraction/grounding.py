"""Whether an answer says what its sources say, told by words, numbers and names; no model.

An answer is split into sentences. Of each, the words that carry meaning are looked up in the
documents: numbers, identifiers and names must be there as they are, other words by their stem.
What the question had already said counts little if the sources say it too, and nothing if they do
not: to repeat a question is no claim. A sentence is held to one document above all, since words
gathered from everywhere support anything. Passages in quotation marks must be found whole.

What this sees: facts, figures, names and topics that the sources do not have. What it cannot see:
a wrong sentence made of the right words ("not" left out, two figures swapped), and a true one in
another language than its sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from firedoor.extraction.grounding_words import EMPTY, GENERIC, NUMBERS
from firedoor.extraction.refusals import makes_no_claim

__all__ = ["Grounding", "ground"]

_MOST_ANSWER = 8_000
_MOST_DOCUMENT = 6_000
_MOST_DOCUMENTS = 48
_LONG_QUESTION = 600
"""Characters from which on a question holds the material to answer from."""

_SENTENCE = re.compile(r"(?<=[.!?:;])[\"')\]]*\s+|\n+|(?<=[。！？；])")
_TOKEN = re.compile(
    r"--?[A-Za-z][\w-]+"  # command line options
    r"|[^\W\d]\w*(?:\.[^\W\d]\w*)+"  # dotted names
    r"|\d+(?:[.,:/-]\d+)*"
    r"|[^\W\d_]+(?:['’][^\W\d_]+)?(?=\()"
    r"|\w+"
)
_CJK = re.compile(r"[぀-ヿ㐀-鿿가-힯]+")
_QUOTED = re.compile(r"[\"“«]([^\"”»\n]{12,300})[\"”»]|`([^`\n]{12,200})`")
_LIST_MARK = re.compile(r"^\s*(?:[-*•>#|]+|\d{1,2}[.)])\s+")
_LINK = re.compile(r"https?://\S+")
_ENDINGS = ("ingly", "edly", "ation", "ments", "ment", "ings", "ing", "ies", "ied", "ions", "ion",
            "ers", "er", "ors", "or", "ed", "es", "ly", "al", "s", "e")  # fmt: skip

_WORD, _GENERIC, _NAME, _CODE, _NUMBER = 1.0, 0.3, 2.5, 3.0, 3.0
_ASKED = 0.3
"""What a word counts that the question had already."""


@dataclass(frozen=True, slots=True)
class Grounding:
    """How far an answer is supported.

    Attributes:
        score: 0 to 1; None where there is nothing to judge.
        claims: Sentences that claim something.
        unsupported: Those of them that the sources do not bear out.
        worst: Some of the unsupported ones, raw: they stay in the process.
    """

    score: float | None
    claims: int = 0
    unsupported: int = 0
    worst: tuple[str, ...] = ()


def ground(
    answer: str, sources: Sequence[str], question: str = "", beside: Sequence[str] = ()
) -> Grounding:
    """How far `sources` support what `answer` claims. Time is linear in all their lengths.

    Args:
        answer: Raw; the first 8,000 characters are read.
        sources: What was retrieved, raw: the first 48, 6,000 characters of each.
        question: What the user asked.
        beside: Other texts the model was given, as its instructions: they support a claim too,
            and are no sources: without any of those, every claim is unsupported.
    """
    given = [_terms(text[:_MOST_DOCUMENT]) for text in sources[:_MOST_DOCUMENTS] if text]
    more = [_terms(text[:_MOST_DOCUMENT]) for text in beside if text]
    if len(question) > _LONG_QUESTION:
        given.append(_terms(question[:_MOST_DOCUMENT]))
        question = question[-_LONG_QUESTION // 2 :]
    documents = _Documents([*given, *more], asked=_terms(question))
    total = supported = 0.0
    claims = unsupported = 0
    worst: list[str] = []
    for sentence in _sentences(answer[:_MOST_ANSWER]):
        judged = documents.judge(sentence)
        if judged is None:
            continue
        score, weight = judged if given else (0.0, judged[1])
        claims += 1
        total += weight
        supported += weight * score
        if score < 0.5:
            unsupported += 1
            if len(worst) < 3:
                worst.append(sentence)
    if not claims:
        return Grounding(None)
    return Grounding(supported / total, claims, unsupported, tuple(worst))


def _sentences(answer: str) -> Iterable[str]:
    for piece in _SENTENCE.split(answer):
        sentence = _LIST_MARK.sub("", piece).strip()
        if sentence and not sentence.endswith("?") and not makes_no_claim(sentence):
            yield sentence


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a text says.

    Attributes:
        weights: By term, what it counts.
        hard: The terms that must be there as they are: numbers, identifiers, names.
        plain: The text in lower case, spaces collapsed.
        beginnings: The first letters of its longer words.
    """

    weights: dict[str, float]
    hard: frozenset[str]
    plain: str
    beginnings: frozenset[str]

    def has(self, term: str, *, hard: bool) -> float:
        """How far the text holds `term`, 0 to 1."""
        if term in self.weights:
            return 1.0
        if not hard:
            return 0.8 if len(term) > 5 and term[:5] in self.beginnings else 0.0
        if "." in term and not term[0].isdigit():
            head, _, last = term.rpartition(".")
            if term in self.plain:
                return 1.0
            known = _stem(last) in self.weights and _stem(head.rpartition(".")[2]) in self.weights
            return 0.4 if known else 0.0
        return 1.0 if not term[0].isdigit() and term in self.plain and len(term) > 3 else 0.0


class _Documents:
    """Documents, and what was asked, ready to judge sentences by."""

    def __init__(self, documents: list[_Terms], asked: _Terms) -> None:
        self._documents = documents
        self._asked = asked

    def judge(self, sentence: str) -> tuple[float, float] | None:
        """Support, 0 to 1, and weight of one sentence; None if it claims nothing."""
        claimed = _terms(sentence)
        asked = self._asked
        terms: list[tuple[str, float, bool, list[float]]] = []
        for term, weight in claimed.weights.items():
            hard = term in claimed.hard
            held = [document.has(term, hard=hard) for document in self._documents]
            if asked.has(term, hard=hard) > 0.5:
                if not held or max(held) < 0.5:
                    continue  # neither claimed nor borne out: the user said it
                weight *= _ASKED  # noqa: PLW2901 - a term's weight in this sentence
            terms.append((term, weight, hard, held))
        total = sum(weight for _, weight, _, _ in terms)
        if total < 1.5:
            return None
        if not self._documents:
            return 0.0, min(total, 12.0)
        spread = sum(weight * max(held) for _, weight, _, held in terms) / total
        best = max(
            sum(weight * held[place] for _, weight, _, held in terms) / total
            for place in range(len(self._documents))
        )
        support = 0.7 * best + 0.3 * spread
        named = sum(weight for _, weight, hard, _ in terms if hard)
        if named:
            found = sum(weight * max(held) for _, weight, hard, held in terms if hard)
            support *= 0.3 + 0.7 * found / named
        if not all(self._quoted(quote) for quote in _quotes(sentence)):
            support *= 0.5
        return min(1.0, support), min(total, 12.0)

    def _quoted(self, quote: str) -> bool:
        return any(quote in text.plain for text in (*self._documents, self._asked))


def _quotes(sentence: str) -> Iterable[str]:
    for found in _QUOTED.finditer(sentence):
        quote = " ".join((found[1] or found[2]).lower().split()).strip(".,;:!")
        if quote.count(" ") >= 2:
            yield quote


def _terms(text: str) -> _Terms:
    text = _LINK.sub(" ", text)
    weights: dict[str, float] = {}
    hard: set[str] = set()
    begun = True
    after = 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        between = text[after : found.start()]
        after = found.end()
        # A capital says nothing where a sentence, a list item or a heading begins.
        begun = begun or any(mark in between for mark in '.!?:\n•*#"“(')
        term, weight, must = _weighed(token, begun=begun, called=text[after : after + 1] == "(")
        begun = False
        if weight:
            weights[term] = max(weight, weights.get(term, 0.0))
            if must:
                hard.add(term)
    for run in _CJK.findall(text):
        for pair in pairwise(run):
            weights["".join(pair)] = _WORD
    plain = " ".join(text.lower().split())
    starts = frozenset(term[:5] for term in weights if len(term) > 5)
    return _Terms(weights, frozenset(hard), plain, starts)


def _weighed(token: str, *, begun: bool, called: bool) -> tuple[str, float, bool]:
    """A token as it is compared, what it counts, and whether it must be there as it is."""
    low = token.lower()
    if token[0].isdigit():
        return low.replace(",", "").rstrip(".") or low, _NUMBER, True
    if low in NUMBERS:
        return NUMBERS[low], _WORD, False
    if low in EMPTY or len(low) < 2 or _CJK.match(token):
        return low, 0.0, False
    if "." in token or "_" in token.strip("_") or called or token.startswith("-"):
        return low.strip("_-"), _CODE, True
    if any(mark.isupper() for mark in token[1:]) and len(token) > 1:
        return low, _NAME, True
    if token[0].isupper() and not begun and low not in GENERIC:
        return low, _NAME, True
    if any(mark.isdigit() for mark in token):
        return low, _NAME, True
    return _stem(low), _GENERIC if low in GENERIC else _WORD, False


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: len(word) - len(ending)]
    return word
