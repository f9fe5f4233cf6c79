"""What processes of a fleet tell each other of their windows, as text.

A process tells its newest slots whole, each packed for itself; closed ones do not change any more
and need no reading again. Counts of different processes add up in any order, and a slot heard twice
replaces itself, so that losing, repeating or reordering messages does no harm within a minute.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Final

from firedoor.core.cells import Cell, Key, merged

__all__ = ["MOST", "RECENT", "cells_of", "slots_of", "told_cells", "told_slots"]

RECENT: Final = 7
"""Slots that are told: the newest and those of the minute before."""

MOST: Final = 2_000
"""Cells of one slot that are told; the busiest keep their keys, the others are told as one."""

_VERSION = 1
_LONGEST = 64 << 20


def told_cells(cells: Mapping[Key, Cell | bytes], other: str) -> str:
    """One slot's cells as text.

    Args:
        cells: By key.
        other: The journey under which those beyond `MOST` are told.
    """
    held = {key: Cell.of(cell) for key, cell in cells.items()}
    if len(held) > MOST:
        ranked = sorted(held, key=lambda key: (_size(held[key]), key[0]), reverse=True)
        rest: dict[Key, list[Cell]] = {}
        for key in ranked[MOST:]:
            into = Key(key.kind, other, None, None, key.apart)
            rest.setdefault(into, []).append(held.pop(key))
        for key, others in rest.items():
            held[key] = merged([*others, *([held[key]] if key in held else [])])
    rows = [[list(key), cell.to_json()] for key, cell in held.items()]
    text = json.dumps(rows, separators=(",", ":"))
    return base64.b85encode(zlib.compress(text.encode(), 1)).decode()


def cells_of(text: str) -> dict[Key, Cell]:
    """The inverse of `told_cells`.

    Raises:
        ValueError: If it is something else; likewise `TypeError`, `KeyError`, `zlib.error`.
    """
    unpacker = zlib.decompressobj()
    rows = json.loads(unpacker.decompress(base64.b85decode(text), _LONGEST))
    cells = {}
    for (kind, journey, route, alias, apart), cell in rows:
        key = Key(str(kind), _name(journey), _name(route), _name(alias), apart is True)
        cells[key] = Cell.from_json(cell)
    return cells


def told_slots(slots: Mapping[float, str]) -> str:
    """Slots by when they begin, as one text."""
    told = {"v": _VERSION, "slots": [[start, text] for start, text in slots.items()]}
    return json.dumps(told, separators=(",", ":"))


def slots_of(text: str) -> dict[float, str]:
    """The inverse of `told_slots`. A version that is not known here says nothing.

    Raises:
        ValueError: If it is something else; likewise `TypeError`, `KeyError`.
    """
    told = json.loads(text)
    if told["v"] != _VERSION:
        return {}
    return {float(start): str(packed) for start, packed in told["slots"]}


def _name(value: object) -> str | None:
    return None if value is None else str(value)


def _size(cell: Cell) -> int:
    return cell.tally & 0xFFFFFFFF or sum(held[0] for held in cell.sums.values())
