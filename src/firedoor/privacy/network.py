"""What stands around `@`, `:` and `=`: addresses, credentials in URLs, values beside a key word."""

from __future__ import annotations

import re
from typing import Literal

from firedoor.privacy.kinds import Match
from firedoor.privacy.markers import MARKER

__all__ = [
    "credible",
    "find_assigned",
    "find_emails",
    "find_ipv4",
    "names_secret",
    "secret_name",
]

_LOCAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.!#$%&'*+/=?^_`{|}~-"
_DOMAIN = re.compile(r"@(?:[\w\-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w\-])")
_UNICODE_LOCAL = re.compile(r"[!#$%&'*+/=?^_`{|}~.\-\w]{1,64}+")


def find_emails(text: str, found: list[Match]) -> None:
    """Add e-mail addresses (RFC 5321, without quoted local parts; any script) to `found`."""
    for match in _DOMAIN.finditer(text):
        at = match.start()
        chunk = text[max(0, at - 64) : at]
        local = len(chunk) - len(chunk.rstrip(_LOCAL))
        if local < len(chunk) and not chunk.isascii():
            wide = _UNICODE_LOCAL.match(chunk[::-1])
            local = 0 if wide is None else wide.end()
        outer = chunk[: len(chunk) - local]
        if outer.endswith(":") and "://" in outer:
            continue  # a password: the credentials of the URL are hidden as such
        name = chunk[len(chunk) - local :].lstrip(".!#$%&'*+/=?^`{|}~-")
        if name and not (name == "git" and text[match.end() : match.end() + 1] == ":"):
            found.append(Match("email", at - len(name), match.end()))


_IPV4 = re.compile(
    r"(?<![0-9.])(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
    r"(?:\.(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}(?![0-9]|\.[0-9]|[A-Za-z_])"
)
_HARMLESS = ("127.", "0.", "255.")


def find_ipv4(text: str, start: int, end: int, found: list[Match]) -> bool:
    """Add the IPv4 addresses of a run of digits and separators, except those that name no host.

    Returns:
        Whether an address is all there is in the run.
    """
    alone = False
    for match in _IPV4.finditer(text, start, end):
        first, last = match.span()
        alone = first == start and last >= end - 1
        if match[0].startswith(_HARMLESS):
            continue
        before = text[max(0, first - 2) : first]
        # A version: v1.2.3.4, Chrome/120.0.0.0.
        product = before[-1:] == "/" and before[:1].isalpha() and match[0].endswith(".0")
        if not product and before[-1:] not in {"v", "V"}:
            found.append(Match("ipv4", first, last))
    return alone


_COLON = re.compile(
    r":(?:"
    r"(?P<ipv6>(?<=[23fF][0-9A-Fa-f]{3}:)[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{0,34})"
    r"|(?P<mac>(?<=[0-9A-Fa-f]{2}:)[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){4}(?![0-9A-Fa-f:]))"
    r"|\\?/\\?/(?:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/webhooks)/(?P<webhook>[\w/\-]{20,}+)"
    r"|\\?/\\?/(?P<login>[^\s/@:<>\"']{0,128}:[^\s/@<>\"']{1,256})@"
    r"|(?=(?P<value>\s{0,3}[\"'\\]{0,3}[^\s\"'\\<>,;:]))"
    r")"
)
_EQUALS = re.compile(r"=(?=\s{0,3}[\"'\\]{0,3}[^\s\"'\\<>,;=&])")
# To the closing quote; without one, to a space or a separator (`&` only where a parameter follows).
_VALUE = re.compile(
    r"\s{0,3}(?:(?P<quote>\\{0,3}[\"'])(?P<quoted>[^\"'\n]++)"
    r"|(?P<bare>(?:[^\s\"'<>,;&]|&(?![\w.\-]{1,40}=))++))"
)


def find_assigned(text: str, found: list[Match]) -> None:
    """Add what follows a colon or an equals sign and must be hidden."""
    if ":" in text:
        done = 0
        for match in _COLON.finditer(text):
            start, end = match.span()
            match match.lastgroup:
                case "ipv6":
                    _ipv6(text, start - 4, end, found)
                case "mac":
                    if text[start - 3 : start - 2] != ":":
                        found.append(Match("mac_address", start - 2, end))
                case "webhook":
                    found.append(Match("webhook_url", *match.span("webhook")))
                case "login":
                    found.append(Match("url_credentials", *match.span("login")))
                case _:
                    done = _value(text, start, done, found)
    if "=" in text:
        done = 0
        for match in _EQUALS.finditer(text):
            done = _value(text, match.start(), done, found)


def _ipv6(text: str, start: int, end: int, found: list[Match]) -> None:
    address = text[start:end]
    if address.endswith(":") and not address.endswith("::"):
        address = address[:-1]
    halves = address.split("::")
    groups = [group for half in halves if half for group in half.split(":")]
    # RFC 4291 section 2.2: eight groups of up to four digits, one run of zeros left out.
    whole = len(groups) == 8 if len(halves) == 1 else len(halves) == 2 and len(groups) < 8
    if whole and all(0 < len(group) < 5 for group in groups):
        found.append(Match("ipv6", start, start + len(address)))


_WORD = re.compile(r"[\w.]++")
_CALL = re.compile(r"[A-Za-z_][\w.]*+[(\[]|[(\[]")
_TEMPLATE = re.compile(r"\$?\{|<|\*++\Z|%[({s]")
_EXPRESSION = re.compile(
    r"\s{0,3}(?:[A-Za-z_][\w.]*+[(\[]|\$[{(]|\$[A-Z_]{2,}+(?!\w)|%[({s]|[{*(<\[])"
)
_LONG = 256
_CERTAIN = (
    "password", "passwd", "pwd", "passphrase", "passcode", "secret", "secretkey", "secretaccesskey",
    "apikey", "accesskey", "privatekey", "accesstoken", "refreshtoken", "authtoken", "bearertoken",
    "idtoken", "sessiontoken", "clientsecret", "accountkey", "sharedaccesskey", "authkey",
    "encryptionkey", "signingkey", "connectionstring", "credentials",
)  # fmt: skip
_LIKELY = (
    "token",
    "authorization",
    "auth",
    "cookie",
    "credential",
    "sig",
    "signature",
    "session",
    "sessionid",
    "pass",
)
_NAMES = _CERTAIN + _LIKELY
_SPLIT = str.maketrans("", "", "_- .")
_TRIM = "\"'\\ \t])"
_PLACEHOLDERS = frozenset(
    [
        "none",
        "null",
        "true",
        "false",
        "string",
        "str",
        "required",
        "optional",
        "undefined",
        "redacted",
        "hidden",
        "example",
        "changeme",
        "password",
        "secret",
        "token",
        "xxxx",
        "bytes",
        "object",
        "secretstr",
        "your_api_key",
    ]
)


def secret_name(name: str) -> Literal["certain", "likely"] | None:
    """How surely a name says that its value must be hidden: `certain` whatever the value looks like."""
    bare = name.translate(_SPLIT).lower()
    if not bare.endswith(_NAMES):
        return None
    return "certain" if bare.endswith(_CERTAIN) else "likely"


def names_secret(text: str, anchor: int) -> bool:
    """Whether the word before the sign at `anchor` says that a secret follows."""
    return _name_before(text, anchor).endswith(_NAMES)


def _name_before(text: str, anchor: int) -> str:
    return text[max(0, anchor - 40) : anchor].rstrip(_TRIM).translate(_SPLIT).lower()


def _value(text: str, anchor: int, done: int, found: list[Match]) -> int:
    """The value behind the sign at `anchor`; where it ends. Nothing is read twice: `done` is behind it."""
    if anchor < done:
        return done
    name = _name_before(text, anchor)
    if not name.endswith(_NAMES):
        return done
    if _EXPRESSION.match(text, anchor + 1) is not None:
        return done
    match = _VALUE.match(text, anchor + 1)
    if match is None:
        return done
    quoted = match["quote"] is not None
    group = "quoted" if quoted else "bare"
    value = match[group].rstrip("\\") if quoted else match[group].rstrip("\\.:)]}")
    start = match.start(group)
    judged = MARKER.sub("", value) if "<" in value else value
    if credible(judged, certain=name.endswith(_CERTAIN), quoted=quoted):
        found.append(Match("secret", start, start + len(value)))
        return match.end()
    # Another key word may stand in what was none; but nothing long is read twice.
    word = _WORD.match(text, start)
    return match.end() if len(value) > _LONG else done if word is None else word.end()


def credible(value: str, *, certain: bool, quoted: bool) -> bool:
    """Whether a value beside a key word is the secret itself: not a type, a variable or a blank."""
    if len(value) < 4 or value.lower() in _PLACEHOLDERS or _TEMPLATE.match(value) is not None:
        return False
    if not quoted and _CALL.match(value) is not None:
        return False
    digits = any(char.isdigit() for char in value)
    letters = any(char.isalpha() for char in value)
    if certain:
        return quoted or digits or not value.replace("_", "").replace(".", "").isalnum()
    return len(value) >= 12 and digits and letters and (not value.islower() or len(value) >= 20)
