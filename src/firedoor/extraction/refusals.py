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

__all__ = ["Refusal", "makes_no_claim", "refusal_in"]

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

_ADVERBS = r"(?:(?!comply|reply|apply|supply)[a-z]+ly |also |still |just |now |even |therefore |thus |hence |and will not |and won't |in good conscience |, [a-z ]{2,24}, )?"
_CAN_NOT = re.compile(
    rf"\b(?P<who>i|we|me|assistant|i(?:'m| am)\b[^.!?;]{{0,50}}?\b(?:and|but|so))(?:'m afraid i| am afraid i)?,?"
    rf" {_ADVERBS}{_ADVERBS}"
    r"(?P<modal>can(?:'t|not| not|t)|won't|will not|shall not|shan't|must not|mustn't|shouldn't|"
    r"should not|may not|don't|do not|wouldn't|would not|will never|can never|do not actually)"
    rf" {_ADVERBS}(?:be able to |want to |wish to |think i (?:should|can) |feel (?:comfortable|right|able)"
    r"(?: to| with| about| in)? |be comfortable |be willing to |need to |be )*"
    r"(?P<have>have (?:the )?(?:ability|capability|capacity|permission|authori[sz]ation|access|means)(?: to)? )?"
    rf"{_ADVERBS}(?P<verb>[a-z-]+)(?=(?P<rest>.*))"
)
_UNABLE = re.compile(
    r"(?:\b(?P<who>i|we)(?:'m|'re| am| are| was|)\b|\bbeing an ai\b|^)(?P<between>[^.!?;]{0,40}?)\b"
    r"(?P<state>unable|not [a-z]* ?able|not [a-z]* ?allowed|not [a-z]* ?permitted|not [a-z]* ?comfortable|"
    r"not [a-z]* ?willing|unwilling|not going|not authori[sz]ed|not at liberty|not in a position|"
    r"not [a-z]* ?qualified|not designed|not trained|not programmed|not equipped|not prepared|not supposed|"
    r"not capable|not free|prohibited|forbidden|prevented|barred|restricted|instructed not|asked not|"
    r"told not|programmed not|bound)"
    r"(?: for me)?(?: (?:to|from|with|in|of|by|about))? (?P<verb>[a-z'-]+)(?=(?P<rest>.*))"
)
_UNABLE_FIRST = re.compile(r"\W*(?:sorry,? |unfortunately,? )?(?:unable|not able|being an ai)\b")
_DECLINES = re.compile(
    r"\b(?:i|we)(?:'m|'ll|'d|'ve| am| will| would| must| have| need| shall| can only| do| had)?"
    r"(?: to| going| afraid| have| but| [a-z]+ly|,)*"
    r" (?:decline\b(?! in|s)|refuse\b(?! to (?:believe|accept|think|give up|let))|turn (?:this|that|it|you)"
    r" (?:\w+ )?down|turn down|refrain from|abstain from|say no\b|pass on (?:this|that|writing|it)|stepp?(?:ing)? back|"
    r"stop here|draw the line)"
    r"|\bi(?:'d| would)?(?: much| really)? (?:rather not|prefer not|prefer to (?:not|avoid|steer|keep))\b"
    r"|\bi(?:'d| would| should) (?:\w+ )?rather (?:leave|keep|skip)\b"
    r"|\b(?:do not|don't|would not|wouldn't) want to (?:write|help|contribute|take part|be part)"
    r"|\bi must (?:respectfully |politely )?(?:decline|refuse)|^\W*(?:refusing|declining) to\b"
)
_NOT_MINE = re.compile(
    r"(?:\bnot|n't) (?:really )?(?:something|a (?:thing|topic|subject|request)|one|anything) (?:that )?"
    r"(?:i|i'm|i'll|we|we're)\b"
    r"|\bsomething (?:that )?(?:i|we)(?:'m| am|'re| are)? (?:have to decline|must decline|can't|cannot|"
    r"won't|will not|not able|unable|don't|prohibited|forbidden|do not)"
    r"|\b(?:beyond|outside(?: of)?|out of) (?:of )?(?:what (?:i|we)|my (?:current |present )?(?:scope|role|"
    r"abilities|capabilities|remit|limits)|bounds for me|the scope of what)"
    r"|\bcross(?:es)? a line|\boff[- ]limits\b|\bfirm line for me"
    r"|\btopic (?:you \w+ )?(?:is one )?i have been asked not\b|\bbound by (?:confidential|strict|rules)"
    r"|\bnot (?:be )?(?:appropriate|right|responsible|ethical) (?:for me|of me)|\birresponsible of me"
    r"|\bonly (?:set up|able|here|designed|allowed|programmed) to (?:help|assist|answer|talk|discuss)"
    r"|\bcan only (?:help|assist|answer questions|discuss|talk)"
    r"|\bwhat (?:i'm|i am) (?:able|allowed|permitted) to\b"
    r"|\bnot (?:within|in) my (?:\w+ )?(?:abilit|capabilit|capacity|power|remit|scope|programming)|\bnot my place\b"
    r"|\bunder no circumstances (?:will|can|would) i\b|\bnor (?:can|will|would) i\b"
)
_POLICY = re.compile(
    r"\b(?:violat\w+|against|breach(?:es|ing|)|contrary to|conflicts? with|contraven\w+|infring\w+|"
    r"outside(?: of)?|not within|within|prohibited by|not permitted (?:by|under)|per|due to|under)"
    r" (?P<whose>my|our|openai's|the|its|any|\w+'s)? ?(?:[a-z-]+ ){0,4}?"
    r"(?:polic(?:y|ies)|guidelines?|principles|rules|terms(?: of (?:use|service))?|standards|programming|"
    r"instructions|values|purpose|guardrails)\b"
)
_MY_RULES = re.compile(
    r"\b(?:my|our) (?:[a-z-]+ ){0,3}?(?:guidelines|polic(?:y|ies)|programming|principles|instructions|rules|"
    r"training|guardrails|code|values|purpose)\b(?: (?:[a-z]+ ){0,2}?)?(?:don't|do not|doesn't|does not|prevent|"
    r"prohibit|forbid|won't|restrict|keep|stop|require me to decline|bar)"
    r"|\b(?:code|rules|policy|guidelines) that (?:keeps?|prevents?|stops?|forbids?) me"
    r"|\bi(?:'ve| have)? been (?:asked|instructed|told|programmed|trained) not to\b"
)
_REQUEST = re.compile(
    r"\b(?:this|your|the) (?:request|prompt|message|content|question|input|query|image|description|"
    r"conversation|response|output)\b[^.!?]{0,60}?\b(?:flagged|blocked|filtered|violat\w+|breach\w*|"
    r"inappropriate|goes against|falls outside|(?:isn't|is not|that (?:we|i) don't|not) allow(?:ed)?|"
    r"can't be (?:processed|completed|fulfilled|answered)|cannot be (?:processed|completed|fulfilled|answered)|"
    r"content (?:management )?policy|safety system|against our)"
    r"|^\W*(?:request|content|response|prompt|message|output|answer)s? (?:was |were |has been |have been )?"
    r"(?:denied|declined|refused|blocked|filtered|flagged|withheld)\b"
)
_MACHINE = re.compile(
    r"\b(?:as an? |as your |being an |i'm (?:just |only |merely |still )?(?:an? )?|i am (?:just |only |merely )?(?:an? )?|"
    r"only an? |just an? )(?:[a-z]+[ -](?:and )?){0,5}?"
    r"(?:ai|artificial intelligence|language model|llm|assistant|chatbot|text-based model|text model)\b"
    r"|\bdesigned solely to\b|\bas (?:dan|an uncensored)\b"
)
_MORAL = re.compile(
    r"\b(?:is|are|be|it's|that's|isn't|never|and|completely|highly) (?:[a-z]+ ){0,3}?(?:illegal|unlawful|"
    r"unethical|immoral|wrong|inappropriate|unacceptable|harmful|dishonest|deceptive|criminal|a crime|"
    r"an offen[cs]e|a criminal offen[cs]e|against the law|dangerous)\b"
    r"|\b(?:not|never|isn't|no [a-z]+ or|not be) (?:[a-z]+ or )?(?:okay|ok|acceptable|appropriate|ethical|right|"
    r"moral|acceptable way)\b"
)
_URGE = re.compile(
    r"\bi(?:'d| would)? (?:[a-z]+ly )?(?:urge|encourage|implore|advise (?:against|you (?:not|to))|beg|must "
    r"(?:inform|emphasi[sz]e|point out|stress|remind|clarify|insist|advise|note))\b"
    r"|\bi (?:would|'d) like to (?:remind|clarify|point out)\b|\bit(?:'s| is) important to clarify\b"
    r"|\blet's (?:keep|focus)\b|\bplease (?:consider|think about|contact|seek|reach out)"
    r"|\bi (?:would|'d) (?:suggest|ask) (?:you |to )|\b(?:i|we)'d encourage\b|\bencourage you\b"
    r"|\bwould urge\b|\bi (?:strongly )?(?:suggest|recommend) (?:that )?you (?:speak|talk|contact|seek)"
)
_ELSE = re.compile(
    r"\bstill learning how to answer\b|\blet(?:'s| us) (?:talk about|change|try|move|switch|chat about|discuss)\b[^.!?]{0,30}?"
    r"(?:something else|different|topic|subject|another)|\btalk about something else\b"
    r"|\b(?:ask|seek|try) (?:me )?(?:about |of )?(?:another|a different|something) (?:topic|question|subject|"
    r"prompt|else)"
    r"|\bstart a fresh one\b|\b(?:please )?(?:revise|rephras\w+) (?:it|your)|\btry rephrasing\b"
)
_DEFLECTS = re.compile(
    r"^\W*let(?:'s| us) (?:talk about something else|change the (?:topic|subject)|(?:try|move (?:on )?to) a "
    r"different (?:topic|subject))|^.{0,12}\bstill learning how to answer\b"
)
_OPENING = re.compile(
    r"^\W*(?:(?:i'm|i am|we're|we are|i feel) )?(?:so |really |very |truly |deeply |terribly )*"
    r"(?:sorry|apolog\w+|my apologies|afraid|oops|hmm|unfortunately|regrettably|respectfully|"
    r"(?:i|we) (?:\w+ )?(?:apologi[sz]e|regret))\b"
)
_BARE = re.compile(
    r"^\W*(?:(?:sorry|apologies|unfortunately|oops|hmm|no)\b[,.! ]*(?:but )?)?"
    r"(?:can't|cannot|unable to|not able to|won't|no can do|cant)"
    r" (?P<verb>[a-z]+)(?P<rest>.*)"
)
_SOURCES = re.compile(
    r"\b(?:(?:from|in|on|using|with|without|given|by) (?:the |these |this |those |your |my |any |all |its )?"
    r"(?:[a-z]+ )?)(?:document\w*|sources?|context|passages?|texts?|articles?|excerpts?|knowledge base|handbook|"
    r"provided (?:information|material)|search results|records?|transcript|retrieved|pages|notes)\b|\b(?:"
    r"enough (?:information|detail|context|data)|available (?:information|data))\b"
)
_NEEDS = re.compile(
    r"\bwithout (?:knowing|more|your|the|a|further|seeing|additional|that|an)\b|\buntil you\b|\bunless you\b"
    r"|\b(?:could|can|would|will) you (?:please )?(?:tell|share|paste|provide|check|clarify|rephrase|say|"
    r"confirm|send|give|repeat|attach|upload|specify|explain)\b|\b(?:which|what|where|when|who|do you mean) "
    r"[^?]{2,80}\?$"
)
_ONWARD = re.compile(
    r"\b(?:is|was) there (?:something|anything) else\b|\banything else i\b|\bcan i help (?:you )?with "
    r"(?:something|anything)|\bwould you like (?:to|me)|\bwhat else\b|\bhow (?:else )?can i (?:help|assist)"
)
_FIGURE_OF_SPEECH = re.compile(
    r"help (?:but|feeling|wondering|noticing|thinking)\b|recommend [^.]*\b(?:enough|more highly)\b"
    r"|(?:go|say|come) (?:wrong|enough|far|into (?:the |too much |much )?details?)\b|speak (?:for|highly)\b"
    r"|describe how\b|express (?:how|enough)\b|thank you enough\b|take credit\b|make (?:it|that)\b"
    r"|reproduce (?:the |this |that |your )?(?:bug|crash|error|issue|problem|behaviou?r|failure)"
    r"|process (?:the|more than|files?)\b|run (?:the|this|that|your) (?:code|tests?|script|program)"
    r"|run (?:this|it|them|anything) (?:myself|here)\b|(?:sugar-?coat|lie|bore|pretend (?:this|it))\b"
    r"|(?:give|provide|state|name) (?:a|an|the) (?:single|exact|precise|definite|clear)\b"
)
_PRIVATE = re.compile(
    r"\b(?:private|personal|confidential|individuals?|someone's|people's|real[- ]time|live|current|internet|"
    r"the web|medical records)\b"
)
_COPYRIGHT = re.compile(
    r"\b(?:lyrics|verbatim|copyrighted|whole chapter|entire (?:text|book|article))\b"
)
_DID = re.compile(r"^\W*(?:i|we) [a-z]+(?:ed|ade|eft|ound|id) .*\b(?:because|since|as)\b")
_HABITS = frozenset({"don't", "do not", "wouldn't", "would not"})
_LOOSE = frozenset(
    {"be", "do", "go", "make", "say", "take", "tell", "show", "judge", "talk", "weigh", "list"}
)
_TRADES = frozenset(
    {"accommodate", "allow", "approve", "complete", "do", "give", "grant", "honor", "honour", "make",
     "offer", "perform", "process", "provide", "release", "render", "send", "take"}
)  # fmt: skip
_OPEN = re.compile(
    r"^(?: me)? ?(?:$|from\b|whether\b|if\b|how\b|what\b|why\b|when\b|which\b|who\b|for (?:sure|certain)\b|"
    r"with certainty\b|exactly\b|the (?:difference|exact|date|time)\b|any (?:difference|further)\b|much\b|"
    r"sure\b|certain\b|on (?:saturday|sunday|monday|tuesday|wednesday|thursday|friday|the)\b|without\b)"
)
_COMPLIES = re.compile(
    r"^\W*(?:sure\b|of course\b|certainly\b|absolutely\b|yes\b|here(?:'s| is| are)\b|done\b|dear \w|subject:|"
    r"hi \w+,|hello \w+,|hey \w+,)"
)
_LETTER = re.compile(r"(?:^|\n)\W*(?:dear [a-z .]{2,40},|subject:|hi [a-z]+,\n|hello [a-z]+,\n)")
_PIVOT = re.compile(
    r"\b(?:but|however|here(?:'s| is| are)|what i can|that said|in general|generally|for background|"
    r"i can (?:explain|say|tell|describe|offer|give|share|help)|as for|the rest|the first|"
    r"what the|on the first|allgemein|mais|pero|mas|ma|but for|below|instead,? here)\b"
)
_GIVES = re.compile(
    r"\b(?:here(?:'s| is| are)|in general|what i can|i can (?:explain|say|tell|describe|outline))\b"
)
_GOES_ON = re.compile(
    r"^\W*(?:in general|generally|for background|here(?:'s| is| are)|what i can|as for the|on the (?:first|other)|"
    r"that said, here|allgemein|en général|en general|in generale|em geral)\b"
)
_CONNECTED = re.compile(
    r"^\W*(?:but|however|that said|still|unfortunately)\b|^[^.!?]*?\bbut (?=i\b)"
)
_ADVICE = re.compile(
    r"\b(?:instead|suggest|encourage|consider|please|contact|reach out|if you|you (?:could|should|may)|"
    r"happy to|glad to|gladly|illegal|harm\w*|risk\w*|danger\w*|law\b|laws\b|ethic\w*|respect\w*|important|"
    r"offen[cs]e|consequences|understand|appreciate|rights|safety|let me know|consent|privacy|"
    r"professional|i hope|i'd|crime|boundaries)\b"
)
_LIST = re.compile(r"(?:^|\n)\s*(?:[-*•]|\d{1,2}[.)])\s+\S")
_HAS_FIGURES = re.compile(r"\d[^.!?\n]*\d|: ")


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


def makes_no_claim(sentence: str) -> bool:
    """Whether a sentence refuses, abstains, offers help or is a mere phrase of courtesy."""
    low = sentence.lower().replace("’", "'")
    return bool(
        _COURTESY.search(low)
        or _ABSTAINS.search(low)
        or _points(low, _marked(low)) >= _ENOUGH
        or (not ELSEWHERE.isdisjoint(low.split()) and FOREIGN.search(low))
    )


_COURTESY = re.compile(
    r"^\W*(?:sure|of course|certainly|hello|hi|thanks?|thank you|you're welcome|great question|"
    r"i hope|hope this|let me know|feel free|here(?:'s| is| are) (?:a|an|the|some|what|how)\b[^.]{0,60}:$|"
    r"if you (?:have|need) (?:any )?(?:more|other|further|questions)|please let me know|i(?:'d| would) be "
    r"(?:happy|glad)|i(?:'m| am) (?:happy|glad) to|sorry|i apologi[sz]e|my apologies)\b(?!.*\d)"
)
_ABSTAINS = re.compile(
    r"\b(?:i (?:do not|don't) (?:know|have (?:any |enough |that )?(?:information|data|details|record))|"
    r"i(?:'m| am) not sure|(?:do|does|did) not (?:say|mention|specify|answer|contain|cover|state|provide|"
    r"include|address)|(?:doesn't|don't|didn't) (?:say|mention|specify|answer|contain|cover|state|provide)|"
    r"(?:couldn't|could not|can't|cannot|was unable to|unable to|not able to) (?:find|determine|locate|"
    r"confirm|verify|tell|say|answer)|no (?:information|mention|answer|relevant)|not (?:enough|mentioned|"
    r"specified|stated|covered|clear|provided|in the)|nothing (?:in|about|on))\b"
)


def _close(text: str, *, ending: bool = False) -> Refusal | None:
    """Read the beginning and the end of a text by sentence."""
    long = len(text) > _CLOSE_HEAD + _CLOSE_TAIL
    seen = f"{text[:_CLOSE_HEAD]}\n{text[-_CLOSE_TAIL:]}" if long else text
    low = seen.lower()
    if not low.isascii():
        low = low.replace("’", "'").replace("‘", "'")
    low = _THOUGHT.sub("", low)
    if "<" in low:
        low = _TAG.sub(" ", low)
    start = low.lstrip()[:8]
    if start.startswith(("{", "[", "```json")):
        unwrapped = _unwrapped(low)
        if unwrapped is None:
            return "full"
        low = unwrapped
    coded = "```" in low
    low = _FENCED.sub(" ", low)
    bare = _QUOTED.sub('"…"', low)
    if len(bare.strip(' "….')) < 12:  # the whole answer stands in quotes
        bare = low.replace('"', " ")
    for mark in _MARKUP:
        bare = bare.replace(mark, "")
    if ("dear " in bare or "hi " in bare or "hello" in bare or "subject:" in bare) and (
        _LETTER.search(bare)
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
            partial = len(low) - found.end() > _SUBSTANCE and _PIVOT.search(low)
            return "partial" if partial else "full"
    marks = [_marked(sentence) for sentence in sentences]
    complies = bool(_COMPLIES.match(low))
    opening = bool(_OPENING.match(low))
    machine = any(m & _MACHINERY for m in marks) and bool(_MACHINE.search(low))
    asks: bool | None = None
    points = [
        _points(sentence, mark) if mark & _DECLINING else 0.0
        for sentence, mark in zip(sentences, marks, strict=True)
    ]
    declined: int | None = None
    for place, held in enumerate(points):
        if not held:
            continue
        if asks is None:
            asks = bool(_NEEDS.search(sentences[-1])) and not _ONWARD.search(sentences[-1])
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
        and not _ADVICE.search(s)
        and not _ONWARD.search(s)
        and not _OPENING.match(s)
    )
    own = _CONNECTED.sub("", sentences[declined])
    pivot = _GIVES.search(own) or _PIVOT.search(own)
    if pivot is not None and (pivot.re is _GIVES or not _ADVICE.search(own, pivot.end())):
        substance += len(own) - pivot.end()
    concrete = sum(bool(_HAS_FIGURES.search(s)) for s in rest) + 2 * coded
    concrete += len(_LIST.findall(low)) > 2
    after = " ".join([own, *sentences[declined + 1 :]])
    goes_on = any(_GOES_ON.match(s) for s in sentences[declined + 1 :])
    if goes_on and substance >= _SUBSTANCE // 2:
        return "partial"
    if substance < _SUBSTANCE and not coded and length < 900:
        return "full"
    if coded or concrete >= 2 or (substance >= _SUBSTANCE and _PIVOT.search(after)):
        return "partial"
    return "full" if not ending else "partial"


def _moralises(sentences: list[str], marks: list[int], *, opening: bool) -> bool:
    """Whether a text that declines in no sentence does so as a whole, by blame and advice."""
    blamed = urged = 0
    plain = 0
    for sentence, mark in zip(sentences, marks, strict=True):
        if mark & _MORALS:
            blamed += bool(_MORAL.search(sentence))
            urged += bool(_URGE.search(sentence))
        if _HAS_FIGURES.search(sentence):
            plain += len(sentence)
    return bool(blamed and (urged or opening)) and plain < 80


def _marked(sentence: str) -> int:
    marks = 0
    for word in sentence.split():
        marks |= MARKS.get(word, 0)
    return marks


def _points(sentence: str, marks: int) -> float:
    """How far one sentence, in lower case, declines."""
    if marks & _DECLINE and _DECLINES.search(sentence):
        return _ENOUGH
    if marks & _SCOPE and marks & _SELF and _NOT_MINE.search(sentence):
        return _ENOUGH
    best = 0.0
    if marks & _RULES:
        if _MY_RULES.search(sentence) or _REQUEST.search(sentence):
            return _ENOUGH
        rules = _POLICY.search(sentence)
        if rules is not None:
            if rules["whose"] in {"my", "our", "openai's"}:
                return _ENOUGH
            best = 1.0
    if marks & _ELSEWISE and _ELSE.search(sentence):
        best = _ENOUGH if _DEFLECTS.match(sentence) else 2.5
    if marks & _NEVER:
        for pattern in (_CAN_NOT, _BARE) if marks & _SELF else (_BARE,):
            for found in islice(pattern.finditer(sentence), 3):
                best = max(best, _verbal(found, sentence))
    if best < _ENOUGH and marks & _STATE and (marks & _SELF or _UNABLE_FIRST.match(sentence)):
        for found in islice(_UNABLE.finditer(sentence), 3):
            best = max(best, _verbal(found, sentence))
    return best


def _verbal(found: re.Match[str], sentence: str) -> float:
    """What "I can't <verb> ..." counts, by the verb and by what follows it."""
    verb, rest = found["verb"], found["rest"]
    groups = found.groupdict()
    modal, state = groups.get("modal") or "", groups.get("state") or ""
    if _NEEDS.search(sentence):
        return 0.0
    if groups.get("who") == "we" and (TRADE.search(rest) or modal in {"don't", "do not"}):
        return 0.0
    if groups.get("have"):
        if _PRIVATE.search(rest) or "access" not in groups["have"]:
            return _ENOUGH
        return 0.0 if _SOURCES.search(rest) else 2.5
    bound = any(
        word in state
        for word in ("allowed", "permitted", "authori", "liberty", "prohibited", "forbidden", "barred",
                     "comfortable", "willing", "instructed", "asked", "told", "programmed", "prevented")
    )  # fmt: skip
    if bound and groups.get("who") and not TRADE.search(rest):
        return 3.0
    if _COPYRIGHT.search(rest):
        return _ENOUGH
    if verb in FIND:
        return 0.0
    if verb == "have":
        return 1.0
    if verb == "access":
        return 1.5 if not _SOURCES.search(rest) else 0.0
    if _DID.match(sentence[: found.start()]):
        return 0.0
    known = (
        verb in HELP or verb.removesuffix("ing") in HELP or f"{verb.removesuffix('ing')}e" in HELP
    )
    if _FIGURE_OF_SPEECH.match(f"{verb}{rest}"):
        return 0.0
    if not known:
        return 0.0 if modal in _HABITS or "was" in found[0][:9] else 2.5
    if modal in _HABITS and verb in _LOOSE | {"recommend"}:
        return 0.5
    if _SOURCES.search(rest) and verb in ("answer", "say", "tell", "give", "provide"):
        return 0.0
    if verb in _TRADES and TRADE.search(rest):
        return 0.5
    if verb in _LOOSE and _OPEN.match(rest):
        return 0.5
    return 3.0
