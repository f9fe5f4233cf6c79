"""How English refusals are worded: by whom, what is declined, why, and what is no refusal.

The patterns are for one sentence in lower case, without quotes, markup and code. They are never shown
more than the beginning and the end of a text; `benchmarks/refusals.py` times them on hostile ones.
"""

from __future__ import annotations

import re

__all__ = [
    "ABSTAINS",
    "ADVICE",
    "BARE",
    "CAN_NOT",
    "COMPLIES",
    "CONNECTED",
    "COPYRIGHT",
    "COURTESY",
    "DECLINES",
    "DEFLECTS",
    "DID",
    "ELSE",
    "FIGURE_OF_SPEECH",
    "GIVES",
    "GOES_ON",
    "GRAVE",
    "HABITS",
    "HAS_FIGURES",
    "LETTER",
    "LIST",
    "LOOSE",
    "MACHINE",
    "MORAL",
    "MY_RULES",
    "NEEDS",
    "NOT_MINE",
    "ONWARD",
    "OPEN",
    "OPENING",
    "PIVOT",
    "POLICY",
    "PRIVATE",
    "REQUEST",
    "SOURCES",
    "STILL",
    "TRADES",
    "TWICE",
    "UNABLE",
    "UNABLE_FIRST",
    "URGE",
    "VIOLATES",
]

ADVERBS = r"(?:(?!comply|reply|apply|supply)[a-z]+ly |also |still |just |now |even |therefore |thus |hence |and will not |and won't |in good conscience |, [a-z ]{2,24}, )?"
CAN_NOT = re.compile(
    rf"\b(?P<who>i|we|me|assistant|i(?:'m| am)\b[^.!?;]{{0,50}}?\b(?:and|but|so))(?:'m afraid i| am afraid i)?,?"
    rf" {ADVERBS}{ADVERBS}"
    r"(?P<modal>can(?:'t|not| not|t)|won't|will not|shall not|shan't|must not|mustn't|shouldn't|"
    r"should not|may not|don't|do not|wouldn't|would not|will never|can never|do not actually)"
    rf" {ADVERBS}(?:be able to |want to |wish to |think i (?:should|can) |feel (?:comfortable|right|able)"
    r"(?: to| with| about| in)? |be comfortable |be willing to |need to |be )*"
    r"(?P<have>have (?:the )?(?:ability|capability|capacity|permission|authori[sz]ation|access|means)(?: to)? )?"
    rf"{ADVERBS}(?P<verb>[a-z-]+)(?=(?P<rest>.*))"
)
UNABLE = re.compile(
    r"(?:\b(?P<who>i|we)(?:'m|'re| am| are| was|)\b|\bbeing an ai\b|^)(?P<between>[^.!?;]{0,40}?)\b"
    r"(?P<state>unable|not [a-z]* ?able|not [a-z]* ?allowed|not [a-z]* ?permitted|not [a-z]* ?comfortable|"
    r"not [a-z]* ?willing|unwilling|not going|not authori[sz]ed|not at liberty|not in a position|"
    r"not [a-z]* ?qualified|not designed|not trained|not programmed|not equipped|not prepared|not supposed|"
    r"not capable|not free|prohibited|forbidden|prevented|barred|restricted|instructed not|asked not|"
    r"told not|programmed not|bound)"
    r"(?: for me)?(?: (?:to|from|with|in|of|by|about))? (?P<verb>[a-z'-]+)(?=(?P<rest>.*))"
)
UNABLE_FIRST = re.compile(r"\W*(?:sorry,? |unfortunately,? )?(?:unable|not able|being an ai)\b")
DECLINES = re.compile(
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
NOT_MINE = re.compile(
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
POLICY = re.compile(
    r"\b(?:violat\w+|against|breach(?:es|ing|)|contrary to|conflicts? with|contraven\w+|infring\w+|"
    r"outside(?: of)?|not within|within|prohibited by|not permitted (?:by|under)|per|due to|under)"
    r" (?P<whose>my|our|openai's|the|its|any|\w+'s)? ?(?:[a-z-]+ ){0,4}?"
    r"(?:polic(?:y|ies)|guidelines?|principles|rules|terms(?: of (?:use|service))?|standards|programming|"
    r"instructions|values|purpose|guardrails)\b"
)
MY_RULES = re.compile(
    r"\b(?:my|our) (?:[a-z-]+ ){0,3}?(?:guidelines|polic(?:y|ies)|programming|principles|instructions|rules|"
    r"training|guardrails|code|values|purpose)\b(?: (?:[a-z]+ ){0,2}?)?(?:don't|do not|doesn't|does not|prevent|"
    r"prohibit|forbid|won't|restrict|keep|stop|require me to decline|bar)"
    r"|\b(?:code|rules|policy|guidelines) that (?:keeps?|prevents?|stops?|forbids?) me"
    r"|\bi(?:'ve| have)? been (?:asked|instructed|told|programmed|trained) not to\b"
)
REQUEST = re.compile(
    r"\b(?:this|your|the) (?:request|prompt|message|content|question|input|query|image|description|"
    r"conversation|response|output)\b[^.!?]{0,60}?\b(?:flagged|blocked|filtered|violat\w+|breach\w*|"
    r"inappropriate|goes against|falls outside|(?:isn't|is not|that (?:we|i) don't|not) allow(?:ed)?|"
    r"can't be (?:processed|completed|fulfilled|answered)|cannot be (?:processed|completed|fulfilled|answered)|"
    r"content (?:management )?policy|safety system|against our)"
    r"|^\W*(?:request|content|response|prompt|message|output|answer)s? (?:was |were |has been |have been )?"
    r"(?:denied|declined|refused|blocked|filtered|flagged|withheld)\b"
)
MACHINE = re.compile(
    r"\b(?:as an? |as your |being an |i'm (?:just |only |merely |still )?(?:an? )?|i am (?:just |only |merely )?(?:an? )?|"
    r"only an? |just an? )(?:[a-z]+[ -](?:and )?){0,5}?"
    r"(?:ai|artificial intelligence|language model|llm|assistant|chatbot|text-based model|text model)\b"
    r"|\bdesigned solely to\b|\bas (?:dan|an uncensored)\b"
)
MORAL = re.compile(
    r"\b(?:is|are|be|it's|that's|isn't|never|and|completely|highly) (?:[a-z]+ ){0,3}?(?:illegal|unlawful|"
    r"unethical|immoral|wrong|inappropriate|unacceptable|harmful|dishonest|deceptive|criminal|a crime|"
    r"an offen[cs]e|a criminal offen[cs]e|against the law|dangerous)\b"
    r"|\b(?:not|never|isn't|no [a-z]+ or|not be) (?:[a-z]+ or )?(?:okay|ok|acceptable|appropriate|ethical|right|"
    r"moral|acceptable way)\b"
)
WRONGS = (
    r"(?:illegal|unlawful|unethical|immoral|harmful|dangerous|wrong|dishonest|unacceptable|criminal|"
    r"deceptive|inappropriate|disrespectful)"
)
TWICE = re.compile(
    rf"\b{WRONGS},? (?:and|or|but also|but)(?: potentially| highly| also)? {WRONGS}\b"
    rf"|\bnot only (?:\w+ )?{WRONGS},? but\b|\b(?:not|never|isn't) (?:a |an )?(?:legal|ethical|acceptable|moral) or "
    r"(?:legal|ethical|acceptable|moral)\b|\b(?:extremely|highly|deeply|completely|absolutely) "
    rf"{WRONGS}\b"
)
GRAVE = re.compile(
    r"\bserious (?:crime|violation|offen[cs]e|harm|consequences|legal|ethical)|\b(?:severe|legal|grave) "
    r"(?:legal )?consequences|\b(?:result in|lead to|cause) (?:serious|severe|significant|legal|lasting|real)\b"
    r"|\bit(?:'s| is) (?:important|essential|crucial) to (?:remember|note|respect|treat|understand)"
    r"|\bstrongly (?:advise|discourage|urge|recommend against)|\bviolates? (?:the|multiple|laws?|privacy)"
    r"|\bviolation of\b|\bregardless of\b|\bwith (?:dignity|respect)\b|\bimprisonment\b|\bnever (?:okay|acceptable)"
)
VIOLATES = re.compile(r"\bis a (?:[a-z]+ ){0,3}?(?:violation|crime|offen[cs]e)\b")
URGE = re.compile(
    r"\bi(?:'d| would)? (?:[a-z]+ly )?(?:urge|encourage|implore|advise (?:against|you (?:not|to))|beg|must "
    r"(?:inform|emphasi[sz]e|point out|stress|remind|clarify|insist|advise|note))\b"
    r"|\bi (?:would|'d) like to (?:remind|clarify|point out)\b|\bit(?:'s| is) important to clarify\b"
    r"|\blet's (?:keep|focus)\b|\bplease (?:consider|think about|contact|seek|reach out)"
    r"|\bi (?:would|'d) (?:suggest|ask) (?:you |to )|\b(?:i|we)'d encourage\b|\bencourage you\b"
    r"|\bwould urge\b|\bi (?:strongly |would )?(?:suggest|recommend) (?:that you |you |to )?(?:speak|talk|contact|seek|reach)"
)
ELSE = re.compile(
    r"\bstill learning how to answer\b|\blet(?:'s| us) (?:talk about|change|try|move|switch|chat about|discuss)\b[^.!?]{0,30}?"
    r"(?:something else|different|topic|subject|another)|\btalk about something else\b"
    r"|\b(?:ask|seek|try) (?:me )?(?:about |of )?(?:another|a different|something) (?:topic|question|subject|"
    r"prompt|else)"
    r"|\bstart a fresh one\b|\b(?:please )?(?:revise|rephras\w+) (?:it|your)|\btry rephrasing\b"
)
DEFLECTS = re.compile(
    r"^\W*let(?:'s| us) (?:talk about something else|change the (?:topic|subject)|(?:try|move (?:on )?to) a "
    r"different (?:topic|subject))|^.{0,12}\bstill learning how to answer\b"
)
OPENING = re.compile(
    r"^\W*(?:(?:i'm|i am|we're|we are|i feel) )?(?:so |really |very |truly |deeply |terribly )*"
    r"(?:sorry|apolog\w+|my apologies|afraid|oops|hmm|unfortunately|regrettably|respectfully|"
    r"(?:i|we) (?:\w+ )?(?:apologi[sz]e|regret))\b"
)
BARE = re.compile(
    r"^\W*(?:(?:sorry|apologies|unfortunately|oops|hmm|no)\b[,.! ]*(?:but )?)?"
    r"(?:can't|cannot|unable to|not able to|won't|no can do|cant)"
    r" (?P<verb>[a-z]+)(?P<rest>.*)"
)
SOURCES = re.compile(
    r"\b(?:(?:from|in|on|using|with|without|given|by) (?:the |these |this |those |your |my |any |all |its )?"
    r"(?:[a-z]+ )?)(?:document\w*|sources?|context|passages?|texts?|articles?|excerpts?|knowledge base|handbook|"
    r"provided (?:information|material)|search results|records?|transcript|retrieved|pages|notes)\b|\b(?:"
    r"enough (?:information|detail|context|data)|available (?:information|data))\b"
)
NEEDS = re.compile(
    r"\bwithout (?:knowing|more|your|the|a|further|seeing|additional|that|an)\b|\buntil you\b|\bunless you\b"
    r"|\b(?:could|can|would|will) you (?:please )?(?:tell|share|paste|provide|check|clarify|rephrase|say|"
    r"confirm|send|give|repeat|attach|upload|specify|explain)\b|\b(?:which|what|where|when|who|do you mean) "
    r"[^?]{2,80}\?$"
)
ONWARD = re.compile(
    r"\b(?:is|was) there (?:something|anything) else\b|\banything else i\b|\bcan i help (?:you )?with "
    r"(?:something|anything)|\bwould you like (?:to|me)|\bwhat else\b|\bhow (?:else )?can i (?:help|assist)"
)
FIGURE_OF_SPEECH = re.compile(
    r"help (?:but|feeling|wondering|noticing|thinking)\b|recommend [^.]*\b(?:enough|more highly)\b"
    r"|(?:go|say|come) (?:wrong|enough|far|into (?:the |too much |much )?details?)\b|predict the future\b|overstate\b|speak (?:for|highly)\b"
    r"|describe how\b|express (?:how|enough)\b|thank you enough\b|take credit\b|make (?:it|that)\b"
    r"|reproduce (?:the |this |that |your )?(?:bug|crash|error|issue|problem|behaviou?r|failure)"
    r"|process (?:the|more than|files?)\b|run (?:the|this|that|your) (?:code|tests?|script|program)"
    r"|run (?:this|it|them|anything) (?:myself|here)\b|(?:sugar-?coat|lie|bore|pretend (?:this|it))\b"
    r"|(?:give|provide|state|name) (?:a|an|the) (?:single|exact|precise|definite|clear)\b"
)
STILL = re.compile(r", (?:but|though|however,?) (?!i(?:'| |$)|it |that |this |please)")
PRIVATE = re.compile(
    r"\b(?:private|personal|confidential|individuals?|someone's|people's|real[- ]time|live|current|internet|"
    r"the web|medical records)\b"
)
COPYRIGHT = re.compile(
    r"\b(?:lyrics|verbatim|copyrighted|whole chapter|entire (?:text|book|article))\b"
)
DID = re.compile(r"^\W*(?:i|we) [a-z]+(?:ed|ade|eft|ound|id) .*\b(?:because|since|as)\b")
HABITS = frozenset({"don't", "do not", "wouldn't", "would not"})
LOOSE = frozenset(
    {"be", "do", "go", "make", "say", "take", "tell", "show", "judge", "talk", "weigh", "list"}
)
TRADES = frozenset(
    {"accommodate", "allow", "approve", "complete", "do", "give", "grant", "honor", "honour", "make",
     "offer", "perform", "process", "provide", "release", "render", "send", "take"}
)  # fmt: skip
OPEN = re.compile(
    r"^(?: me)? ?(?:$|from\b|whether\b|if\b|how\b|what\b|why\b|when\b|which\b|who\b|for (?:sure|certain)\b|"
    r"with certainty\b|exactly\b|the (?:difference|exact|date|time)\b|any (?:difference|further)\b|much\b|"
    r"sure\b|certain\b|on (?:saturday|sunday|monday|tuesday|wednesday|thursday|friday|the)\b|without\b)"
)
COMPLIES = re.compile(
    r"^\W*(?:sure\b|of course\b|certainly\b|absolutely\b|yes\b|here(?:'s| is| are)\b|done\b|dear \w|subject:|"
    r"hi \w+,|hello \w+,|hey \w+,)"
)
LETTER = re.compile(r"(?:^|\n)\W*(?:dear [a-z .]{2,40},|subject:|hi [a-z]+,\n|hello [a-z]+,\n)")
PIVOT = re.compile(
    r"\b(?:but|however|here(?:'s| is| are)|what i can|that said|in general|generally|for background|"
    r"i can (?:explain|say|tell|describe|offer|give|share|help)|as for|the rest|the first|"
    r"what the|on the first|allgemein|mais|pero|mas|ma|but for|below|instead,? here)\b"
)
GIVES = re.compile(
    r"\b(?:here(?:'s| is| are)|in general|what i can|i can (?:explain|say|tell|describe|outline))\b"
)
GOES_ON = re.compile(
    r"^\W*(?:in general|generally|for background|here(?:'s| is| are)|what i can|as for the|on the (?:first|other)|"
    r"that said, here|allgemein|en général|en general|in generale|em geral)\b"
)
CONNECTED = re.compile(
    r"^\W*(?:but|however|that said|still|unfortunately)\b|^[^.!?]*?\bbut (?=i\b)"
)
ADVICE = re.compile(
    r"\b(?:instead|suggest|encourage|consider|please|contact|reach out|if you|you (?:could|should|may)|"
    r"happy to|glad to|gladly|illegal|harm\w*|risk\w*|danger\w*|law\b|laws\b|ethic\w*|respect\w*|important|"
    r"offen[cs]e|consequences|understand|appreciate|rights|safety|let me know|consent|privacy|"
    r"professional|i hope|i'd|crime|boundaries)\b"
)
LIST = re.compile(r"(?:^|\n)\s*(?:[-*•]|\d{1,2}[.)])\s+\S")
HAS_FIGURES = re.compile(r"\d[^.!?\n]*\d|: ")
COURTESY = re.compile(
    r"^\W*(?:sure|of course|certainly|hello|hi|thanks?|thank you|you're welcome|great question|"
    r"i hope|hope this|let me know|feel free|here(?:'s| is| are) (?:a|an|the|some|what|how)\b[^.]{0,60}:$|"
    r"if you (?:have|need) (?:any )?(?:more|other|further|questions)|please let me know|i(?:'d| would) be "
    r"(?:happy|glad)|i(?:'m| am) (?:happy|glad) to|sorry|i apologi[sz]e|my apologies)\b(?!.*\d)"
)
ABSTAINS = re.compile(
    r"\b(?:i (?:do not|don't) (?:know|have (?:any |enough |that )?(?:information|data|details|record))|"
    r"i(?:'m| am) not sure|(?:do|does|did) not (?:say|mention|specify|answer|contain|cover|state|provide|"
    r"include|address)|(?:doesn't|don't|didn't) (?:say|mention|specify|answer|contain|cover|state|provide)|"
    r"(?:couldn't|could not|can't|cannot|was unable to|unable to|not able to) (?:find|determine|locate|"
    r"confirm|verify|tell|say|answer)|no (?:information|mention|answer|relevant)|not (?:enough|mentioned|"
    r"specified|stated|covered|clear|provided|in the)|nothing (?:in|about|on))\b"
)
