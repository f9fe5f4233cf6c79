"""Numbers that name somebody: cards, accounts, telephones, national identifiers.

One pass of C code finds runs of digits and separators; whatever is precise runs only there. A
number counts by its check digits; where those are weak (one in ten passes by chance) or missing,
only beside a word that says what it is.
"""

from __future__ import annotations

import re

from firedoor.privacy import checksums
from firedoor.privacy.identifiers import END, IBAN_LENGTHS, NAMED, PROVEN, dni
from firedoor.privacy.kinds import Match
from firedoor.privacy.network import find_ipv4

__all__ = ["find_numbers"]

# Runs start with a digit, so that `re` skips to it; the possessive class never backtracks. Six
# digits alone are only the middle of a national insurance number. Codice fiscale is the one shape
# whose digits stand apart.
_RUN = re.compile(
    r"[0-9](?:[0-9 .\-()/]{6,}+|[0-9]{5}(?=[A-D])"
    r"|(?<=[A-Z]{6}[0-9])[0-9LMNPQRSTUV][ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]"
    r"(?![A-Za-z0-9]))"
)
_GROUP = re.compile(r"[0-9]++")
_SEPARATORS = str.maketrans("", "", " -./()+")
_WORDS = 48
"""Characters before a number in which its name is looked for."""


def find_numbers(text: str, found: list[Match]) -> None:
    """Add what the numbers of `text` are to `found`, in any order, possibly overlapping."""
    for run in _RUN.finditer(text):
        start, end = run.span()
        written = run[0]
        if written.count(".") > 2 and find_ipv4(text, start, end, found):
            continue
        digits = len(written.encode().translate(None, b" -./()"))
        if digits > 6:
            if text[end - 1] > "9":
                _codice_fiscale(text, start - 6, end, found)
            else:
                _in_run(text, start, end, found)
        elif digits == 6:
            group = _GROUP.match(text, start)
            match = None if group is None else _beside_letter(text, start, group.end() - start)
            if match is not None:
                found.append(match)


def _codice_fiscale(text: str, start: int, end: int, found: list[Match]) -> None:
    if checksums.codice_fiscale(text[start:end]):
        found.append(Match("it_codice_fiscale", start, end))


def _in_run(text: str, start: int, end: int, found: list[Match]) -> None:
    # The head of an IBAN stands right before the run, or before letters of a bank (GB29 NWBK 6016).
    near = text[start - 1] if start else " "
    far = text[start - 2] if start > 1 else " "
    done = 0
    if near.isalpha() or (near in " -" and (far.isupper() or far.isdigit())):
        done = _iban(text, max(0, start - 14), end, found)
    for group in _GROUP.finditer(text, start, end):
        at = group.start()
        if at >= done:
            match = _at(text, at, group.end() - at)
            if match is not None:
                found.append(match)
                done = match[2]


_IBAN_HEAD = re.compile(r"(?:(?<![A-Za-z0-9])[A-Za-z]{2}|(?<![A-Z0-9])[A-Z]{2})[0-9]{2}")
_IBAN_BODY = re.compile(r"(?:[ -]?[A-Za-z0-9]){11,30}")


def _iban(text: str, start: int, end: int, found: list[Match]) -> int:
    """IBANs that begin in a stretch of text; where the last of them ends."""
    done = 0
    for head in _IBAN_HEAD.finditer(text, start, end):
        size = IBAN_LENGTHS.get(head[0][:2].upper())
        if size is None or head.start() < done:
            continue
        body = _IBAN_BODY.match(text, head.end())
        if body is None:
            continue
        first, last = head.start(), _after(text, head.end(), body.end(), size - 4)
        if last and not text[last : last + 1].isalnum():
            compact = text[first:last].translate(_SEPARATORS).upper()
            if checksums.iban(compact):
                found.append(Match("iban", first, last))
                done = last
    return done


def _after(text: str, start: int, end: int, count: int) -> int:
    """Where `count` letters or digits from `start` end, separators not counted; 0 if there are fewer."""
    if text[start : start + count].isalnum():
        return start + count if start + count <= end else 0
    for at in range(start, end):
        if text[at] not in " -":
            count -= 1
            if not count:
                return at + 1
    return 0


# ITU-T E.164: at most 15 digits, behind a country code that is assigned (list of 2016).
_COUNTRY = (
    r"(?=1|7|2(?:0|7|1[1-368]|[2-69][0-9])|3(?:[0-469]|[57][0-9]|8[0-79])|4(?:[013-9]|2[013])"
    r"|5(?:[1-8]|[09][0-9])|6(?:[0-6]|[78][0-9]|9[0-2])|8(?:[1246]|0[08]|5[02-6]|7[0-9]|8[0-8])"
    r"|9(?:[0-58]|6[0-8]|7[0-9]|9[2-8]))"
)
_INTERNATIONAL = re.compile(
    _COUNTRY + r"(?:(?!1)[2-9][0-9]{7,14}|1[2-9][0-9]{9})(?![0-9A-Za-z]|[.:][0-9])"
    r"|1[ .\-]?\(?[2-9][0-9]{2}\)?[ .\-]?[0-9]{3}[ .\-]?[0-9]{4}(?![0-9])"
    rf"|{_COUNTRY}[1-9][0-9]{{0,2}}(?:[ .\-/]?\(?[0-9]{{1,5}}\)?){{2,6}}(?<=[0-9)]{{2}})(?![0-9A-Za-z]|[.:][0-9])"
)
# North American Numbering Plan: area and exchange begin with 2 to 9. Then France, then Britain,
# Germany and others with a trunk 0, then the international prefix 00.
_NATIONAL = re.compile(
    r"(?:(?:1[ .\-])?\(?[2-9][0-9]{2}(?:\)[ .\-]?|[ .\-])[2-9][0-9]{2}[ .\-][0-9]{4}"
    r"|\(?0[1-9]([ .\-])[0-9]{2}(?:\1[0-9]{2}){3}"
    r"|\(?0[1-9][0-9]{1,3}(?:\)[ \-/]?|[ \-/])[0-9]{3,4}[ \-]?[0-9]{3,5}"
    r"|00[1-9][0-9]{0,2}(?:[ .\-/]\(?[0-9]{1,7}\)?){2,6})" + END
)
_TELEPHONE_PARTS = (
    "phone",
    "tel",
    "mob",
    "cell",
    "call",
    "fax",
    "whats",
    "sms",
    "handy",
    "fon",
    "vil",
    "ring",
    "text",
    "dial",
)
_LOOSE = re.compile(r"\(?[0-9](?:[ .\-/()]{0,2}[0-9]){6,14}" + END)
_TELEPHONE = re.compile(
    r"(?:phone|\btel|\bmobil|\bcell|\bcall|\bfax|whatsapp|\bsms\b|\bhandy|t[ée]l[ée]fon|m[óo]vil|\bring\b|"
    r"\btext me|\bdial)[^0-9\n]{0,16}\Z"
)


def _at(text: str, at: int, size: int) -> Match | None:
    """What begins at the `size` digits at `at`."""
    before = text[at - 1] if at else " "
    if before in "+(":
        international = _international(text, at)
        if international is not None:
            return international
    elif before in "-." and text[at - 2 : at - 1].isdigit():
        return None
    for kind, shape, check, _ in PROVEN.get(size, ()):
        match = shape(text, at)
        if match is not None and check(match[0].translate(_SEPARATORS)):
            if before.isalnum() and not before.islower() and size > 8:
                return None
            return Match(kind, at, match.end())
    if size in {2, 6, 7}:
        lettered = _beside_letter(text, at, size)
        if lettered is not None:
            return lettered
    if before.isalnum() or before in "_$€£#":
        return None
    opened = at - (before == "(")
    named = _named(text, at, size)
    if named is not None:
        return named
    phone = _NATIONAL.match(text, opened)
    if phone is not None and 9 <= len(phone[0].translate(_SEPARATORS)) <= 15:
        return Match("phone", opened, phone.end())
    return _beside_word(text, at, opened) if size > 1 or before == "(" else None


def _international(text: str, at: int) -> Match | None:
    first = at - 1 if text[at - 1] == "+" else at - 2
    if first < 0 or text[first] != "+":
        return None
    phone = _INTERNATIONAL.match(text, at)
    if phone is None:
        return None
    written = phone[0]
    while len(written.translate(_SEPARATORS)) > 15:
        # The next number stands too near: leave out the last group.
        written = written.rstrip("0123456789").rstrip(" .-/()")
    if len(written.translate(_SEPARATORS)) < 8:
        return None
    if written.isdigit() and text[first - 1 : first].isalnum():
        return None  # base64, or a sum
    return Match("phone", first, at + len(written))


# HMRC: neither letter is D F I Q U V, the second not O; these prefixes are never issued.
_NINO = re.compile(r"[0-9]{2}([ -]?)[0-9]{2}\1[0-9]{2}[ -]?[A-D](?![A-Za-z0-9])")
_NINO_PREFIX = re.compile(
    r"(?<![A-Z0-9])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?\Z"
)
_PREFIXED = re.compile(r"[0-9]{7}-?[A-Z](?![A-Za-z0-9])")


def _beside_letter(text: str, at: int, size: int) -> Match | None:
    """Identifiers that begin with letters: UK national insurance, Spanish NIE, Singapore NRIC."""
    if size != 7:
        nino = _NINO.match(text, at)
        prefix = None if nino is None else _NINO_PREFIX.search(text, max(0, at - 4), at)
        if nino is None or prefix is None:
            return None
        return Match("uk_nino", prefix.start(), nino.end())
    first = at - 2 if text[at - 1 : at] == "-" else at - 1
    if first < 0 or text[first] not in "XYZSTFGM" or text[first - 1 : first].isupper():
        return None
    match = _PREFIXED.match(text, at)
    if match is None:
        return None
    code = text[first : match.end()].replace("-", "")
    if code[0] in "XYZ":
        return (
            Match("es_nie", first, match.end())
            if dni(f"{'XYZ'.index(code[0])}{code[1:]}")
            else None
        )
    return Match("sg_nric", first, match.end()) if checksums.nric(code) else None


def _named(text: str, at: int, size: int) -> Match | None:
    """Identifiers that count only behind their name."""
    for kind, shape, check, words in NAMED.get(size, ()):
        match = shape(text, at)
        if (
            match is not None
            and words is not None
            and check(match[0].translate(_SEPARATORS))
            and words.search(text[max(0, at - _WORDS) : at].lower())
        ):
            return Match(kind, at, match.end())
    return None


def _beside_word(text: str, at: int, opened: int) -> Match | None:
    """Numbers that are a telephone's because a word before them says so."""
    loose = _LOOSE.match(text, opened)
    if loose is None:
        return None
    words = text[max(0, at - _WORDS) : opened].lower()
    # Substrings first: a search of the expression costs more than all of them.
    if any(part in words for part in _TELEPHONE_PARTS) and _TELEPHONE.search(words):
        return Match("phone", opened, loose.end())
    return None
