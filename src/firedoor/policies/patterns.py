r"""What a regular expression can reach, and what it may still become.

A stream may be cut anywhere, so a filter must know of every position whether the text it has
already settles that no match begins there. Two answers, both from the parsed pattern:

* `Reach`: how many characters from a match's start can have a say in it (longest match plus
  lookahead), and how many before it (lookbehind, `\b`, `^`). A position with that much text after
  it is settled.
* `pending`: a second pattern, made by letting each atom also match *nothing at the end of the
  text*. It matches exactly where a path through the pattern runs into the end, so a position
  where it does not match is settled however little text follows. Text is held back only where it
  could still become a match, not for the width of the pattern.

The idea of the second pattern is that of partial matching (PCRE2's `PCRE2_PARTIAL_HARD`, the
`regex` package's `partial=True`), which `re` lacks. Both answers err to the safe side: they may
call a settled position open, never an open one settled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf
from re import _compiler, _constants, _parser  # type: ignore[attr-defined]
from typing import Any

from firedoor.errors import ConfigurationError

__all__ = ["BoundedPattern", "Reach", "bounded_pattern"]

_C: Any = _constants
_Tree: Any = _parser.SubPattern
_REPEATS = (_C.MAX_REPEAT, _C.MIN_REPEAT, _C.POSSESSIVE_REPEAT)
_UNBOUNDED: int = _C.MAXREPEAT
_AT_END: Any = (_C.AT, _C.AT_END_STRING)
_ANYTHING: Any = (_C.IN, [(_C.CATEGORY, _C.CATEGORY_SPACE), (_C.CATEGORY, _C.CATEGORY_NOT_SPACE)])
_BOUNDARIES = (_C.AT_BOUNDARY, _C.AT_NON_BOUNDARY)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far from its start a match can be decided, in characters; `inf` where nothing bounds it.

    Attributes:
        least: Characters of the shortest match.
        most: Characters of the longest match.
        behind: Characters before the start that may be looked at.
        ahead: Characters after the end that may be looked at. The end of the text counts as one.
    """

    least: float
    most: float
    behind: float
    ahead: float


@dataclass(frozen=True, slots=True)
class BoundedPattern:
    """A compiled pattern with what a stream needs to know of it.

    Attributes:
        match: The pattern itself, with open repeats capped where a cap was given.
        pending: Matches where a match may begin whose fate depends on text not yet seen.
        reach: Text from the start of a match after which it is settled; None for no bound.
        behind: Text before a position that must be kept to judge it.
    """

    match: re.Pattern[str]
    pending: re.Pattern[str]
    reach: int | None
    behind: int


def bounded_pattern(
    pattern: str, *, flags: int = 0, max_length: int | None = None, must_end: bool = True
) -> BoundedPattern:
    """Parse and compile `pattern` for searching in text that arrives in pieces.

    Args:
        pattern: In the syntax of `re`.
        flags: Of `re`.
        max_length: Characters that a repeat without an upper bound (`+`, `*`, `{n,}`) may take.
            The cap is part of the pattern's meaning: whole texts are searched with it too.
        must_end: Whether an unbounded pattern is a mistake (it is where streams are filtered).

    Raises:
        ConfigurationError: If the pattern does not parse, can match the empty string, looks
            arbitrarily far ahead, or has no bound though `must_end` asks for one.
    """
    try:
        tree: Any = _parser.parse(pattern, flags)
        re.compile(pattern, flags)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigurationError(
            f"pattern={pattern!r} is not a regular expression: {error}"
        ) from None
    multiline = bool(tree.state.flags & re.MULTILINE)
    if max_length is not None:
        tree = _cap(tree, max_length)
    reach = _reach(tree, multiline=multiline)
    if reach.least == 0:
        raise ConfigurationError(
            f"pattern={pattern!r} can match the empty string, which is in every text: "
            "make it ask for at least one character"
        )
    if must_end and reach.most == inf:
        raise ConfigurationError(
            f"pattern={pattern!r} has no longest match, so a stream could be held back for ever: "
            "bound its repeats ({1,200} for +) or give max_length="
        )
    if must_end and reach.ahead == inf:
        raise ConfigurationError(
            f"pattern={pattern!r} looks ahead without a bound, so a stream could be held back for "
            "ever: bound the repeat in its lookahead or give max_length="
        )
    total = reach.most + reach.ahead
    end = _Tree(tree.state, [_AT_END])
    opening = [*_open(tree, multiline=multiline, head=True), *end]
    return BoundedPattern(
        match=_compiler.compile(tree, flags),
        pending=_compiler.compile(_Tree(tree.state, opening), flags),
        reach=None if total == inf else int(total),
        behind=0 if reach.behind == inf else int(reach.behind),
    )


def _cap(tree: Any, most: int) -> Any:
    """`tree` with every open repeat limited to what fits into `most` characters."""
    return _Tree(tree.state, [_cap_node(op, value, most) for op, value in tree])


def _cap_node(op: Any, value: Any, most: int) -> tuple[Any, Any]:
    if op in _REPEATS:
        low, high, body = value
        body = _cap(body, most)
        if high == _UNBOUNDED:
            per_turn = max(1, body.getwidth()[0])
            high = max(low, 1, most // per_turn)
        return op, (low, high, body)
    if op is _C.SUBPATTERN:
        group, add, remove, body = value
        return op, (group, add, remove, _cap(body, most))
    if op is _C.ATOMIC_GROUP:
        return op, _cap(value, most)
    if op is _C.BRANCH:
        return op, (None, [_cap(branch, most) for branch in value[1]])
    if op is _C.GROUPREF_EXISTS:
        group, yes, no = value
        return op, (group, _cap(yes, most), None if no is None else _cap(no, most))
    if op in (_C.ASSERT, _C.ASSERT_NOT) and value[0] > 0:
        return op, (value[0], _cap(value[1], most))
    return op, value


def _reach(tree: Any, *, multiline: bool, groups: dict[int, Reach] | None = None) -> Reach:
    """The reach of a sequence. Looking around counts from the far ends, which errs to the safe side."""
    groups = {} if groups is None else groups
    least = most = behind = ahead = 0.0
    for op, value in tree:
        one = _reach_node(op, value, multiline, groups)
        least, most = least + one.least, most + one.most
        behind, ahead = max(behind, one.behind), max(ahead, one.ahead)
    return Reach(least, most, behind, ahead)


def _reach_node(op: Any, value: Any, multiline: bool, groups: dict[int, Reach]) -> Reach:  # noqa: FBT001
    def inner(tree: Any, multiline: bool = multiline) -> Reach:  # noqa: FBT001
        return _reach(tree, multiline=multiline, groups=groups)

    if op in _REPEATS:
        low, high, body = value
        one = inner(body)
        most = 0.0 if one.most == 0 else inf if high == _UNBOUNDED else high * one.most
        return Reach(low * one.least, most, one.behind, one.ahead)
    if op is _C.SUBPATTERN:
        group, add, remove, body = value
        one = inner(body, (multiline or bool(add & re.MULTILINE)) and not remove & re.MULTILINE)
        if group is not None:
            groups[group] = one
        return one
    if op is _C.ATOMIC_GROUP:
        return inner(value)
    if op is _C.BRANCH:
        return _widest([inner(branch) for branch in value[1]])
    if op is _C.GROUPREF_EXISTS:
        _, yes, no = value
        return _widest([inner(yes), Reach(0, 0, 0, 0) if no is None else inner(no)])
    if op is _C.GROUPREF:
        # A group may be empty or come from an earlier turn of a loop: only its longest is sure.
        one = groups.get(value, Reach(0, inf, 0, 0))
        return Reach(0, one.most, 0, 0)
    if op in (_C.ASSERT, _C.ASSERT_NOT):
        direction, body = value
        one = inner(body)
        if direction < 0:
            return Reach(0, 0, one.most + one.behind, one.ahead)
        return Reach(0, 0, one.behind, max(1, one.most + one.ahead))
    if op is _C.FAILURE:
        return Reach(0, 0, 0, 0)
    if op is _C.AT:
        return _reach_at(value, multiline=multiline)
    return Reach(1, 1, 0, 0)


def _reach_at(where: Any, *, multiline: bool) -> Reach:
    if where in _BOUNDARIES:
        return Reach(0, 0, 1, 1)
    if where is _C.AT_END:
        # `$` also matches before a newline that ends the text: two characters decide that.
        return Reach(0, 0, 0, 1 if multiline else 2)
    if where is _C.AT_END_STRING:
        return Reach(0, 0, 0, 1)
    return Reach(0, 0, 1, 0)


def _widest(reaches: list[Reach]) -> Reach:
    return Reach(
        min(one.least for one in reaches),
        max(one.most for one in reaches),
        max(one.behind for one in reaches),
        max(one.ahead for one in reaches),
    )


def _open(tree: Any, *, multiline: bool, head: bool = False) -> list[Any]:
    """The sequence in which each atom may also be nothing at the end of the text.

    With `head`, the first atom stays as it is, as a match begins at a real character; and if it
    is a literal, what is asked of the place before it is dropped: `re` then finds candidates by
    that character instead of trying every position. A look ahead must stay, as it may run into the
    end; from there nothing but atoms that may be nothing lead on, so it is the end of the head.
    """
    conditions = (_C.AT, _C.ASSERT, _C.ASSERT_NOT)
    by_literal = head and next((op for op, _ in tree if op not in conditions), None) is _C.LITERAL
    opened: list[Any] = []
    for op, value in tree:
        far = op in conditions and _reach_node(op, value, multiline, {}).ahead > 1
        if op in conditions and not far and by_literal and head:
            continue
        opened.extend(_open_node(op, value, tree.state, multiline=multiline, head=head))
        head = head and op in conditions and not far
    return opened


def _open_node(op: Any, value: Any, state: Any, *, multiline: bool, head: bool) -> list[Any]:
    def sequence(tree: Any, head: bool = False, multiline: bool = multiline) -> Any:  # noqa: FBT001, FBT002
        return _Tree(state, _open(tree, multiline=multiline, head=head))

    if op in _REPEATS:
        low, high, body = value
        repeat = _C.MAX_REPEAT
        if head and low > 0 and len(body) == 1 and body.getwidth() == (1, 1):
            rest = _UNBOUNDED if high == _UNBOUNDED else high - 1
            return [*sequence(body, head=True), (repeat, (low - 1, rest, sequence(body)))]
        return [(repeat, (low, high, sequence(body)))]
    if op is _C.SUBPATTERN:
        group, add, remove, body = value
        lines = (multiline or bool(add & re.MULTILINE)) and not remove & re.MULTILINE
        return [(op, (group, add, remove, sequence(body, head, lines)))]
    if op is _C.ATOMIC_GROUP:
        return [(_C.SUBPATTERN, (None, 0, 0, sequence(value, head)))]
    if op is _C.BRANCH:
        return [(op, (None, [sequence(branch, head) for branch in value[1]]))]
    if op is _C.GROUPREF_EXISTS:
        _, yes, no = value
        return [
            (_C.BRANCH, (None, [sequence(yes), _Tree(state, []) if no is None else sequence(no)]))
        ]
    if op is _C.GROUPREF:
        return [_either(state, (op, value), _to_end(state, inf))]
    if op in (_C.AT, _C.ASSERT, _C.ASSERT_NOT):
        ahead = _reach_node(op, value, multiline, {}).ahead
        return [_either(state, (op, value), _to_end(state, max(0, ahead - 1)))]
    if head:
        return [(op, value)]
    return [_either(state, (op, value), [_AT_END])]


def _either(state: Any, node: Any, end: list[Any]) -> Any:
    return (_C.BRANCH, (None, [_Tree(state, [node]), _Tree(state, end)]))


def _to_end(state: Any, most: float) -> list[Any]:
    """At most `most` characters, then the end of the text."""
    high = _UNBOUNDED if most == inf else int(most)
    return [(_C.MAX_REPEAT, (0, high, _Tree(state, [_ANYTHING]))), _AT_END]
