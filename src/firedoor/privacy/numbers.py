"""Numbers that name somebody: cards, accounts, telephones, national identifiers.

One pass of C code finds runs of digits and separators; whatever is precise runs only there. A
number counts by its check digits; where those are weak (one digit in ten passes by chance) or
missing, only beside a word that says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from firedoor.privacy import checksums
from firedoor.privacy.kinds import Match

__all__ = ["find_numbers"]

Check: TypeAlias = Callable[[str], bool]

# A run starts with a digit, so that `re` skips to it; the possessive class never backtracks.
# Codice fiscale is the one shape whose digits stand apart.
_RUN = re.compile(
    r"[0-9](?:[0-9 .\-()/]{5,}+"
    r"|(?<=[A-Z]{6}[0-9])[0-9LMNPQRSTUV][ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z](?![A-Za-z0-9]))"
)
_GROUP = re.compile(r"[0-9]+")

_IBAN_HEAD = re.compile(r"(?:(?<![A-Za-z0-9])[A-Za-z]{2}|(?<![A-Z0-9])[A-Z]{2})[0-9]{2}")
_IBAN_BODY = re.compile(r"(?:[ -]?[A-Za-z0-9]){11,30}")
_SEPARATORS = str.maketrans("", "", " -./()")

# Total lengths by country: SWIFT IBAN registry, release 99.
IBAN_LENGTHS = {
    code: int(length)
    for length, codes in {
        "15": "NO",
        "16": "BE",
        "18": "DK FI FO GL NL SD FK",
        "19": "MK SI",
        "20": "AT BA EE KZ LT LU XK MN",
        "21": "CH HR LI LV",
        "22": "BG BH CR DE GB GE IE ME RS VA",
        "23": "AE IL IQ TL OM SO",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG",
        "25": "LY PT ST",
        "26": "IS TR",
        "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HN HU LB NI PL SV",
        "29": "BR EG PS QA UA",
        "30": "JO KW MU YE",
        "31": "MT SC",
        "32": "LC",
        "33": "RU",
    }.items()
    for code in codes.split()
}

_END = r"(?![0-9A-Za-z]|[-.][0-9])"
"""Nothing goes on behind: neither the number nor a word."""


def _shape(pattern: str, end: str = _END) -> re.Pattern[str]:
    return re.compile(pattern + end)


def _is_card(digits: str) -> bool:
    """Issuer ranges and lengths (ISO/IEC 7812 registrations, as published by the schemes)."""
    size = len(digits)
    first2, first4 = int(digits[:2]), int(digits[:4])
    known = (
        (digits[0] == "4" and size in {13, 16, 19})
        or ((51 <= first2 <= 55 or 2221 <= first4 <= 2720) and size == 16)
        or (first2 in {34, 37} and size == 15)
        or ((first2 in {36, 38, 39} or 3000 <= first4 <= 3059) and 14 <= size <= 19)
        or (3528 <= first4 <= 3589 and 16 <= size <= 19)
        or (
            (first4 == 6011 or first2 in {64, 65, 62, 81} or first2 in {60, 82})
            and 16 <= size <= 19
        )
        or (first4 in {5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763} and 12 <= size <= 19)
        or (2200 <= first4 <= 2204 and 16 <= size <= 19)
    )
    return known and checksums.luhn(digits) and len(set(digits)) > 1


def _is_date(year: str, month: str, day: str) -> bool:
    return len(year) == 2 and 1 <= int(month) <= 12 and 1 <= int(day) <= 31


def _is_ssn(digits: str) -> bool:
    """Social Security Administration, randomised since 2011: areas 000, 666 and 9xx are unused."""
    return (
        digits[0] != "9"
        and digits[:3] not in {"000", "666"}
        and digits[3:5] != "00"
        and digits[5:] != "0000"
    )


def _is_itin(digits: str) -> bool:
    return digits[0] == "9" and (50 <= int(digits[3:5]) <= 65 or 70 <= int(digits[3:5]) <= 99)


def _is_nir(text: str) -> bool:
    text = text.upper()
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return (
        text[0] in "12"
        and (1 <= int(text[3:5]) <= 12 or 20 <= int(text[3:5]) <= 99)
        and 97 - int(number) % 97 == int(text[13:])
    )


def _is_cpf(digits: str) -> bool:
    if len(set(digits)) == 1:
        return False
    one = checksums.weighted(digits, (10, 9, 8, 7, 6, 5, 4, 3, 2), 11)
    two = checksums.weighted(digits, (11, 10, 9, 8, 7, 6, 5, 4, 3, 2), 11)
    return int(digits[9]) == (11 - one if one > 1 else 0) and int(digits[10]) == (
        11 - two if two > 1 else 0
    )


def _is_be(digits: str) -> bool:
    born, check = int(digits[:9]), int(digits[9:])
    return check in {97 - born % 97, 97 - (born + 2_000_000_000) % 97}


def _is_aadhaar(digits: str) -> bool:
    years = all(digits[i : i + 2] in {"19", "20"} for i in (0, 4, 8))
    return digits[0] not in "01" and not years and checksums.verhoeff(digits)


def _is_personnummer(digits: str) -> bool:
    digits = digits[-10:]
    day = int(digits[4:6])
    return (
        1 <= int(digits[2:4]) <= 12
        and 1 <= (day - 60 if day > 60 else day) <= 31
        and checksums.luhn(digits)
    )


def _is_cz(digits: str) -> bool:
    month = int(digits[2:4]) % 50 % 20
    return 1 <= month <= 12 and 1 <= int(digits[4:6]) <= 31 and int(digits) % 11 == 0


def _is_rrn(digits: str) -> bool:
    return _is_date(digits[:2], digits[2:4], digits[4:6]) and digits[6] in "1234"


def _is_ric(text: str) -> bool:
    return (
        text[6:8] in {"19", "20"}
        and 1 <= int(text[10:12]) <= 12
        and 1 <= int(text[12:14]) <= 31
        and checksums.mod11_2(text)
    )


def _is_dni(text: str) -> bool:
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(text[:8]) % 23] == text[8].upper()


def _is_hetu(text: str) -> bool:
    return _is_date(text[4:6], text[2:4], text[:2]) and checksums.hetu(
        text[:6] + text[7:10], text[10]
    )


# Shapes that say what they are. Tried at the first digit of a run and at each later group.
_STRONG: tuple[tuple[str, re.Pattern[str], Check], ...] = (
    (
        "payment_card",
        _shape(
            r"[2-6][0-9]{3}(?:([ -]?)[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{1,3})?|([ -]?)[0-9]{6}\2[0-9]{4,5}|[0-9]{8,15})"
        ),
        _is_card,
    ),
    ("us_ssn", _shape(r"[0-9]{3}([ -])[0-9]{2}\1[0-9]{4}"), _is_ssn),
    ("us_itin", _shape(r"9[0-9]{2}([ -])[0-9]{2}\1[0-9]{4}"), _is_itin),
    (
        "fr_nir",
        _shape(r"[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[ABab]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}"),
        _is_nir,
    ),
    ("cn_ric", _shape(r"[1-8][0-9]{16}[0-9Xx]"), _is_ric),
    ("br_cpf", _shape(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}"), _is_cpf),
    ("ch_ahv", _shape(r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}"), checksums.ean13),
    ("be_nn", _shape(r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}"), _is_be),
    (
        "in_aadhaar",
        _shape(r"[2-9][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}", r"(?![0-9A-Za-z]|[-. ][0-9])"),
        _is_aadhaar,
    ),
    ("kr_rrn", _shape(r"[0-9]{6}-[1-4][0-9]{6}"), _is_rrn),
    ("se_personnummer", _shape(r"(?:19|20)?[0-9]{6}[-+][0-9]{4}"), _is_personnummer),
    ("cz_rc", _shape(r"[0-9]{6}/[0-9]{4}"), _is_cz),
    ("fi_hetu", _shape(r"[0-3][0-9][01][0-9]{3}[-+A][0-9]{3}[0-9A-FHJ-NPR-Y]"), _is_hetu),
    ("es_dni", _shape(r"[0-9]{8}-?[A-HJ-NP-TV-Z]"), _is_dni),
)

# Numbers with a weak check, or none: only beside a word that says what they are.
_WEAK: tuple[tuple[str, re.Pattern[str], Check, re.Pattern[str]], ...] = tuple(
    (kind, _shape(shape), check, re.compile(rf"(?:{words})[^0-9\n]{{0,24}}$"))
    for kind, shape, check, words in (
        ("us_ssn", r"[0-9]{9}", _is_ssn, r"\bssn\b|social security"),
        (
            "de_steuer_id",
            r"[1-9][0-9](?: ?[0-9]{3}){3}",
            checksums.mod11_10,
            r"steuer|idnr|\btin\b|tax id",
        ),
        (
            "pl_pesel",
            r"[0-9]{11}",
            lambda d: checksums.weighted(d, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), 10) == 0,
            "pesel",
        ),
        (
            "nl_bsn",
            r"[0-9]{9}|[0-9]{4}[. ][0-9]{2}[. ][0-9]{3}",
            lambda d: checksums.weighted(d, (9, 8, 7, 6, 5, 4, 3, 2, -1), 11) == 0,
            r"\bbsn\b|burgerservice|sofi",
        ),
        (
            "ca_sin",
            r"[0-9]{3}([ -]?)[0-9]{3}\1[0-9]{3}",
            checksums.luhn,
            r"\bsin\b|social insurance|assurance sociale|\bnas\b",
        ),
        (
            "au_tfn",
            r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
            lambda d: checksums.weighted(d, (1, 4, 3, 7, 5, 8, 6, 9, 10), 11) == 0,
            r"\btfn\b|tax file",
        ),
        (
            "uk_nhs",
            r"[0-9]{3}([ -]?)[0-9]{3}\1[0-9]{4}",
            lambda d: (
                (11 - checksums.weighted(d[:9], (10, 9, 8, 7, 6, 5, 4, 3, 2), 11)) % 11 == int(d[9])
            ),
            r"\bnhs\b",
        ),
        ("br_cpf", r"[0-9]{11}", _is_cpf, r"\bcpf\b"),
        ("in_aadhaar", r"[2-9][0-9]{11}", checksums.verhoeff, r"aadha+r|\buid\b|uidai"),
        (
            "no_fnr",
            r"[0-9]{6} ?[0-9]{5}",
            lambda d: (
                checksums.weighted(d, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1), 11) == 0
                and checksums.weighted(d, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1), 11) == 0
            ),
            r"fødselsn|fodselsn|personn|\bfnr\b",
        ),
        (
            "dk_cpr",
            r"[0-3][0-9][01][0-9]{3}-?[0-9]{4}",
            lambda d: _is_date(d[4:6], d[2:4], d[:2]),
            r"\bcpr\b",
        ),
        (
            "pt_nif",
            r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
            lambda d: (
                int(d[8]) == (11 - checksums.weighted(d, (9, 8, 7, 6, 5, 4, 3, 2), 11)) % 11 % 10
            ),
            r"\bnif\b|contribuinte",
        ),
        (
            "tr_tckn",
            r"[1-9][0-9]{10}",
            lambda d: sum(map(int, d[:10])) % 10 == int(d[10]),
            r"\btckn?\b|kimlik",
        ),
        ("za_id", r"[0-9]{6} ?[0-9]{4} ?[0-9]{3}", checksums.luhn, r"\bid\b|identity|\brsa\b"),
    )
)

# ITU-T E.164: at most 15 digits; no country code begins with 0.
_INTERNATIONAL = re.compile(
    r"[1-9][0-9]{7,14}(?![0-9])"
    r"|1[ .\-]?\(?[2-9][0-9]{2}\)?[ .\-]?[0-9]{3}[ .\-]?[0-9]{4}(?![0-9])"
    r"|[1-9][0-9]{0,2}(?:[ .\-/]?\(?[0-9]{1,5}\)?){2,6}(?![0-9A-Za-z])"
)
# North American Numbering Plan: area and exchange begin with 2 to 9.
_NATIONAL = _shape(
    r"(?:1[ .\-])?\(?[2-9][0-9]{2}(?:\)[ .\-]?|[ .\-])[2-9][0-9]{2}[ .\-][0-9]{4}"
    r"|0[1-9]([ .\-])[0-9]{2}(?:\1[0-9]{2}){3}"
    r"|0[1-9][0-9]{1,3}\)?[ \-/]{1,2}[0-9]{3,4}[ \-]?[0-9]{3,5}"
    r"|00[1-9][0-9]{0,2}(?:[ .\-/]\(?[0-9]{1,5}\)?){2,6}"
)
_LOOSE = _shape(r"\(?[0-9](?:[ .\-/()]{0,2}[0-9]){6,14}")
_TELEPHONE = re.compile(
    r"(?:\b(?:tele)?phone|\btel\b|\bmobile|\bmobil\b|\bcell\b|\bcall\b|\bfax\b|whatsapp|\bsms\b|\btelefon|"
    r"téléphone|teléfono|\bmóvil|\bhandy\b|\bringo?\b|\btext me\b|\bdial\b)[^0-9\n]{0,16}$"
)


def find_numbers(text: str, found: list[Match]) -> None:
    """Add what the numbers of `text` are to `found`, in any order, possibly overlapping."""
    for run in _RUN.finditer(text):
        start, end = run.span()
        if text[end - 1].isalpha():
            # Codice fiscale: its six letters lie before the run.
            code = text[start - 6 : end]
            if checksums.codice_fiscale(code):
                found.append(Match("it_codice_fiscale", start - 6, end))
            continue
        _in_run(text, start, end, found)


def _in_run(text: str, start: int, end: int, found: list[Match]) -> None:
    done = _iban(text, start, end, found)
    for group in _GROUP.finditer(text, start, end):
        at = group.start()
        if at < done:
            continue
        match = _at(text, at, group.end())
        if match is not None:
            found.append(match)
            done = match.end


def _iban(text: str, start: int, end: int, found: list[Match]) -> int:
    """IBANs whose check digits or account lie in a run; where the last of them ends."""
    done = 0
    for head in _IBAN_HEAD.finditer(text, max(0, start - 14), end):
        size = IBAN_LENGTHS.get(head[0][:2].upper())
        if size is None or head.start() < done:
            continue
        body = _IBAN_BODY.match(text, head.end())
        if body is None:
            continue
        first, last = head.start(), _nth(text, head.end(), body.end(), size - 4)
        if last and not text[last : last + 1].isalnum():
            compact = text[first:last].translate(_SEPARATORS).upper()
            if checksums.iban(compact):
                found.append(Match("iban", first, last))
                done = last
    return done


def _nth(text: str, start: int, end: int, count: int) -> int:
    """Where `count` letters or digits from `start` end, separators not counted; 0 if there are fewer."""
    for at in range(start, end):
        if text[at] not in " -":
            count -= 1
            if not count:
                return at + 1
    return 0


def _at(text: str, at: int, group_end: int) -> Match | None:
    before = text[at - 1] if at else " "
    if before == "+" or (before == "(" and text[at - 2 : at - 1] == "+"):
        phone = _INTERNATIONAL.match(text, at)
        if phone is not None and 8 <= len(phone[0].translate(_SEPARATORS)) <= 15:
            first = at - (1 if before == "+" else 2)
            tight = phone[0].isdigit() and text[first - 1 : first].isalnum()
            if not tight and phone.end() - first > 8:
                return Match("phone", first, phone.end())
    elif before in "-." and text[at - 2 : at - 1].isdigit():
        return None
    size = group_end - at
    for kind, shape, check in _STRONG:
        match = shape.match(text, at)
        if match is not None and check(
            match[0] if kind in _LETTERED else match[0].translate(_STRIPPED)
        ):
            if before.isalnum() and match[0].isdigit() and not before.islower():
                return None
            return Match(kind, at, match.end())
    opened = at - (before == "(")
    letter = _beside_letter(text, at, group_end)
    if letter is not None:
        return letter
    if before.isalnum() or before in "_$€£#":
        return None
    phone = _NATIONAL.match(text, opened)
    if phone is not None and 9 <= len(phone[0].translate(_SEPARATORS)) <= 15:
        return Match("phone", opened, phone.end())
    if size >= 3 or before == "(":
        return _beside_word(text, at, opened)
    return None


_LETTERED = frozenset({"fr_nir", "cn_ric", "es_dni", "fi_hetu"})
_STRIPPED = str.maketrans("", "", " -./()+")

# HMRC: neither letter is D F I Q U V, the second not O; these prefixes are never issued.
_NINO = re.compile(r"[0-9]{2}([ -]?)[0-9]{2}\1[0-9]{2}[ -]?[A-D](?![A-Za-z0-9])")
_NINO_PREFIX = re.compile(
    r"(?<![A-Z0-9])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\Z"
)
_PREFIXED = re.compile(r"[0-9]{7}-?[A-Z](?![A-Za-z0-9])")


def _beside_letter(text: str, at: int, group_end: int) -> Match | None:
    """Identifiers that begin with letters: UK national insurance, Spanish NIE, Singapore NRIC."""
    nino = _NINO.match(text, at)
    if nino is not None:
        prefix = _NINO_PREFIX.search(text, max(0, at - 4), at)
        return None if prefix is None else Match("uk_nino", prefix.start(), nino.end())
    first = at - 1
    if group_end - at != 7 or at == 0:
        if text[first - 1 : at][1:] != "-":
            return None
        first -= 1
    if first < 0 or text[first] not in "XYZSTFGM" or text[first - 1 : first].isupper():
        return None
    match = _PREFIXED.match(text, at)
    if match is None:
        return None
    code = text[first : match.end()].replace("-", "")
    if code[0] in "XYZ" and _is_dni(str("XYZ".index(code[0])) + code[1:]):
        return Match("es_nie", first, match.end())
    if code[0] in "STFGM" and checksums.nric(code):
        return Match("sg_nric", first, match.end())
    return None


def _beside_word(text: str, at: int, opened: int) -> Match | None:
    """Numbers whose meaning is in the words before them."""
    loose = _LOOSE.match(text, opened)
    if loose is None:
        return None
    words = text[max(0, at - 48) : opened].lower()
    for kind, shape, check, named in _WEAK:
        match = shape.match(text, at)
        if match is not None and check(match[0].translate(_SEPARATORS)) and named.search(words):
            return Match(kind, at, match.end())
    if _TELEPHONE.search(words):
        return Match("phone", opened, loose.end())
    return None
