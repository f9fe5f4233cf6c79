"""A stream's chunks on their way out through the output policies.

Each of several texts written at once has a window of its own. Chunks that add no text pass through;
those that repeat a whole text (a provider's "done" events) are screened as wholes.
"""

from __future__ import annotations

from typing import Any

from firedoor.errors import PolicyBlocked
from firedoor.extraction import map_texts, replace_text, text_of
from firedoor.extraction.rewrite import Way, lane_of, way_to
from firedoor.policies import Chain, Stage, StreamFilter, Strictness
from firedoor.types import Verdict

__all__ = ["Outflow"]

_STRAIGHT: Way = ()


class Outflow:
    """The output policies of one stream. Decides; the stream's proxy does the reading."""

    def __init__(
        self, chain: Chain, stage: Stage, strictness: Strictness | str, context: Any
    ) -> None:
        self._chain = chain
        self._stage = stage
        self._strictness = strictness
        self._context = context
        self._filters: dict[int, StreamFilter] = {}
        self._last: dict[int, Any] = {}

    def push(self, chunk: Any) -> list[Any]:
        """What of a chunk, and of those held back before it, may go out now.

        Raises:
            PolicyBlocked: If a policy ends the stream; nothing of what it found was let out.
        """
        # A chunk is looked through once: its text, its lane and its copy are found the same way.
        way = _STRAIGHT if type(chunk) is str else way_to(chunk)
        text = text_of(chunk, way)
        if text is None:
            return [map_texts(chunk, self._whole)]
        lane = lane_of(chunk, way)
        window = self._filters.get(lane)
        if window is None:
            window = self._filters[lane] = StreamFilter(
                self._chain, self._stage, strictness=self._strictness, context=self._context
            )
        out = window.feed(text)
        self._last[lane] = chunk
        if window.blocked and not out:
            raise self._blocked(window)
        if out == text:
            return [chunk]
        if isinstance(chunk, str):
            return [out] if out else []
        return [replace_text(chunk, out, way)]

    def end(self) -> list[Any]:
        """What was still held back, when the stream has ended.

        Raises:
            PolicyBlocked: As `push`.
        """
        out: list[Any] = []
        for lane, window in self._filters.items():
            out += self._tail(lane, window, window.finish())
        return out

    async def aend(self) -> list[Any]:
        """As `end`, awaiting policies that are async."""
        out: list[Any] = []
        for lane, window in self._filters.items():
            out += self._tail(lane, window, await window.afinish())
        return out

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What the policies said, of every text."""
        return tuple(verdict for window in self._filters.values() for verdict in window.verdicts)

    def _tail(self, lane: int, window: StreamFilter, text: str) -> list[Any]:
        if window.blocked:
            raise self._blocked(window)
        return [replace_text(self._last[lane], text)] if text else []

    def _whole(self, text: str) -> str:
        screening = self._chain.screen(text, self._stage, self._strictness, self._context)
        return screening.text if screening.blocked_by is None else ""

    def _blocked(self, window: StreamFilter) -> PolicyBlocked:
        gate = str(window.blocked_by)
        found = next((v for v in window.verdicts if v.gate == gate), None)
        labels = f" ({', '.join(found.labels)})" if found is not None and found.labels else ""
        return PolicyBlocked(
            f"{gate} ended the stream{labels}; nothing of what it found was let out",
            gate=gate,
            ran=True,
        )
