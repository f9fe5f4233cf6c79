"""Words that claim nothing, and words that claim little."""

from __future__ import annotations

__all__ = ["EMPTY", "GENERIC", "NUMBERS"]

EMPTY = frozenset(
    """
    a about above after again against all almost already also although always am an and any are as
    at be because been before being below between both but by can cannot could did do does doing
    don't down during each either else etc even ever every few first for from further had has have
    having he her here hers him his how however i if in instead into is isn't it it's its itself
    just last least less like may me might more most much must my need neither next no nor not now
    of off often on once one only onto or other others our out over own per perhaps please quite
    rather really same shall she should since so some soon still such than that that's the their
    them then there therefore these they this those though through thus to too under until up upon
    us very via was we well were what when where whether which while who whom whose why will with
    within without would yes yet you your yours
    der die das und ist nicht ein eine einen mit auf für von zu den dem im in es sie er wir ihr ich
    le la les un une des du de et est pas pour dans que qui sur avec au aux ce cette vous nous il
    el los las una del por para con no es en que su se al lo
    o os as um uma do da dos das em não com por para que se
    il lo gli un una di del della che non per con in è si
    """.split()  # noqa: SIM905 - a paragraph is read faster than two hundred lines
)
"""Function words: they are in every text, so that finding them says nothing."""

GENERIC = frozenset(
    """
    able according account additional allow allows answer application apply available based basic
    built built-in builtin library programming designed
    best call called calls case cases change check class code come common contain contains correct
    create created creates custom data default defined description detail details different
    documentation document documents ensure example examples exist feature find follow following
    function functions general get gets give given gives go good handle help helpful helps hope
    important include included includes including information input instance issue item items keep
    kind know known let list look made make makes many mean means mention mentioned method methods
    module name named new note number object objects occur option options order output parameter
    parameters part particular pass passed perform place point possible process program provide
    provided provides purpose python question receive refer regarding related request require
    required requires result results return returned returns right run see set sets show shows
    simple simply specific specified specify standard state step steps store string support sure
    take takes tell text thing things time two type types typically use used useful user users uses
    using usually value values various want way ways work works write
    """.split()  # noqa: SIM905
)
"""Words of every manual and help desk: finding them says little."""

NUMBERS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10", "eleven": "11", "twelve": "12", "fourteen": "14", "fifteen": "15",
    "twenty": "20", "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "ninety": "90",
    "hundred": "100",
}  # fmt: skip
"""Numbers in words, as they would be in figures."""
