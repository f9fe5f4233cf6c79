"""The redactor: what every string passes before it leaves the process."""

from __future__ import annotations

import dataclasses
import re
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import blake2b
from typing import Protocol, TypeVar, cast

from firedoor.errors import ConfigurationError
from firedoor.privacy.engine import find_all, settle
from firedoor.privacy.folding import fold
from firedoor.privacy.kinds import PERSONAL_KINDS, SECRET_KINDS, Match
from firedoor.privacy.markers import FAILED, LIMIT, outside_markers
from firedoor.privacy.settling import BEHIND, open_from
from firedoor.privacy.walk import Walk

__all__ = ["FAILED", "Detector", "Pattern", "Redactor"]

T = TypeVar("T")

_SHORT = 256
_MEMO = 4096
_KINDS = SECRET_KINDS | PERSONAL_KINDS
_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")


_MOST_PASSES = 16
_APART = frozenset(["", *" \t\n\r\"'(),;<>[]{}"])


def _uncovers(text: str, matches: list[Match]) -> bool:
    """Whether a value may come to light once these are replaced.

    A card number that touches a key is none, as a number goes on or a word begins; when the key is
    a marker, it is one. Where only spaces and brackets touch nothing can change, unless digits stand
    before them: numbers may be written with spaces.
    """
    if "<" in text:
        return True
    for _, start, end in matches:
        if text[max(0, start - 1) : start] not in _APART:
            return True
        if text[max(0, start - 2) : start - 1].isdigit() and find_all(
            text[max(0, start - BEHIND) : start]
        ):
            return True
        after = text[end : end + 1]
        if after not in _APART and not (after in ".:?!" and text[end + 1 : end + 2] in _APART):
            return True
    return False


class Detector(Protocol):
    """Something that finds values of one kind."""

    @property
    def kind(self) -> str:
        """Lower-case name, as it stands in markers."""
        ...

    def find(self, text: str) -> Iterable[tuple[int, int]]:
        """The start and end of each value in `text`. May raise: then the whole text is hidden."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Pattern:
    """A detector from a regular expression.

    Attributes:
        kind: Lower-case name, as it stands in markers.
        pattern: What to hide; only the group `value` of it, if there is one.
        flags: Of `re`.
        max_length: Characters of the longest match. None: unknown, so a stream is held back whole.
    """

    kind: str
    pattern: str
    flags: int = 0
    max_length: int | None = None
    _compiled: re.Pattern[str] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise ConfigurationError(
                f"Pattern(kind={self.kind!r}): use lower-case letters, digits and underscores, at most 40"
            )
        try:
            compiled = re.compile(self.pattern, self.flags)
        except re.error as error:
            raise ConfigurationError(f"Pattern(pattern={self.pattern!r}): {error}") from None
        if compiled.match("") is not None:
            raise ConfigurationError(
                f"Pattern(pattern={self.pattern!r}) matches the empty text: ask for at least one character"
            )
        object.__setattr__(self, "_compiled", compiled)

    def find(self, text: str) -> Iterable[tuple[int, int]]:
        """The spans of the expression, or of its group `value`."""
        group = "value" if "value" in self._compiled.groupindex else 0
        for match in self._compiled.finditer(text):
            yield match.span(group)


class Redactor:
    """Replaces what tells of a person or opens a door by a marker such as `<email:7f3a09c1>`.

    Attributes:
        kinds: What it looks for.
        keyed: It was given a key, and did not make one of its own.

    Args:
        detectors: Kinds to look for (see `SECRET_KINDS`, `PERSONAL_KINDS`). None: all.
        key: Secret that markers are made with, 16 bytes or more. Processes that share it give the
            same value the same marker. None: random; a door shares one with those of its state.
        extra: Detectors of your own: `Pattern`s, or anything with `kind` and `find(text)`.
        on_error: Called with the exception of a detector that failed.
        max_depth: Nesting beyond which a value is replaced as a whole.
        max_items: Values in one structure beyond which the rest is replaced.
        max_text: Characters (or bytes) beyond which a text is replaced as a whole.
    """

    def __init__(
        self,
        detectors: Iterable[str] | None = None,
        *,
        key: bytes | None = None,
        extra: Iterable[Detector] = (),
        on_error: Callable[[BaseException], object] | None = None,
        max_depth: int = 64,
        max_items: int = 100_000,
        max_text: int = 64 * 1024 * 1024,
    ) -> None:
        kinds = _KINDS if detectors is None else frozenset(detectors)
        unknown = kinds - _KINDS
        if unknown:
            raise ConfigurationError(
                f"Redactor(detectors=...): no detector for {', '.join(sorted(map(repr, unknown)))}; "
                f"there are {', '.join(sorted(_KINDS))}; detectors of your own go into extra="
            )
        if key is not None and len(key) < 16:
            raise ConfigurationError(f"Redactor(key=<{len(key)} bytes>): use 16 bytes or more")
        self.kinds: frozenset[str] = kinds
        self.keyed = key is not None
        self._all = kinds == _KINDS
        self._extra = tuple(extra)
        self._key = _made_of(key or secrets.token_bytes(32))
        self._on_error = on_error
        self._max_depth = max_depth
        self._max_items = max_items
        self._max_text = max_text
        self._clean: set[str] = set()

    def share(self, key: bytes) -> None:
        """Make markers with this secret from now on, unless it was given one of its own."""
        if not self.keyed:
            self._key = _made_of(key)

    def scan(self, text: str) -> list[Match]:
        """What is found in `text`, in order and apart.

        Raises:
            Exception: What a detector of `extra` raised.
        """
        folded = None if text.isascii() and "\\u00" not in text else fold(text)
        found = find_all(text) if folded is None else folded.restore(find_all(folded.text))
        if found and not self._all:
            found = [match for match in found if match.kind in self.kinds]
        for detector in self._extra:
            found.extend([Match(detector.kind, a, b) for a, b in detector.find(text) if b > a])
        if not found:
            return found
        if "<" in text:
            found = outside_markers(text, found)
            if not found:
                return found
        return settle(found)

    def settled(self, text: str) -> tuple[list[Match], int]:
        """What is found in the settled part of a text that still grows, and where that part ends.

        Whatever text may follow, these findings stay and no other comes to lie before the position.
        When a later part is scanned without the earlier one, `BEHIND` characters before the position
        must be kept in front of it. At the end of the text, `scan` says the rest.

        Holds for values up to `LONGEST` characters; of a longer one (a key block without an end)
        the front is let go.
        """
        matches = self.scan(text)
        position = open_from(text)
        for detector in self._extra:
            longest = getattr(detector, "max_length", None)
            position = 0 if longest is None else min(position, max(0, len(text) - longest))
        while matches and matches[-1].end > position:
            position = min(position, matches.pop().start)
        return matches, position

    def redact_text(self, text: str, found: dict[str, int] | None = None) -> str:
        """`text` with a marker in the place of each finding, counted by kind in `found`. Never raises."""
        if text in self._clean:
            return text
        try:
            matches = self.scan(text) if len(text) <= self._max_text else None
            if not matches:
                if matches is None:
                    return LIMIT
                if len(text) <= _SHORT:
                    if len(self._clean) >= _MEMO:
                        self._clean = set()
                    self._clean.add(text)
                return text
            for _ in range(_MOST_PASSES):
                again = _uncovers(text, matches)
                text = self._replace(text, matches, found)
                matches = self.scan(text) if again else []
                if not matches:
                    return text
            raise RuntimeError("a detector finds something in every replacement")
        except Exception as error:
            self._failed(error)
            return FAILED

    def _replace(self, text: str, matches: list[Match], found: dict[str, int] | None) -> str:
        parts = []
        at = 0
        for kind, start, end in matches:
            if found is not None:
                found[kind] = found.get(kind, 0) + 1
            parts.append(text[at:start])
            parts.append(self.token(text[start:end], kind))
            at = end
        parts.append(text[at:])
        return "".join(parts)

    def token(self, value: str, kind: str = "user") -> str:
        """A marker for `value`: the same for the same value, kind and key."""
        return f"<{kind}:{self.digest(value, kind)}>"

    def digest(self, value: str, kind: str, *, size: int = 4) -> str:
        """`size` bytes of a keyed hash of `value`, in hexadecimal.

        BLAKE2b with a key is a message authentication code as HMAC is (RFC 7693 section 2.9), at a
        third of the cost.
        """
        data = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        return blake2b(data, key=self._key, digest_size=size).hexdigest()

    def redact(self, value: T, found: dict[str, int] | None = None) -> T:
        """`value` in the same shape, with a marker in the place of each finding. Never raises.

        Text in mappings (keys too), lists, tuples, sets, bytes and dataclasses is looked at; a
        number is, where its digits are those of a card. The value of a key that says `password` or
        the like is replaced as a whole. What cannot be looked at (an unknown object, a cycle, more
        than the limits) is replaced, never passed on.
        """
        if isinstance(value, str) and type(value) is str:
            return cast("T", self.redact_text(value, found))
        try:
            walk = Walk(self, found, self._max_depth, self._max_items, self._max_text)
            return cast("T", walk.visit(value))
        except Exception as error:
            self._failed(error)
            return cast("T", FAILED)

    def _failed(self, error: BaseException) -> None:
        if self._on_error is not None:
            with suppress(Exception):  # counting a failure must not become one
                self._on_error(error)


def _made_of(secret: bytes) -> bytes:
    return blake2b(secret, person=b"firedoor", digest_size=32).digest()
