"""A stream's chunks on their way out through the output policies.

Each of several texts written at once has a window of its own. What a window still holds goes out
before the chunk that says that its text is over, as many read no further. Chunks that add no text
pass through; those that repeat a whole text (a provider's "done" events) are screened as wholes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

from firedoor.errors import PolicyBlocked
from firedoor.extraction import map_texts, replace_text
from firedoor.extraction.rewrite import (
    End,
    Way,
    end_of,
    is_reasoning,
    lane_of,
    pieces_of,
)
from firedoor.policies import Chain, ContentScreening, Screening, Stage, StreamFilter, Strictness
from firedoor.policies.screening import gravest
from firedoor.types import Verdict

__all__ = ["Outflow"]

_Lane: TypeAlias = tuple[int, str]
"""One of several texts written at once: its number, and the name of the field that holds it."""
_PLAIN: _Lane = (0, "")
_STRAIGHT: Way = ()
_WHOLES = 64
"""Whole texts whose screening is kept: a provider repeats the same one in several events."""


class _Value(NamedTuple):
    """A chunk that is a value of its own: of a tool, or of a retrieval."""

    chunk: Any


_Answer: TypeAlias = str | Screening | ContentScreening | None
_Whole: TypeAlias = tuple[str, bool]
"""A text, and whether it is reasoning."""
_Work: TypeAlias = Generator[StreamFilter | _Whole | _Value, _Answer, list[Any]]
"""Makes a list of chunks. Asks for the rest of a window's text, and for the screening of a whole."""


class Outflow:
    """The output policies of one stream. Decides; the stream's proxy does the reading."""

    def __init__(
        self, chain: Chain, stage: Stage, strictness: Strictness | str, context: Any
    ) -> None:
        self._chain = chain
        self._about = (stage, strictness, context)
        self._values = stage is not Stage.OUTPUT
        self._documents = stage is Stage.RETRIEVAL
        self._filters: dict[_Lane, StreamFilter] = {}
        self._last: dict[_Lane, tuple[Any, Way]] = {}
        self._kept: list[Any] = []
        self._wholes: dict[_Whole, str] = {}
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
        """What the policies said of every text; of wholes that repeat pieces, it is said already."""
        said = [verdict for window in self._filters.values() for verdict in window.verdicts]
        if self._values or not said:
            said += self._of_wholes
        return tuple(said or self._chain.screen_content((), *self._about).verdicts)

    def _added(self, chunk: Any) -> list[Any] | None:
        """What goes out of a chunk that adds text; None if it adds none."""
        if self._documents:
            return None
        if isinstance(chunk, str):
            if not chunk:
                return [chunk]
            out = self._released(_PLAIN, chunk, chunk, _STRAIGHT)
            return [out] if out else []
        if self._values:
            return None
        pieces = pieces_of(chunk)
        if not pieces:
            return None
        shown = chunk
        for way, text in pieces:
            lane = lane_of(chunk, way), str(way[-1])
            out = self._released(lane, text, chunk, way)
            if out != text:
                shown = replace_text(shown, out, way)
        return [shown]

    def _released(self, lane: _Lane, text: str, chunk: Any, way: Way) -> str:
        """What the window of one of the texts lets out, of this piece and of those before it."""
        window = self._filters.get(lane)
        if window is None:
            stage, strictness, context = self._about
            window = self._filters[lane] = StreamFilter(
                self._chain,
                stage,
                strictness=strictness,
                context=context,
                reasoning=way is not _STRAIGHT and is_reasoning(chunk, way),
            )
        self._last[lane] = chunk, way
        out = window.feed(text)
        if not out and window.blocked:
            raise self._blocked(window)
        return out

    def _between(self, chunk: Any) -> _Work:
        """What goes out with a chunk that adds no text: the rest of the texts that it ends, and it."""
        if self._values:
            screening = cast("ContentScreening", (yield _Value(chunk)))
            self._note(screening)
            return [screening.value]
        end = end_of(chunk)
        if self._kept or (
            end is End.SAID and any(window.holding for window in self._filters.values())
        ):
            self._kept.append(chunk)
            return []
        out: list[Any] = []
        if end is End.LANE:
            ended = lane_of(chunk)
            out = yield from self._rest([lane for lane in self._filters if lane[0] == ended])
        elif end is End.ALL:
            out = yield from self._rest(self._filters)
        out.append((yield from self._screened(chunk)))
        return out

    def _ending(self) -> _Work:
        out = yield from self._rest(self._filters)
        for chunk in self._kept:
            out.append((yield from self._screened(chunk)))
        return out

    def _rest(self, lanes: Iterable[_Lane]) -> _Work:
        """The chunks of what was still held back of some texts, which are over."""
        out = []
        for lane in lanes:
            window = self._filters[lane]
            text = yield window
            if window.blocked:
                raise self._blocked(window)
            if text:
                # As the last chunk that added to it, without what that added to others.
                chunk, way = self._last[lane]
                for other, _ in pieces_of(chunk) if way else ():
                    chunk = replace_text(chunk, "", other)
                out.append(replace_text(chunk, str(text), way))
        return out

    def _screened(self, chunk: Any) -> Generator[_Whole, _Answer, Any]:
        """A chunk in which each text is as the policies let it through."""
        texts: list[_Whole] = []

        def note(text: str, *, reasoning: bool = False) -> str:
            texts.append((text, reasoning))
            return text

        def screened(text: str, *, reasoning: bool = False) -> str:
            return self._wholes[text, reasoning]

        map_texts(chunk, note, reasoning=partial(note, reasoning=True))
        if len(self._wholes) > _WHOLES:
            self._wholes = {}
        for whole in texts:
            if whole not in self._wholes:
                screening = cast("Screening", (yield whole))
                self._note(screening)
                self._wholes[whole] = screening.text
        if not texts:
            return chunk
        return map_texts(chunk, screened, reasoning=partial(screened, reasoning=True))

    def _note(self, screening: Screening | ContentScreening) -> None:
        self._of_wholes = gravest(self._of_wholes, screening.verdicts)
        if screening.blocked_by is not None:
            raise PolicyBlocked(screening.explain(), gate=str(screening.blocked_by), ran=True)

    def _run(self, work: _Work) -> list[Any]:
        answer: _Answer = None
        while True:
            try:
                asked = work.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if isinstance(asked, StreamFilter):
                answer = asked.finish()
            elif isinstance(asked, _Value):
                answer = self._chain.screen_content(asked.chunk, *self._about)
            else:
                text, reasoning = asked
                answer = self._chain.screen(text, *self._about, reasoning=reasoning)

    async def _arun(self, work: _Work) -> list[Any]:
        answer: _Answer = None
        while True:
            try:
                asked = work.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if isinstance(asked, StreamFilter):
                answer = await asked.afinish()
            elif isinstance(asked, _Value):
                answer = await self._chain.ascreen_content(asked.chunk, *self._about)
            else:
                text, reasoning = asked
                answer = await self._chain.ascreen(text, *self._about, reasoning=reasoning)

    def _blocked(self, window: StreamFilter) -> PolicyBlocked:
        gate = str(window.blocked_by)
        found = next((v for v in window.verdicts if v.gate == gate), None)
        labels = f" ({', '.join(found.labels)})" if found is not None and found.labels else ""
        return PolicyBlocked(
            f"{gate} ended the stream{labels}; nothing of what it found was let out",
            gate=gate,
            ran=True,
        )
