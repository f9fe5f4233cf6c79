"""Keys and tokens that say by their own shape what they are, and credentials beside a word.

Each expression begins with one literal character, so that `re` skips to it with `memchr`, and looks
back from there. Open repeats are possessive: no expression backtracks over what it has read.
"""

from __future__ import annotations

import re

from firedoor.privacy.kinds import Match

__all__ = ["find_tokens"]

_W = r"[A-Za-z0-9_\-]"
_A = r"[A-Za-z0-9]"


_CLASS = re.compile(r"\[[^]]*+\]")


def _alternatives(
    anchor: str, *shapes: tuple[str, str, str]
) -> tuple[re.Pattern[str], dict[str, tuple[str, int]]]:
    """One expression for all shapes behind one anchor, and how far each reaches back before it."""
    parts, kinds = [], {}
    for number, (kind, before, after) in enumerate(shapes):
        parts.append(f"(?P<k{number}>{f'(?<={before}{anchor})' if before else ''}{after})")
        kinds[f"k{number}"] = (kind, len(_CLASS.sub("x", before)))
    return re.compile(anchor + "(?:" + "|".join(parts) + ")"), kinds


_UNDERSCORE = _alternatives(
    "_",
    ("github_token", "gh[pousr]", _A + "{36,}+"),
    ("github_token", "github", "pat_[A-Za-z0-9_]{22,}+"),
    ("stripe_key", "[sprk]k", "(?:live|test|prod)_" + _A + "{10,}+"),
    ("stripe_key", "whsec", "[A-Za-z0-9+/=]{24,}+"),
    ("npm_token", "npm", _A + "{36}"),
    ("huggingface_token", "hf", _A + "{30,}+"),
    ("huggingface_token", "api", "org_" + _A + "{30,}+"),
    ("vendor_key", "gsk", _A + "{40,}+"),
    ("vendor_key", "r8", _A + "{37,}+"),
    ("vendor_key", "pcsk", "[A-Za-z0-9_]{40,}+"),
    ("vendor_key", "lsv2", "(?:pt|sk)_[0-9a-f]{32}[0-9a-f_]*+"),
    ("vendor_key", "do[por]", "v1_[a-f0-9]{64}"),
    ("vendor_key", "shp[ascp][ats]", "[a-fA-F0-9]{32}"),
    ("vendor_key", "glsa", _A + "{32}_[A-Fa-f0-9]{8}"),
    ("vendor_key", "dapi", "[a-f0-9]{32}"),
)
_HYPHEN = _alternatives(
    "-",
    ("private_key", "", r"----BEGIN[A-Z0-9 ]{0,32} PRIVATE KEY(?: BLOCK)?-----"),
    (
        "mac_address",
        "[0-9A-Fa-f][0-9A-Fa-f]",
        r"[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){4}(?![0-9A-Za-z\-])",
    ),
    ("anthropic_key", "sk", "ant-" + _W + "{20,}+"),
    ("openai_key", "sk", _W + "{16,}+"),
    ("vendor_key", "[ps]k", "lf-[0-9a-f\\-]{36}"),
    ("slack_token", "xox[abceoprs]", r"[A-Za-z0-9\-.]{10,}+"),
    ("slack_token", "xapp", r"[0-9]-[A-Za-z0-9\-]{10,}+"),
    ("gitlab_token", "gl[a-z][a-z][a-z]", _W + "{20,}+"),
    ("gitlab_token", "glrt", _W + "{20,}+"),
    ("pypi_token", "pypi", "AgE" + _W + "{40,}+"),
    ("gcp_oauth", "GOCSPX", _W + "{28}"),
    ("vendor_key", "nvapi", _W + "{60,}+"),
    ("vendor_key", "tvly", _W + "{20,}+"),
    ("vendor_key", "xai", _A + "{60,}+"),
    ("vendor_key", "key", "[0-9a-f]{32}(?![0-9a-f])"),
    ("vendor_key", "AGE", "SECRET-KEY-1[A-Z0-9]{58}"),
)
_CAPITAL_A = _alternatives(
    "A",
    ("aws_access_key", "", "(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}(?![A-Z0-9])"),
    ("gcp_api_key", "", "Iza" + _W + "{35}"),
    ("twilio_key", "", "C[0-9a-f]{32}(?![0-9A-Za-z])"),
)
_CAPITAL_S = re.compile(rf"S(?:G\.{_W}{{16,}}+\.{_W}{{30,}}+|K[0-9a-f]{{32}}(?![0-9A-Za-z]))")
_JWT = re.compile(rf"eyJ{_W}{{6,}}+(?P<rest>\.{_W}{{4,}}+(?:\.{_W}*+){{0,3}})?")
_YA29 = re.compile(rf"ya29\.{_W}{{20,}}+")
_BEARER = re.compile(r"earer {1,8}(?P<value>[A-Za-z0-9\-._~+/]{8,}+=*+)")
_BASIC = re.compile(r"asic {1,8}(?P<value>[A-Za-z0-9+/]{8,}+={0,2})(?![A-Za-z0-9])")

# A block that has its end, or what is left of one that was cut off: lines of base64.
_PEM_BODY = re.compile(
    r"(?:[^-]++|-(?!----))*+-----END[A-Z0-9 ]{0,40}-----"
    r"|(?:(?:\s|\\[nr])*+[A-Za-z0-9+/=]{16,}+)*+(?:(?:\s|\\[nr])++[A-Za-z0-9+/]{1,15}={0,2}(?=\s|\\|\"|$))?"
)


_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


def find_tokens(text: str, found: list[Match]) -> None:
    """Add the keys and tokens of `text` to `found`, in any order, possibly overlapping."""
    if "_" in text:
        _anchored(_UNDERSCORE, text, found)
    if "-" in text:
        _anchored(_HYPHEN, text, found)
    if "A" in text:
        _anchored(_CAPITAL_A, text, found)
    if "S" in text:
        for match in _CAPITAL_S.finditer(text):
            kind = "sendgrid_key" if text[match.start() + 1] == "G" else "twilio_key"
            found.append(Match(kind, *match.span()))
    if "eyJ" in text:
        found.extend([Match("jwt", *m.span()) for m in _JWT.finditer(text) if m["rest"]])
    if "ya29." in text:
        found.extend([Match("gcp_oauth", *match.span()) for match in _YA29.finditer(text)])
    if "earer " in text:
        values = [m for m in _BEARER.finditer(text) if not m["value"].isalpha()]
        found.extend([Match("authorization", *m.span("value")) for m in values])
    if "asic " in text:
        values = [
            m for m in _BASIC.finditer(text) if not m["value"].isalpha() or m["value"][-1] == "="
        ]
        found.extend([Match("authorization", *m.span("value")) for m in values])


def _anchored(
    expression: tuple[re.Pattern[str], dict[str, tuple[str, int]]], text: str, found: list[Match]
) -> None:
    pattern, kinds = expression
    for match in pattern.finditer(text):
        kind, before = kinds[match.lastgroup or ""]
        start, end = match.span()
        if kind == "private_key":
            body = _PEM_BODY.match(text, end)
            end = end if body is None else body.end()
        elif kind == "openai_key":
            if not _random(text[start:end]):
                continue
        elif kind == "mac_address" and text[start - 3 : start - 2] in _HEXADECIMAL:
            continue
        found.append(Match(kind, start - before, end))


def _random(token: str) -> bool:
    """Whether a token behind `sk-` is one: hyphenated words ("risk-adjusted-...") have no digits."""
    return not token.islower() and any(char.isdigit() for char in token)
