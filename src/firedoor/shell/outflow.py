"""A stream's chunks on their way out through the output policies.

Each of several texts written at once has a window of its own. What a window still holds goes out
before the chunk that says that its text is over, as many read no further. Chunks that add no text
pass through; those that repeat a whole text (a provider's "done" events) are screened as wholes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, TypeAlias, cast

from firedoor.errors import PolicyBlocked
from firedoor.extraction import map_texts, replace_text, text_of
from firedoor.extraction.rewrite import End, Way, end_of, lane_of, way_to
from firedoor.policies import Chain, Screening, Stage, StreamFilter, Strictness
from firedoor.policies.screening import gravest
from firedoor.types import Verdict

__all__ = ["Outflow"]

_STRAIGHT: Way = ()
_WHOLES = 64
"""Whole texts whose screening is kept: a provider repeats the same one in several events."""

_Answer: TypeAlias = str | Screening | None
_Work: TypeAlias = Generator[StreamFilter | str, _Answer, list[Any]]
"""Makes a list of chunks. Asks for the rest of a window's text, and for the screening of a whole."""


class Outflow:
    """The output policies of one stream. Decides; the stream's proxy does the reading."""

    def __init__(
        self, chain: Chain, stage: Stage, strictness: Strictness | str, context: Any
    ) -> None:
        self._chain = chain
        self._about = (stage, strictness, context)
        self._filters: dict[int, StreamFilter] = {}
        self._last: dict[int, Any] = {}
        self._kept: list[Any] = []
        self._wholes: dict[str, str] = {}
        self._of_wholes: list[Verdict] = []

    def push(self, chunk: Any) -> list[Any]:
        """What of a chunk, and of those held back before it, may go out now.

        Raises:
            PolicyBlocked: If a policy ends the stream; nothing of what it found was let out.
        """
        out = self._added(chunk)
        return self._run(self._between(chunk)) if out is None else out

    async def apush(self, chunk: Any) -> list[Any]:
        """As `push`, awaiting policies that are async."""
        out = self._added(chunk)
        return await self._arun(self._between(chunk)) if out is None else out

    def end(self) -> list[Any]:
        """What was still held back, when the stream has ended.

        Raises:
            PolicyBlocked: As `push`.
        """
        return self._run(self._ending())

    async def aend(self) -> list[Any]:
        """As `end`, awaiting policies that are async."""
        return await self._arun(self._ending())

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What the policies said of every text; of wholes only where none came in pieces."""
        if not self._filters:
            return tuple(self._of_wholes)
        return tuple(verdict for window in self._filters.values() for verdict in window.verdicts)

    def _added(self, chunk: Any) -> list[Any] | None:
        """What goes out of a chunk that adds text; None if it adds none."""
        if isinstance(chunk, str):
            way, text, lane = _STRAIGHT, chunk, 0
        else:
            # Looked through once: its text, its lane and its copy are found the same way.
            way = way_to(chunk)
            if not way:
                return None
            text, lane = text_of(chunk, way) or "", lane_of(chunk, way)
        if not text:
            return None
        window = self._filters.get(lane)
        if window is None:
            stage, strictness, context = self._about
            window = self._filters[lane] = StreamFilter(
                self._chain, stage, strictness=strictness, context=context
            )
        out = window.feed(text)
        self._last[lane] = chunk
        if not out and window.blocked:
            raise self._blocked(window)
        if out == text:
            return [chunk]
        if isinstance(chunk, str):
            return [out] if out else []
        return [replace_text(chunk, out, way)]

    def _between(self, chunk: Any) -> _Work:
        """What goes out with a chunk that adds no text: the rest of the texts that it ends, and it."""
        end = end_of(chunk)
        if self._kept or (
            end is End.SAID and any(window.holding for window in self._filters.values())
        ):
            self._kept.append(chunk)
            return []
        out: list[Any] = []
        if end is End.LANE:
            out = yield from self._rest([lane_of(chunk)])
        elif end is End.ALL:
            out = yield from self._rest(self._filters)
        out.append((yield from self._screened(chunk)))
        return out

    def _ending(self) -> _Work:
        out = yield from self._rest(self._filters)
        for chunk in self._kept:
            out.append((yield from self._screened(chunk)))
        return out

    def _rest(self, lanes: Iterable[int]) -> _Work:
        """The chunks of what was still held back of some texts, which are over."""
        out = []
        for lane in lanes:
            window = self._filters.get(lane)
            if window is not None:
                text = yield window
                if window.blocked:
                    raise self._blocked(window)
                if text:
                    out.append(replace_text(self._last[lane], str(text)))
        return out

    def _screened(self, chunk: Any) -> Generator[str, _Answer, Any]:
        """A chunk in which each text is as the policies let it through."""
        texts: list[str] = []

        def note(text: str) -> str:
            if text:
                texts.append(text)
            return text

        map_texts(chunk, note)
        if len(self._wholes) > _WHOLES:
            self._wholes = {}
        for text in texts:
            if text not in self._wholes:
                screening = cast("Screening", (yield text))
                self._of_wholes = gravest(self._of_wholes, screening.verdicts)
                if screening.blocked_by is not None:
                    raise PolicyBlocked(
                        screening.explain(), gate=str(screening.blocked_by), ran=True
                    )
                self._wholes[text] = screening.text
        return map_texts(chunk, lambda text: self._wholes.get(text, text)) if texts else chunk

    def _run(self, work: _Work) -> list[Any]:
        answer: _Answer = None
        while True:
            try:
                asked = work.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if isinstance(asked, str):
                answer = self._chain.screen(asked, *self._about)
            else:
                answer = asked.finish()

    async def _arun(self, work: _Work) -> list[Any]:
        answer: _Answer = None
        while True:
            try:
                asked = work.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if isinstance(asked, str):
                answer = await self._chain.ascreen(asked, *self._about)
            else:
                answer = await asked.afinish()

    def _blocked(self, window: StreamFilter) -> PolicyBlocked:
        gate = str(window.blocked_by)
        found = next((v for v in window.verdicts if v.gate == gate), None)
        labels = f" ({', '.join(found.labels)})" if found is not None and found.labels else ""
        return PolicyBlocked(
            f"{gate} ended the stream{labels}; nothing of what it found was let out",
            gate=gate,
            ran=True,
        )
