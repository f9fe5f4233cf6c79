"""Whether an answer says what its sources say, told by words, numbers and names; no model.

An answer is split into sentences. Of each, the words that carry meaning are looked up in the
documents: numbers, identifiers and names must be there as they are, other words by their stem.
What the question had already said counts little if the sources say it too, and nothing if they do
not: to repeat a question is no claim. Blocks of code are left out: their names are their own. A sentence is held to one document above all, since words
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
_SHORTENED = re.compile(r"\b(Mr|Mrs|Ms|Dr|Prof|St|vs|e\.g|i\.e|approx|No|Nr|ca|z\.B)\.(?=\s)")
_PARTS = re.compile(r"[._]+")
_QUOTED = re.compile(r"[\"“«]([^\"”»\n]{12,300})[\"”»]|`([^`\n]{12,200})`")
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_LIST_MARK = re.compile(r"^\s*(?:[-*•>#|]+|\d{1,2}[.)])\s+")
_LINK = re.compile(r"https?://\S+")
_ENDINGS = ("ingly", "edly", "ation", "ments", "ment", "ings", "ing", "ies", "ied", "ions", "ion",
            "ers", "er", "ors", "or", "ed", "es", "ly", "al", "s", "e")  # fmt: skip

_WORD, _GENERIC, _NAME, _CODE, _NUMBER = 1.0, 0.3, 2.5, 3.0, 3.0
_ASKED = 0.3
"""What a word counts that the question had already."""
_LEAST = 1.5
"""Weight below which a sentence claims nothing."""
_MOST_WEIGHT = 12.0
"""A sentence of any length counts no more than this beside the others."""


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
    given = [_Text(text[:_MOST_DOCUMENT]) for text in sources[:_MOST_DOCUMENTS] if text]
    more = [_Text(text[:_MOST_DOCUMENT]) for text in beside if text]
    if len(question) > _LONG_QUESTION:
        given.append(_Text(question[:_MOST_DOCUMENT]))
        question = question[-_LONG_QUESTION // 2 :]
    documents = _Documents([*given, *more], asked=_Text(question))
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
    prose = _SHORTENED.sub(r"\1", _FENCED.sub("\n", answer))
    for piece in _SENTENCE.split(prose):
        sentence = _LIST_MARK.sub("", piece).strip()
        if sentence and not sentence.endswith("?") and not makes_no_claim(sentence):
            yield sentence


class _Text:
    """What can be found in a text.

    Attributes:
        plain: In lower case, spaces collapsed.
        terms: Its words as they are and by their stems, its numbers, its pairs of CJK characters.
        beginnings: The first letters of its longer words.
    """

    __slots__ = ("beginnings", "plain", "terms")

    def __init__(self, text: str) -> None:
        low = _LINK.sub(" ", text).lower()
        self.plain = " ".join(low.split())
        words = set(_TOKEN.findall(low))
        terms = set(words)
        for word in words:
            if word[0].isdigit():
                terms.add(_number(word))
            elif "." in word or "_" in word:
                terms.update(_stem(part) for part in _PARTS.split(word) if part)
                terms.add(word.strip("_-"))
            else:
                terms.add(NUMBERS.get(word) or _stem(word.strip("-")))
        terms.update(_pairs(low))
        self.terms = terms
        self.beginnings = {term[:5] for term in terms if len(term) > 5}

    def has(self, term: str, *, hard: bool) -> float:
        """How far the text holds `term`, 0 to 1."""
        if term in self.terms:
            return 1.0
        if not hard:
            return 0.8 if len(term) > 5 and term[:5] in self.beginnings else 0.0
        if term[0].isdigit():
            return 0.0
        if "." in term:
            if term in self.plain:
                return 1.0
            # A name put together of parts that are both there may be true, and need not be.
            head, _, last = term.rpartition(".")
            known = _stem(last) in self.terms and _stem(head.rpartition(".")[2]) in self.terms
            return 0.4 if known else 0.0
        return 1.0 if len(term) > 3 and term in self.plain else 0.0


class _Documents:
    """Documents, and what was asked, ready to judge sentences by."""

    def __init__(self, documents: list[_Text], asked: _Text) -> None:
        self._documents = documents
        self._asked = asked

    def judge(self, sentence: str) -> tuple[float, float] | None:
        """Support, 0 to 1, and weight of one sentence; None if it claims nothing."""
        asked = self._asked
        documents = self._documents
        total = spread = named = found = 0.0
        each = [0.0] * len(documents)
        for term, (weight, hard) in _claimed(sentence).items():
            held = [document.has(term, hard=hard) for document in documents]
            most = max(held, default=0.0)
            if asked.has(term, hard=hard) > 0.5:
                if most < 0.5:
                    continue  # neither claimed nor borne out: the user said it
                weight *= _ASKED  # noqa: PLW2901 - a term's weight in this sentence
            total += weight
            spread += weight * most
            if most:
                for place, share in enumerate(held):
                    each[place] += weight * share
            if hard:
                named += weight
                found += weight * most
        if total < _LEAST:
            return None
        support = (0.7 * max(each, default=0.0) + 0.3 * spread) / total
        if named:
            support *= 0.3 + 0.7 * found / named
        if not all(self._quoted(quote) for quote in _quotes(sentence)):
            support *= 0.5
        return min(1.0, support), min(total, _MOST_WEIGHT)

    def _quoted(self, quote: str) -> bool:
        return any(quote in text.plain for text in (*self._documents, self._asked))


def _quotes(sentence: str) -> Iterable[str]:
    for found in _QUOTED.finditer(sentence):
        quote = " ".join((found[1] or found[2]).lower().split()).strip(".,;:!")
        if quote.count(" ") >= 2:
            yield quote


def _claimed(sentence: str) -> dict[str, tuple[float, bool]]:
    """The terms of a sentence: what each weighs, and whether it must be there as it is."""
    text = _LINK.sub(" ", sentence)
    found: dict[str, tuple[float, bool]] = {}
    begun = True
    after = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        between = text[after : match.start()]
        after = match.end()
        # A capital says nothing where a sentence, a list item or a heading begins.
        begun = begun or any(mark in between for mark in '.!?:\n•*#"“(')
        term, weight, hard = _weighed(token, begun=begun, called=text[after : after + 1] == "(")
        begun = False
        if weight > found.get(term, (0.0, False))[0]:
            found[term] = weight, hard
    found.update((pair, (_WORD, False)) for pair in _pairs(text))
    return found


def _weighed(token: str, *, begun: bool, called: bool) -> tuple[str, float, bool]:
    """A token as it is looked for, what it weighs, and whether it must be there as it is."""
    low = token.lower()
    if token[0].isdigit():
        return _number(low), _NUMBER, True
    if low in NUMBERS:
        return NUMBERS[low], _WORD, False
    if low in EMPTY or len(low) < 2 or _CJK.match(token):
        return low, 0.0, False
    if "." in token or "_" in token.strip("_") or called or token.startswith("-"):
        return low.strip("_-"), _CODE, True
    if any(mark.isupper() or mark.isdigit() for mark in token[1:]):
        return low, _NAME, True
    if token[0].isupper() and not begun and low not in GENERIC:
        return low, _NAME, True
    return _stem(low), _GENERIC if low in GENERIC else _WORD, False


def _number(token: str) -> str:
    return token.replace(",", "").rstrip(".:/-") or token


def _pairs(text: str) -> Iterable[str]:
    """Neighbouring characters of scripts that put no spaces between words."""
    if text.isascii():
        return
    for run in _CJK.findall(text):
        yield from map("".join, pairwise(run))


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: len(word) - len(ending)]
    return word
