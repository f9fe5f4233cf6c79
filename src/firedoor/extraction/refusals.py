"""Whether a text declines what was asked: the third layer, after stop reasons and refusal blocks.

A refusal is somebody saying that they will not, may not or cannot *do what was asked because of
what they are or what binds them*: rules, harm, their role, being a machine. Not refusals are:

- abstentions ("the documents do not say", "I don't know"): about sources, not about oneself;
- requests for more ("I can't tell without the log; could you paste it?");
- a no as the answer ("we cannot refund this order", "you can't divide by zero");
- refusals that are talked about, quoted, or drafted for somebody.

A *partial* refusal declines some of what was asked and answers some of it.

Only the beginning and the end of a text are read, so the time is bounded whatever its length. A
text with none of the words that refusals are made of, as most answers are, is let go by a look at
its words. The rest is read by sentence: what is declined, by whom, and why, each counts points.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Literal

from firedoor.extraction.refusal_patterns import (
    ABSTAINS,
    ADVICE,
    BARE,
    CAN_NOT,
    COMPLIES,
    CONNECTED,
    COPYRIGHT,
    COURTESY,
    DECLINES,
    DEFLECTS,
    DID,
    ELSE,
    FIGURE_OF_SPEECH,
    GIVES,
    GOES_ON,
    GRAVE,
    HABITS,
    HAS_FIGURES,
    LETTER,
    LIST,
    LOOSE,
    MACHINE,
    MORAL,
    MY_RULES,
    NEEDS,
    NOT_MINE,
    ONWARD,
    OPEN,
    OPENING,
    PIVOT,
    POLICY,
    PRIVATE,
    REQUEST,
    SOURCES,
    STILL,
    TRADES,
    TWICE,
    UNABLE,
    UNABLE_FIRST,
    URGE,
    VIOLATES,
)
from firedoor.extraction.refusal_words import (
    DECLINED,
    ELSEWHERE,
    FIND,
    FOREIGN,
    FOREIGN_NOT,
    HELP,
    MARKS,
    TRADE,
    TRIGGERS,
    Mark,
)

__all__ = ["Refusal", "answers_beside", "makes_no_claim", "refusal_in"]

Refusal = Literal["full", "partial"]

_HEAD = 420
"""Characters read of the beginning to see whether there is anything to look at."""
_TAIL = 160
_CLOSE_HEAD = 900
"""Characters read of the beginning of a text that is looked at."""
_CLOSE_TAIL = 400
_ENOUGH = 3.0
"""Points from which on a sentence declines."""
_MOST_SENTENCES = 24
_SHORT = 280
"""Characters up to which an answer that begins with a no is likely to be nothing else."""
_SUBSTANCE = 140
"""Characters of something else that make a refusal a partial one."""

_ASIAN = re.compile(r"[぀-ヿ㐀-鿿가-힯]")
# Each begins with what is rare: a lookbehind at every character would cost ten times as much.
_SENTENCES = re.compile(r"\s(?:(?<=[.!?\n]\s)|(?<=[.!?][\"')*_]\s)|(?<=\n))\s*")
_QUOTED = re.compile(r"\"[^\"\n]{2,400}\"|“[^”\n]{2,400}”|«[^»\n]{2,400}»")
_TAG = re.compile(r"</?[a-z_]{1,20}>")
_FENCED = re.compile(r"```.*?(?:```|$)|`[^`\n]{1,200}`", re.DOTALL)
_THOUGHT = re.compile(r"^\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|$)", re.DOTALL)
_MARKUP = "*_#>~"

# Plain integers: an `IntFlag` costs a microsecond for every `&`.
_SELF, _NEVER, _STATE, _SCOPE = (m.value for m in (Mark.SELF, Mark.NEVER, Mark.STATE, Mark.SCOPE))
_DECLINE, _RULES, _ELSEWISE = (m.value for m in (Mark.DECLINE, Mark.RULES, Mark.ELSE))
_MORALS, _MACHINERY = Mark.MORAL.value, Mark.MACHINE.value
_DECLINING = _NEVER | _STATE | _DECLINE | _SCOPE | _RULES | _ELSEWISE


def refusal_in(text: str) -> Refusal | None:
    """`full` if `text` declines what was asked, `partial` if some of it; None if it does not.

    Args:
        text: An answer, raw. At most 1,300 characters of it are read.
    """
    head = text[:_HEAD].lower()
    first = head[:1]
    # Quotes, braces and marks hide the first word; they are looked through below.
    if first.isalpha() and TRIGGERS.isdisjoint(head.split()):
        if len(text) <= _HEAD or TRIGGERS.isdisjoint(text[-_TAIL:].lower().split()):
            if head.isascii() or not _ASIAN.search(head):
                return None
        else:
            return _close(text, ending=True)
    return _close(text)


def answers_beside(text: str) -> bool:
    """Whether a text that stands beside a refusal block answers some of what was asked."""
    return len(text.strip()) >= _SUBSTANCE and refusal_in(text) != "full"


def makes_no_claim(sentence: str) -> bool:
    """Whether a sentence refuses, abstains, offers help or is a mere phrase of courtesy."""
    low = sentence.lower().replace("’", "'")
    return bool(
        COURTESY.search(low)
        or ABSTAINS.search(low)
        or _points(low, _marked(low)) >= _ENOUGH
        or (not ELSEWHERE.isdisjoint(low.split()) and FOREIGN.search(low))
    )


def _close(text: str, *, ending: bool = False) -> Refusal | None:
    """Read the beginning and the end of a text by sentence."""
    long = len(text) > _CLOSE_HEAD + _CLOSE_TAIL
    seen = f"{text[:_CLOSE_HEAD]}\n{text[-_CLOSE_TAIL:]}" if long else text
    low = seen.lower()
    if not low.isascii():
        low = low.replace("’", "'").replace("‘", "'")
    if "<" in low:
        low = _TAG.sub(" ", _THOUGHT.sub("", low))
    start = low.lstrip()[:8]
    if start.startswith(("{", "[", "```json")):
        unwrapped = _unwrapped(low)
        if unwrapped is None:
            return "full"
        low = unwrapped
    coded = "```" in low
    if "`" in low:
        low = _FENCED.sub(" ", low)
    quotes = '"' in low or "“" in low or "«" in low
    bare = _QUOTED.sub('"…"', low) if quotes else low
    if len(bare.strip(' "….')) < 12:  # the whole answer stands in quotes
        bare = low.replace('"', " ")
    for mark in _MARKUP:
        bare = bare.replace(mark, "")
    if ("dear " in bare or "hi " in bare or "hello" in bare or "subject:" in bare) and (
        LETTER.search(bare)
    ):
        return None
    if not bare.isascii():
        bare = re.sub("([。！？])", r"\1\n", bare)
    return _judge(bare, hidden=len(low) - len(bare), length=len(text), coded=coded, ending=ending)


def _unwrapped(low: str) -> str | None:
    """The texts in a structured answer; None where it says itself that it is a refusal."""
    if DECLINED.search(low):
        return None
    body = low.strip().removeprefix("```json").removesuffix("```").strip()
    try:
        found: list[str] = []
        _strings(json.loads(body), found)
        return "\n".join(found)
    except (ValueError, RecursionError):
        return re.sub(r"[{}\[\]\"]|\b\w+\"?:", " ", body)


def _strings(value: object, found: list[str]) -> None:
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, dict):
        for held in value.values():
            _strings(held, found)
    elif isinstance(value, list):
        for held in value:
            _strings(held, found)


def _judge(low: str, *, hidden: int, length: int, coded: bool, ending: bool) -> Refusal | None:
    sentences = [s for s in (part.strip() for part in _SENTENCES.split(low)) if s]
    if not sentences:
        return None
    if len(sentences) > _MOST_SENTENCES:
        half = _MOST_SENTENCES // 2
        sentences = [*sentences[:half], *sentences[-half:]]
    words = low.split()
    if not ELSEWHERE.isdisjoint(words) or (not low.isascii() and _ASIAN.search(low)):
        found = FOREIGN.search(low)
        if found is not None and not FOREIGN_NOT.search(low):
            partial = len(low) - found.end() > _SUBSTANCE and PIVOT.search(low)
            return "partial" if partial else "full"
    marks = [_marked(sentence) for sentence in sentences]
    points = [
        _points(sentence, mark) if mark & _DECLINING else 0.0
        for sentence, mark in zip(sentences, marks, strict=True)
    ]
    if not any(points) and not any(mark & _MORALS for mark in marks):
        return None
    complies = bool(COMPLIES.match(low))
    opening = bool(OPENING.match(low))
    machine = any(m & _MACHINERY for m in marks) and bool(MACHINE.search(low))
    asks: bool | None = None
    declined: int | None = None
    for place, held in enumerate(points):
        if not held:
            continue
        if asks is None:
            asks = bool(NEEDS.search(sentences[-1])) and not ONWARD.search(sentences[-1])
        short = length < _SHORT and place == 0 and len(sentences) < 4
        if held + machine + (opening and place < 2) + 0.5 * short - 1.5 * asks >= _ENOUGH:
            declined = place
            break
    if declined is None:
        if complies or coded or length > 1500:
            return None
        return "full" if _moralises(sentences, marks, opening=opening) else None
    if complies:
        # Begun as an answer: what is declined in it is a part, or stands in a text made to order.
        return "partial" if declined else None
    rest = [s for place, s in enumerate(sentences) if place != declined]
    substance = hidden + sum(
        len(s)
        for place, s in enumerate(sentences)
        if place != declined
        and points[place] < 2
        and not ADVICE.search(s)
        and not ONWARD.search(s)
        and not OPENING.match(s)
    )
    own = CONNECTED.sub("", sentences[declined])
    pivot = GIVES.search(own) or PIVOT.search(own)
    if pivot is not None and (pivot.re is GIVES or not ADVICE.search(own, pivot.end())):
        substance += len(own) - pivot.end()
    concrete = sum(bool(HAS_FIGURES.search(s)) for s in rest) + 2 * coded
    concrete += len(LIST.findall(low)) > 2
    after = " ".join([own, *sentences[declined + 1 :]])
    goes_on = any(GOES_ON.match(s) for s in sentences[declined + 1 :])
    if goes_on and substance >= _SUBSTANCE // 2:
        return "partial"
    if substance < _SUBSTANCE and not coded and length < 900:
        return "full"
    if coded or concrete >= 2 or (substance >= _SUBSTANCE and PIVOT.search(after)):
        return "partial"
    return "full" if not ending else "partial"


def _moralises(sentences: list[str], marks: list[int], *, opening: bool) -> bool:
    """Whether a text that declines in no sentence does so as a whole, by blame and advice.

    An answer about law or ethics blames too: it is told by its figures, and by saying it once.
    """
    if not any(mark & _MORALS for mark in marks):
        return False
    blamed = bool(VIOLATES.search(sentences[0]))
    twice = urged = grave = plain = 0
    for sentence in sentences:
        blamed = blamed or bool(MORAL.search(sentence))
        urged += bool(URGE.search(sentence))
        twice += bool(TWICE.search(sentence))
        grave += len(GRAVE.findall(sentence))
        if HAS_FIGURES.search(sentence):
            plain += len(sentence)
    return (
        blamed and plain < 80 and (bool(urged) or opening or (bool(twice) and twice + grave >= 2))
    )


def _marked(sentence: str) -> int:
    marks = 0
    for word in sentence.split():
        marks |= MARKS.get(word, 0)
    return marks


def _points(sentence: str, marks: int) -> float:
    """How far one sentence, in lower case, declines."""
    if marks & _DECLINE and _may_decline(sentence) and DECLINES.search(sentence):
        return _ENOUGH
    if marks & _SCOPE and marks & _SELF and NOT_MINE.search(sentence):
        return _ENOUGH
    best = 0.0
    if marks & _RULES:
        if MY_RULES.search(sentence) or REQUEST.search(sentence):
            return _ENOUGH
        rules = POLICY.search(sentence)
        if rules is not None:
            if rules["whose"] in {"my", "our", "openai's"}:
                return _ENOUGH
            best = 1.0
    if marks & _ELSEWISE and ELSE.search(sentence):
        best = _ENOUGH if DEFLECTS.match(sentence) else 2.5
    if marks & _NEVER:
        for pattern in (CAN_NOT, BARE) if marks & _SELF else (BARE,):
            for found in islice(pattern.finditer(sentence), 3):
                best = max(best, _verbal(found, sentence))
    if best < _ENOUGH and marks & _STATE and (marks & _SELF or UNABLE_FIRST.match(sentence)):
        for found in islice(UNABLE.finditer(sentence), 3):
            best = max(best, _verbal(found, sentence))
    return best


def _may_decline(sentence: str) -> bool:
    """Whether a sentence has what every form of `DECLINES` has: a tenth of the cost of looking."""
    return (
        "i " in sentence
        or "i'" in sentence
        or "i," in sentence
        or "we " in sentence
        or "we'" in sentence
        or "we," in sentence
        or "want to" in sentence
        or "ing to" in sentence
    )


def _verbal(found: re.Match[str], sentence: str) -> float:
    """What "I can't <verb> ..." counts, by the verb and by what follows it."""
    verb, rest = found["verb"], found["rest"]
    groups = found.groupdict()
    modal, state = groups.get("modal") or "", groups.get("state") or ""
    if NEEDS.search(sentence):
        return 0.0
    if groups.get("who") == "we" and (TRADE.search(rest) or modal in {"don't", "do not"}):
        return 0.0
    if groups.get("have"):
        if STILL.search(rest):
            return 0.5
        if PRIVATE.search(rest) or "access" not in groups["have"]:
            return _ENOUGH
        return 0.0 if SOURCES.search(rest) else 2.5
    bound = any(
        word in state
        for word in ("allowed", "permitted", "authori", "liberty", "prohibited", "forbidden", "barred",
                     "comfortable", "willing", "instructed", "asked", "told", "programmed", "prevented")
    )  # fmt: skip
    if bound and groups.get("who") and not TRADE.search(rest):
        return 3.0
    if COPYRIGHT.search(rest):
        return _ENOUGH
    if verb in FIND:
        return 0.0
    if verb == "have":
        return 1.0
    if verb == "access":
        return 1.5 if not SOURCES.search(rest) else 0.0
    if DID.match(sentence[: found.start()]):
        return 0.0
    known = (
        verb in HELP or verb.removesuffix("ing") in HELP or f"{verb.removesuffix('ing')}e" in HELP
    )
    if FIGURE_OF_SPEECH.match(f"{verb}{rest}"):
        return 0.0
    if not known:
        return 0.0 if modal in HABITS or "was" in found[0][:9] else 2.5
    if modal in HABITS and verb in LOOSE | {"recommend"}:
        return 0.5
    if SOURCES.search(rest) and verb in ("answer", "say", "tell", "give", "provide"):
        return 0.0
    if verb in TRADES and TRADE.search(rest):
        return 0.5
    if verb in LOOSE and OPEN.match(rest):
        return 0.5
    return 3.0
