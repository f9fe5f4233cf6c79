"""The words refusals are told by: verbs of helping, of finding and of trade, and other languages."""

from __future__ import annotations

import re
from enum import IntFlag, auto

__all__ = [
    "DECLINED",
    "ELSEWHERE",
    "FIND",
    "FOREIGN",
    "FOREIGN_NOT",
    "HELP",
    "MARKS",
    "TRADE",
    "TRIGGERS",
    "Mark",
]

HELP = frozenset(
    """
    accommodate address advise aid allow answer approve assist authorize be become bypass carry
    chat comment complete compose comply condone continue contribute converse cooperate craft create
    debate describe design detail develop direct disclose discuss display do draft elaborate enable
    encourage endorse engage entertain execute explain explore express facilitate follow form fulfil
    fulfill generate give glorify go grant guide help honor honour identify imitate impersonate
    implement include instruct interpret involve judge list listen look make meet oblige offer outline output prescribe
    participate perform play portray predict pretend proceed process produce promote provide publish
    recite recommend release render repeat reply represent respond reveal roleplay satisfy
    say send serve share show simulate speak speculate suggest supply support take talk teach tell
    transcribe translate walk weigh write
    part rank compare name quote copy print draw sing post hack break steal attack mock insult diagnose
    """.split()  # noqa: SIM905 - a paragraph is read faster than a hundred lines
)
"""What one declines to do for somebody."""

FIND = frozenset(
    """
    accept access-the add afford assume attend be change charge check come compare confirm connect
    edit extend fix fly get hold install keep load miss modify move need open pass pay place read
    reach reassign remove rename replace reproduce save set ship sleep start stop stay swim sync
    trust update upgrade use win work confirm determine establish figure find guess know locate verify recall see
    remember hear reach detect guarantee promise wait stress emphasize emphasise imagine believe
    argue think overstate deny fault lie stand understand
    """.split()  # noqa: SIM905
)
"""What one cannot do for want of knowledge, and figures of speech."""

TRADE = re.compile(
    r"\b(?:refund\w*|cancel\w*|orders?|booking|reservation|deliver\w+|shipp?\w*|parcel|package|"
    r"voucher|coupon|fees?|discount|warranty|payment|invoice|rooms?|seats?|tickets?|subscription|"
    r"upgrade|exchange|in stock|returns?|transfer|overdraft|loan|batter\w+|position|application|"
    r"balance transfer|appointment|due date|rate)\b"
)
"""What a shop, a bank or an employer says no about: an answer, and no refusal to give one."""

DECLINED = re.compile(
    r"[\"'](?:refus(?:al|ed)|declined|is_refusal)[\"']\s*:\s*(?:true|\")"
    r"|[\"'](?:status|type|outcome|kind|result|finish_reason)[\"']\s*:\s*"
    r"[\"'](?:refus(?:al|ed)|declined|content_filter)[\"']"
)
"""Structured answers that say of themselves that they are refusals."""


class Mark(IntFlag):
    """What a word of a sentence makes worth looking for."""

    SELF = auto()
    """Somebody speaks of themselves."""
    NEVER = auto()
    """Something is negated."""
    STATE = auto()
    """Somebody is kept from something."""
    DECLINE = auto()
    SCOPE = auto()
    """Something is beyond a limit."""
    RULES = auto()
    ELSE = auto()
    """Something else is proposed."""
    MORAL = auto()
    MACHINE = auto()
    APOLOGY = auto()


# The words before the bar are in few other texts; those after it count only beside one of them.
_MARKED = {
    Mark.SELF: "| i i'm i'd i'll i've we we're we'd we'll me assistant my our",
    Mark.NEVER: "can't cannot cant won't wont not don't shouldn't mustn't wouldn't shan't never",
    Mark.STATE: "unable unwilling prohibited forbidden prevented barred restricted liberty permitted "
    "comfortable qualified authorised authorized "
    "| bound instructed asked told programmed able allowed willing going position designed equipped "
    "prepared trained supposed capable free",
    Mark.DECLINE: "decline refuse refrain rather prefer stepping must respectfully regret pass refusing "
    "| abstain turn say stop draw want",
    Mark.SCOPE: "bounds crosses off-limits outside scope limits irresponsible nor isn't assist abilities "
    "capabilities "
    "| only beyond something anything thing topic line bound circumstances appropriate",
    Mark.RULES: "policy policies guidelines principles violate violates violating violated breach "
    "flagged blocked filtered inappropriate keeps prevents prevent forbids forbid terms infringe "
    "| rules against code programming standards instructions values contrary purpose allowed allow "
    "instructed asked told request prompt programmed trained",
    Mark.ELSE: "let's let learning | topic subject something talk try ask seek rephrasing revise "
    "rephrase fresh another different",
    Mark.MORAL: "illegal unlawful unethical immoral wrong unacceptable harmful dishonest deceptive "
    "criminal crime offence offense okay ethical urge acceptable appropriate | law dangerous right "
    "harm encourage advise consequences please emphasize remind clarify inform let's",
    Mark.MACHINE: "ai model | assistant chatbot llm intelligence machine",
    Mark.APOLOGY: "sorry apologies apologise apologize apology afraid unfortunately regrettably oops "
    "confidential |",
}
_OTHERS = """
    nicht nichts keine leider darf lehne ablehnen verstößt
    peux désolé désolée navré refuser interdit impossible préfère enfreint contraire regrette
    autorisé autorisée mesure
    puedo permitido lamento siento disculpa rechazar declinar infringe autorizado prefiero posible temo
    posso consigo desculpe desculpa sinto viola recusar prefiro não
    dispiace spiacente possibile consentito rifiutare declinare non
    niet spijt helaas
    могу извините сожалению нарушает
    mogę przepraszam odmówić
"""


def _as_written(words: str) -> frozenset[str]:
    """The words with the marks that may follow them, as splitting at spaces leaves them."""
    ways = {word for each in words.split() for word in (each, each.replace("'", "’"))}
    return frozenset(
        word + mark for word in ways for mark in ("", ",", ".", "!", ":", ";", "—", '"')
    )


def _marks() -> dict[str, int]:
    found: dict[str, int] = {}
    for mark, words in _MARKED.items():
        for word in _as_written(words.replace("|", " ")):
            found[word] = found.get(word, 0) | mark.value
    return found


MARKS = _marks()
"""By word: the `Mark`s it has, as one integer."""

ELSEWHERE = _as_written(_OTHERS)
"""Words of refusals in other languages."""

TRIGGERS = ELSEWHERE.union(*(_as_written(words.partition("|")[0]) for words in _MARKED.values()))
"""Without one of these among its words no text is looked at more closely."""

FOREIGN = re.compile(
    # German
    r"kann ich (?:\w+ ){0,7}(?:nicht|nichts|keine?n?) (?:\w+ ){0,5}?(?:helfen|machen|tun|beantworten|behilflich|anbieten|"
    r"unterstützen|weiterhelfen|geben|sagen|erstellen|schreiben|erfüllen|nachkommen|bereitstellen|"
    r"stellen|teilen|durchführen)"
    r"|ich kann (?:\w+ ){0,6}(?:nicht|nichts|keine?n?) (?:\w+ ){0,8}?(?:helfen|behilflich|beantworten|"
    r"unterstützen|weiterhelfen|geben|sagen|erstellen|schreiben|erfüllen|nachkommen|bereitstellen|"
    r"anbieten|teilen|durchführen|generieren)"
    r"|(?:ich (?:\w+ )?darf|darf ich|erlaubt) (?:\w+ ){0,5}(?:nicht|nichts|keine?n?)"
    r"|mir (?:\w+ ){0,2}nicht (?:erlaubt|gestattet|möglich)"
    r"|nicht (?:in der lage|befugt|berechtigt|autorisiert)|(?:muss|möchte) (?:\w+ ){0,6}ablehnen"
    r"|(?:helfe|unterstütze) ich (?:\w+ )?nicht|ich (?:helfe|unterstütze) (?:\w+ ){0,5}nicht"
    r"|ich lehne (?:\w+ ){0,5}ab|möchte (?:\w+ ){0,3}lieber nichts?"
    r"|verstößt gegen (?:meine|unsere|die) (?:\w+ )?(?:\w*richtlinien|\w*regeln|\w*bedingungen|"
    r"grundsätze)|gegen meine \w*(?:richtlinien|grundsätze|prinzipien)"
    # French
    r"|je ne (?:peux|puis|saurais) (?:\w+ ){0,2}pas (?:\w+ ){0,2}(?:aider|répondre|fournir|donner|"
    r"faire|accéder|produire|créer|générer|continuer|discuter|assister|écrire|traiter|partager|"
    r"satisfaire)|je ne peux pas (?:vous|t')? ?aider|je ne suis pas (?:en mesure|autorisée?|"
    r"habilitée?|capable) (?:de|à|d')|je (?:dois|suis obligée?)(?: \w+){0,2} (?:refuser|décliner)"
    r"|je (?:refuse|décline)|je préfère ne pas|il m'est (?:impossible|interdit)"
    r"|(?:enfreint|viole|contraire à) (?:nos|mes|les|notre|mon) (?:\w+ ){0,2}(?:règles|politiques?|"
    r"principes|directives|consignes|conditions)"
    # Spanish
    r"|no (?:te |le |les )?puedo (?:\w+ ){0,2}?(?:ayudar\w*|proporcionar\w*|cumplir\w*|responder\w*|"
    r"generar\w*|crear\w*|dar\w*|ofrecer\w*|continuar|hablar|hacer\w*|compartir\w*|escribir\w*|"
    r"indicar\w*|asistir\w*|participar|brindar\w*)|lamento no poder|no me (?:es posible|está permitido)|me es imposible"
    r"|no estoy (?:autorizad[oa]|en condiciones|programad[oa]|capacitad[oa])|(?:debo|tengo que) "
    r"(?:rechazar|declinar|negarme)|prefiero no (?:hablar|responder|contestar|hacer)"
    r"|(?:en contra de|infringe|viola) (?:mis|nuestras|las|nuestros|mi) (?:\w+ ){0,2}?(?:directrices|"
    r"políticas?|normas|reglas|principios)"
    # Portuguese
    r"|não (?:posso|consigo|poderei|vou poder) (?:\w+ ){0,2}?(?:ajud\w+|atender|fornecer|gerar|gerá-lo|"
    r"responder|criar|dar|oferecer|continuar|falar|fazer|compartilhar|partilhar|escrever|auxiliar|"
    r"cumprir|divulgar)|não (?:estou autorizad[oa]|me é (?:possível|permitido))|prefiro não "
    r"(?:responder|falar|comentar)|(?:devo|preciso|tenho de|tenho que) (?:recusar|declinar)"
    r"|fora d(?:o|aquilo) que (?:eu )?posso|(?:viola|contra) (?:as |os )?(?:nossas|minhas|nossos) "
    r"(?:\w+ )?(?:políticas|diretrizes|regras|normas|princípios)"
    # Italian
    r"|non posso (?:\w+ ){0,2}?(?:aiutar\w+|fornir\w+|proceder\w*|risponder\w*|generar\w*|crear\w*|dar\w*|"
    r"offrir\w*|continuar\w*|parlar\w*|far\w*|condivider\w*|scriver\w*|assister\w*|soddisfar\w*)"
    r"|non sono (?:in grado|autorizzat[oa]|abilitat[oa])|non mi è (?:possibile|consentito|permesso)"
    r"|(?:devo|preferisco) (?:rifiutar\w*|declinar\w*|non risponder\w*)|preferisco non"
    r"|viola (?:le |i |la )?(?:\w+ )?(?:linee guida|politiche|norme|regole|condizioni)"
    # Dutch
    r"|kan ik (?:\w+ ){0,4}niet (?:\w+ ){0,3}?(?:helpen|doen|beantwoorden|geven|delen|voldoen|maken|assisteren)"
    r"|ik kan (?:\w+ ){0,4}niet (?:\w+ ){0,2}?(?:helpen|voldoen|beantwoorden|geven|delen|meewerken)"
    r"|ik mag (?:\w+ ){0,5}(?:niet|geen)|ik (?:weiger|moet (?:\w+ ){0,4}(?:weigeren|afwijzen))"
    r"|in strijd met (?:mijn|onze|het|de) (?:\w+ )?(?:richtlijnen|beleid|regels|voorwaarden)"
    # Russian, Polish
    r"|(?:не могу|не смогу|не в состоянии|не имею права|не буду) (?:\w+ ){0,4}?(?:помо\w+|предостав\w+|"
    r"ответ\w+|отвеча\w+|выполн\w+|обсужд\w+|созда\w+|продолж\w+|дать|сделать|помогать)"
    r"|(?:нарушает|противоречит) (?:\w+ )?(?:правил\w*|политик\w*|принцип\w*)"
    r"|(?:вынужден\w*|должен|должна) отказ\w+"
    r"|nie mogę (?:\w+ ){0,3}?(?:pomóc|udzielić|odpowiedzieć|spełnić|dostarczyć|wygenerować)"
    r"|muszę odmówić"
    # Chinese
    r"|(?:我|，|,|^|。)[^。！？\n]{0,12}?(?:无法|不能|不可以|不会|不便|不方便|不被允许|没有办法|無法|不可)"
    r"[^。！？\n]{0,8}?(?:帮|协助|提供|回答|满足|继续|讨论|生成|参与|支持|完成|透露|处理|执行|撰写|创作|给出|"
    r"告诉|分享|幫|協助|滿足|繼續|討論|參與|處理|執行|撰寫|創作)"
    r"|(?:请求|内容|问题|话题|要求|請求|內容)[^。！？\n]{0,6}(?:违反|違反|不符合)[^。！？\n]{0,10}(?:政策|准则|"
    r"规定|规范|條款|条款|原則|原则)"
    r"|换个?(?:一个)?话题|換個話題|拒绝(?:回答|提供|协助)|無法協助"
    # Japanese, Korean
    r"|(?:お手伝い|お答え|お応え|回答|提供|対応|支援|生成|作成|お伝え|お教え|協力|応じる|手助け|サポート)"
    r"(?:する|を|は|に|すること|いた)*(?:こと)?(?:は|が)?(?:でき(?:ません|かね)|いたしかね|致しかね|しかね)"
    r"|お断り(?:し|いた|させ)|(?:ポリシー|ガイドライン|規約|方針)に(?:違反|反)"
    r"|(?:도와|도움|답변|제공|대답|지원|생성|응답|협조|안내|말씀)[가-힣 ]{0,8}?(?:수 없|어렵|불가)"
    r"|(?:정책|가이드라인|규정|지침)[가-힣 ]{0,3}(?:위배|위반|어긋)"
)
"""Refusals in other languages: somebody who cannot, may not or will not, and verbs of helping."""

FOREIGN_NOT = re.compile(
    r"(?:unterlagen|dokument\w*|quellen|kontext)\b|erstattung|stornier|bestellung"
    r"|documents? fournis?|sources fournies|rembours"
    r"|en los documentos|reembols|pedido con"
    r"|nos documentos|nei documenti|rimbors"
    r"|文档|文件中|资料|資料|退款|退货|订单|注文|返金|환불|주문|문서"
)
"""Words of abstentions and of trade in those languages."""
