"""National identifiers, payment cards and bank accounts: shapes and the checks that prove them.

Shapes begin at the first digit of a number. They are kept by how many digits stand together there,
so that a number is held only against the few shapes that begin like it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from firedoor.privacy import checksums
from firedoor.privacy.checksums import weighted

__all__ = ["END", "IBAN_LENGTHS", "NAMED", "PROVEN", "Shape", "dni"]

END = r"(?![0-9A-Za-z]|[-.][0-9])"
"""Nothing goes on behind a number: neither the number nor a word."""


class Shape(NamedTuple):
    """One way an identifier is written.

    Attributes:
        match: Matches it at a position.
        check: Answers for the text without its separators.
        words: What must stand before it, where the check alone is too weak. None: nothing.
    """

    kind: str
    match: Callable[[str, int], re.Match[str] | None]
    check: Callable[[str], bool]
    words: re.Pattern[str] | None = None


def _card(digits: str) -> bool:
    """Issuer ranges and lengths of the card schemes (ISO/IEC 7812 prefixes), then Luhn."""
    size, two, four = len(digits), int(digits[:2]), int(digits[:4])
    issued = (
        (digits[0] == "4" and size in {13, 16, 19})  # Visa
        or (size == 16 and (51 <= two <= 55 or 2221 <= four <= 2720))  # Mastercard
        or (size == 15 and two in {34, 37})  # American Express
        or (size >= 14 and (two in {36, 38, 39} or 3000 <= four <= 3059))  # Diners Club
        or (size >= 16 and 3528 <= four <= 3589)  # JCB
        or (size >= 16 and (four == 6011 or two in {64, 65}))  # Discover
        or (size >= 16 and two in {60, 62, 81, 82})  # RuPay, UnionPay
        or (size >= 16 and 2200 <= four <= 2204)  # Mir
        or (four in {5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763})  # Maestro
    )
    return issued and checksums.luhn(digits) and len(set(digits)) > 1


def _day(digits: str) -> bool:
    """Six digits YYMMDD."""
    return 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) <= 31


def _ssn(digits: str) -> bool:
    """Social Security Administration, since 2011: areas 000, 666 and 900 up are not given out."""
    return (
        digits[0] != "9"
        and digits[:3] not in {"000", "666"}
        and digits[3:5] != "00"
        and digits[5:] != "0000"
    )


def _itin(digits: str) -> bool:
    """IRS: group 50 to 65, 70 to 88, 90 to 92, 94 to 99."""
    group = int(digits[3:5])
    return 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or group >= 94


def _nir(text: str) -> bool:
    """INSEE: 97 minus the number modulo 97; Corsica's 2A and 2B count as 19 and 18."""
    number = text[:13].upper().replace("2A", "19").replace("2B", "18")
    month = int(text[3:5])
    return (1 <= month <= 12 or month >= 20) and 97 - int(number) % 97 == int(text[13:])


def _cpf(digits: str) -> bool:
    """Receita Federal: two digits modulo 11."""
    one = weighted(digits, (10, 9, 8, 7, 6, 5, 4, 3, 2), 11)
    two = weighted(digits, (11, 10, 9, 8, 7, 6, 5, 4, 3, 2), 11)
    expected = f"{11 - one if one > 1 else 0}{11 - two if two > 1 else 0}"
    return digits[9:] == expected and len(set(digits)) > 1


def _belgian(digits: str) -> bool:
    """Rijksregister: 97 minus the first nine modulo 97, with a 2 before them for births from 2000."""
    born, check = int(digits[:9]), int(digits[9:])
    return check in {97 - born % 97, 97 - (born + 2_000_000_000) % 97}


def _aadhaar(digits: str) -> bool:
    years = all(digits[place : place + 2] in {"19", "20"} for place in (0, 4, 8))
    return not years and checksums.verhoeff(digits)


def _personnummer(digits: str) -> bool:
    """Skatteverket: date (a coordination number adds 60 to the day), Luhn over ten digits."""
    digits = digits[-10:]
    day = int(digits[4:6]) % 60
    return 1 <= int(digits[2:4]) <= 12 and 1 <= day <= 31 and checksums.luhn(digits)


def _rodne_cislo(digits: str) -> bool:
    month = int(digits[2:4]) % 50 % 20
    return 1 <= month <= 12 and 1 <= int(digits[4:6]) <= 31 and int(digits) % 11 == 0


def _ric(text: str) -> bool:
    return text[6:8] in {"19", "20"} and _day(text[8:14]) and checksums.mod11_2(text)


def dni(text: str) -> bool:
    """Spanish DNI, or NIE with its first letter as a digit: eight digits modulo 23 name the letter."""
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(text[:8]) % 23] == text[8].upper()


def _hetu(text: str) -> bool:
    date = text[4:6] + text[2:4] + text[:2]
    return _day(date) and checksums.hetu(text[:6] + text[-4:-1], text[-1])


def _steuer_id(digits: str) -> bool:
    """Bundeszentralamt für Steuern: among the first ten one digit comes twice or three times."""
    return len(set(digits[:10])) in {8, 9} and checksums.mod11_10(digits)


def _fodselsnummer(digits: str) -> bool:
    return (
        weighted(digits, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1), 11) == 0
        and weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1), 11) == 0
    )


def _tckn(digits: str) -> bool:
    odd, even = sum(map(int, digits[0:9:2])), sum(map(int, digits[1:8:2]))
    return (odd * 7 - even) % 10 == int(digits[9]) and (odd + even + int(digits[9])) % 10 == int(
        digits[10]
    )


def _nhs(digits: str) -> bool:
    return (11 - weighted(digits, (10, 9, 8, 7, 6, 5, 4, 3, 2), 11)) % 11 == int(digits[9])


def _nif(digits: str) -> bool:
    rest = weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2), 11)
    return (11 - rest if rest > 1 else 0) == int(digits[8])


def _zero(*weights: int, modulus: int = 11) -> Callable[[str], bool]:
    return lambda digits: weighted(digits, weights, modulus) == 0


_ROWS: list[tuple[range, Shape]] = []


def _shape(
    kind: str,
    sizes: tuple[int, int],
    expression: str,
    check: Callable[[str], bool],
    words: str = "",
) -> None:
    named = re.compile(rf"(?:{words})[^0-9\n]{{0,24}}\Z") if words else None
    shape = Shape(kind, re.compile(expression + END).match, check, named)
    _ROWS.append((range(sizes[0], sizes[1] + 1), shape))


_CARD = "payment_card"
_shape(_CARD, (12, 19), r"[2-6][0-9]{11,18}", _card)
_shape(_CARD, (4, 4), r"[2-6][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,4}(?:\1[0-9]{1,3})?", _card)
_shape(_CARD, (4, 4), r"3[0-9]{3}([ -])[0-9]{6}\1[0-9]{4,5}", _card)
_shape("us_ssn", (3, 3), r"[0-8][0-9]{2}([ -])[0-9]{2}\1[0-9]{4}", _ssn)
_shape("us_itin", (3, 3), r"9[0-9]{2}([ -])[0-9]{2}\1[0-9]{4}", _itin)
_shape("br_cpf", (3, 3), r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", _cpf)
_shape("ch_ahv", (3, 3), r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", checksums.ean13)
_shape("be_nn", (2, 2), r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", _belgian)
_shape("in_aadhaar", (4, 4), r"[2-9][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}(?![ -][0-9<])", _aadhaar)
_shape("kr_rrn", (6, 6), r"[0-9]{6}-[1-4][0-9]{6}", _day)
_shape("cz_rc", (6, 6), r"[0-9]{6}/[0-9]{4}", _rodne_cislo)
_shape("se_personnummer", (6, 6), r"[0-9]{6}[-+][0-9]{4}", _personnummer)
_shape("se_personnummer", (8, 8), r"(?:19|20)[0-9]{6}[-+][0-9]{4}", _personnummer)
_shape("fi_hetu", (6, 6), r"[0-3][0-9][01][0-9]{3}[-+A][0-9]{3}[0-9A-FHJ-NPR-Y]", _hetu)
_shape("es_dni", (8, 8), r"[0-9]{8}-?[A-HJ-NP-TV-Z]", dni)
_shape("cn_ric", (17, 18), r"[1-8][0-9]{16}[0-9Xx]", _ric)
_NIR = r"[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[ABab]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}"
_shape("fr_nir", (1, 1), _NIR, _nir)
_shape("fr_nir", (13, 15), _NIR, _nir)
_shape("fr_nir", (6, 6), _NIR, _nir)  # a Corsican one without spaces

_shape("us_ssn", (9, 9), r"[0-9]{9}", _ssn, r"\bssn\b|social security")
_shape("de_steuer_id", (11, 11), r"[1-9][0-9]{10}", _steuer_id, r"steuer|idnr|\btin\b|tax id")
_shape(
    "de_steuer_id", (2, 2), r"[1-9][0-9](?: [0-9]{3}){3}", _steuer_id, r"steuer|idnr|\btin\b|tax id"
)
_shape(
    "pl_pesel", (11, 11), r"[0-9]{11}", _zero(1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1, modulus=10), "pesel"
)
_BSN = _zero(9, 8, 7, 6, 5, 4, 3, 2, -1)
_shape("nl_bsn", (9, 9), r"[0-9]{9}", _BSN, r"\bbsn\b|burgerservice|sofinummer")
_shape(
    "nl_bsn", (4, 4), r"[0-9]{4}[. ][0-9]{2}[. ][0-9]{3}", _BSN, r"\bbsn\b|burgerservice|sofinummer"
)
_NAS = r"\bsin\b|social insurance|assurance sociale|\bnas\b"
_shape("ca_sin", (9, 9), r"[0-9]{9}", checksums.luhn, _NAS)
_shape("ca_sin", (3, 3), r"[0-9]{3}([ -])[0-9]{3}\1[0-9]{3}", checksums.luhn, _NAS)
_TFN = _zero(1, 4, 3, 7, 5, 8, 6, 9, 10)
_shape("au_tfn", (9, 9), r"[0-9]{9}", _TFN, r"\btfn\b|tax file")
_shape("au_tfn", (3, 3), r"[0-9]{3} [0-9]{3} [0-9]{3}", _TFN, r"\btfn\b|tax file")
_shape("uk_nhs", (10, 10), r"[0-9]{10}", _nhs, r"\bnhs\b")
_shape("uk_nhs", (3, 3), r"[0-9]{3} [0-9]{3} [0-9]{4}", _nhs, r"\bnhs\b")
_shape("br_cpf", (11, 11), r"[0-9]{11}", _cpf, r"\bcpf\b")
_shape("in_aadhaar", (12, 12), r"[2-9][0-9]{11}", checksums.verhoeff, r"aadha+r|uidai")
_shape("no_fnr", (11, 11), r"[0-9]{11}", _fodselsnummer, r"f(?:ø|o|oe)dselsn|personn|\bfnr\b")
_shape("no_fnr", (6, 6), r"[0-9]{6} [0-9]{5}", _fodselsnummer, r"f(?:ø|o|oe)dselsn|personn|\bfnr\b")
_CPR = r"[0-3][0-9][01][0-9]{3}-?[0-9]{4}"
_shape(
    "dk_cpr", (6, 6), _CPR, lambda digits: _day(digits[4:6] + digits[2:4] + digits[:2]), r"\bcpr\b"
)
_shape(
    "dk_cpr",
    (10, 10),
    _CPR,
    lambda digits: _day(digits[4:6] + digits[2:4] + digits[:2]),
    r"\bcpr\b",
)
_shape("pt_nif", (9, 9), r"[0-9]{9}", _nif, r"\bnif\b|contribuinte")
_shape("pt_nif", (3, 3), r"[0-9]{3} [0-9]{3} [0-9]{3}", _nif, r"\bnif\b|contribuinte")
_shape("tr_tckn", (11, 11), r"[1-9][0-9]{10}", _tckn, r"\bt\.?c\.?\b|tckn|kimlik")
_shape(
    "za_id",
    (13, 13),
    r"[0-9]{13}",
    lambda digits: _day(digits) and checksums.luhn(digits),
    r"\bid\b|identity",
)


def _by_size(*, named: bool) -> dict[int, tuple[Shape, ...]]:
    sizes = {size for sizes, _ in _ROWS for size in sizes}
    return {
        size: tuple(
            [
                shape
                for sizes, shape in _ROWS
                if size in sizes and (shape.words is not None) is named
            ]
        )
        for size in sizes
    }


PROVEN: dict[int, tuple[Shape, ...]] = _by_size(named=False)
"""Shapes that prove themselves, by the number of digits they begin with."""
NAMED: dict[int, tuple[Shape, ...]] = _by_size(named=True)
"""Shapes that must stand behind a word, likewise."""

# Total lengths: SWIFT, IBAN Registry, release 99.
IBAN_LENGTHS: dict[str, int] = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
