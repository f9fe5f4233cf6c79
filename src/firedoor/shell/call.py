"""One use of a route: opened once, finished exactly once, whatever happens in between.

A call is iterated for its attempts; an attempt is a plain `with` block in sync and async code
alike, and settles without waiting. Everything between the seams (`internal`) may fail without the
guarded function noticing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from opentelemetry.context import Context, attach, get_current

from firedoor.errors import Denied
from firedoor.extraction import Extract, parameters
from firedoor.records import Decision, OpenDecision
from firedoor.shell.route import ROUTED, Binding, Route
from firedoor.shell.runtime import Ending
from firedoor.shell.scope import ATTEMPT_KEY, REQUEST_KEY, SPAN_KEY, new_id, restore
from firedoor.shell.streams import proxy_for
from firedoor.types import Fault, Outcome, RouteKind, Source, ToolCall

__all__ = ["Attempt", "Call"]

MAX_SOURCES = 64
MAX_CAPTURED = 8_192
_MAX_READ = 8 * MAX_CAPTURED
_NOTHING: Any = object()


class Call:
    """The life of one call. Its attempts are its iteration, sync or async."""

    __slots__ = (
        "__weakref__",
        "_begun",
        "_open",
        "binding",
        "context",
        "decision",
        "found",
        "model",
        "record",
        "request",
        "route",
        "runtime",
        "span",
        "started",
        "started_ns",
    )

    def __init__(self, route: Route, named: Mapping[str, Any], binding: Binding | None) -> None:
        runtime = self.runtime = route.runtime
        self.route = route
        self.binding = binding
        self.decision: Decision | None = None
        self.span: Any = None
        self.found: dict[str, int] = {}
        self._begun = False
        self._open = [True]  # taken by whoever finishes first: list.pop is atomic
        previous = get_current()
        request: Any = previous.get(REQUEST_KEY)
        self.request = request
        record = self.record = OpenDecision()
        record.__dict__.update(route.template)
        record.id = new_id()
        self.started_ns = runtime.time_ns()
        record.time = self.started_ns / 1e9
        if request is not None:
            record.request_id = request.id
            record.journey = request.journey
            record.user = request.user
            record.tenant = request.tenant
            record.synthetic = request.synthetic
        else:
            record.request_id = new_id()
        alias = route.alias
        if binding is not None and binding.accepts_model:
            asked = named.get("model", ROUTED)
            if isinstance(asked, str) and asked != ROUTED:
                alias = asked
            elif alias is None:
                alias = binding.default_model
        self.model = alias
        if alias is not None:
            record.alias = record.model = runtime.clean(alias, self.found)
        if named:
            self._note_arguments(named)
        entries = {**previous}
        try:
            span = self.span = runtime.recorder.start_call(record)
            entries[SPAN_KEY] = span
            identity = span.get_span_context()
            if identity.is_valid:
                record.trace_id = f"{identity.trace_id:032x}"
                record.span_id = f"{identity.span_id:016x}"
        except Exception as error:
            runtime.internal("telemetry", error)
        self.context = entries
        self.started = runtime.now()

    @classmethod
    def open(cls, route: Route, named: Mapping[str, Any], binding: Binding | None) -> Call | None:
        """A call, or None where firedoor itself failed: the function then runs unguarded."""
        try:
            return cls(route, named, binding)
        except Denied:
            raise
        except Exception as error:
            route.runtime.internal("enter", error)
            return None

    @classmethod
    def blank(cls, route: Route) -> Call:
        """A call that records nothing, so that a block works even where firedoor does not."""
        call = cls.__new__(cls)
        call.route = route
        call.runtime = route.runtime
        call.binding = None
        call.decision = None
        call.span = None
        call.model = route.alias
        call.context = {**get_current()}
        call._begun = False
        call._open = []
        return call

    def _note_arguments(self, named: Mapping[str, Any]) -> None:
        runtime = self.runtime
        try:
            kept = parameters(named)
            if kept:
                self.record.parameters = {
                    k: runtime.clean(v, self.found) if isinstance(v, str) else v
                    for k, v in kept.items()
                }
            if runtime.capture == "redacted":
                self.record.input_text = self._captured(named)
        except Exception as error:
            runtime.internal("arguments", error)

    # Attempts ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Attempt]:
        return self

    def __next__(self) -> Attempt:
        if self._begun:
            raise StopIteration
        self._begun = True
        return Attempt(self, self.model)

    def __aiter__(self) -> AsyncIterator[Attempt]:
        return self

    async def __anext__(self) -> Attempt:
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    # Endings -------------------------------------------------------------------------------

    def succeed(self, result: Any) -> None:
        """The guarded code returned `result` (or nothing was recorded in the block)."""
        if not self._open:
            return
        ended = self.runtime.now()
        record = self.record
        record.outcome = Outcome.ANSWERED
        if result is not _NOTHING:
            try:
                self._read(result)
            except Exception as error:
                record.notes = (*record.notes, "the result could not be read")
                self.runtime.internal("extraction", error)
        self._finish(ended)

    def fail(self, error: BaseException) -> None:
        """The guarded code, or a gate of ours, raised."""
        if not self._open:
            return
        ended = self.runtime.now()
        self._apply(self.runtime.ending(error))
        self._finish(ended)
        if isinstance(error, Denied) and error.decision is None:
            error.decision = self.decision

    def end_stream(
        self,
        extract: Extract | None,
        *,
        ending: Ending | None,
        chunks: int,
        first: float | None,
        gap: float | None,
    ) -> None:
        """A stream is over: read to its end (`ending` None), broken, cancelled or left."""
        ended = self.runtime.now()
        record = self.record
        record.outcome = Outcome.ANSWERED
        record.chunks = chunks
        record.idle_gap_s = gap
        if first is not None:
            record.first_token_s = first - self.started
        if extract is not None:
            try:
                self._fill(extract)
            except Exception as error:
                record.notes = (*record.notes, "the stream could not be read")
                self.runtime.internal("extraction", error)
        complete = extract.complete if extract is not None else None
        if ending is not None and not (ending.outcome is Outcome.ABANDONED and complete):
            record.truncated = ending.outcome is Outcome.FAILED and chunks > 0
            self._apply(ending)
        elif complete is False:
            record.truncated = True
            self._apply(Ending(Outcome.FAILED, Fault.TARGET, "truncated"))
        self._finish(ended)

    def _apply(self, ending: Ending) -> None:
        record = self.record
        record.outcome = ending.outcome
        record.fault = ending.fault
        record.error_type = ending.error_type
        record.error_fingerprint = ending.fingerprint
        if record.chunks is not None:
            # The stream did not end as a provider ends one; what it said before is not the end.
            record.finish_reasons = ("error",)

    def _read(self, result: Any) -> None:
        extractors = self.runtime.extractors
        kind = self.route.kind
        if kind is RouteKind.LLM:
            self._fill(extractors.extract(result))
        elif kind is RouteKind.RETRIEVAL:
            self._fill(extractors.extract_retrieval(result, MAX_SOURCES))
        elif self.runtime.capture == "redacted":
            self.record.output_text = self._captured(result)

    def _fill(self, extract: Extract) -> None:
        record = self.record
        clean = self.runtime.clean
        found = self.found
        if extract.model is not None:
            record.response_model = clean(extract.model, found)
        if extract.provider is not None and record.provider is None:
            record.provider = clean(extract.provider, found)
        if extract.response_id is not None:
            record.response_id = clean(extract.response_id, found)
        record.usage = extract.usage
        if extract.finish_reasons:
            record.finish_reasons = tuple([clean(r, found) for r in extract.finish_reasons])
        if extract.tool_calls:
            record.tool_calls = tuple(
                [
                    ToolCall(clean(c.name, found), None if c.id is None else clean(c.id, found))
                    for c in extract.tool_calls
                ]
            )
        if extract.sources:
            record.sources = tuple(
                [Source(clean(s.id, found), s.score, s.timestamp) for s in extract.sources]
            )
        if extract.refusal is not None:
            record.refusal = extract.refusal
            record.outcome = Outcome.REFUSED
        if extract.unknown is not None:
            record.notes = (*record.notes, clean(extract.unknown, found))
            self.runtime.recorder.unknown_shape(self.route.id)
        if self.runtime.capture == "redacted":
            text = extract.text if self.route.kind is RouteKind.LLM else extract.documents
            if text:
                record.output_text = self._captured(text)

    def _captured(self, value: Any) -> str:
        """`value` as redacted text of bounded length.

        Cut only after redaction: a secret cut in two would match no detector.
        """
        redacted = self.runtime.redactor.redact(_readable(value))
        text = redacted if isinstance(redacted, str) else json.dumps(redacted, ensure_ascii=False)
        return text if len(text) <= MAX_CAPTURED else text[:MAX_CAPTURED] + "…"

    def _finish(self, ended: float) -> None:
        try:
            self._open.pop()
        except IndexError:
            return
        runtime = self.runtime
        record = self.record
        record.latency_s = ended - self.started
        if self.found:
            record.redactions = self.found
        decision = self.decision = record.freeze()
        if self.span is not None:
            try:
                runtime.recorder.end_call(
                    decision, self.span, self.started_ns + int(decision.latency_s * 1e9)
                )
            except Exception as error:
                runtime.internal("telemetry", error)
        try:
            runtime.publish(decision, self.request)
        except Exception as error:
            runtime.internal("publish", error)

    @property
    def finished(self) -> bool:
        """Whether the decision is made."""
        return not self._open


def _readable(value: Any, depth: int = 8) -> Any:
    """Plain JSON shapes; an object that is neither is named by its type, never by its repr."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        # Never cut before redaction, and not worth the time when it is a whole book.
        return value if len(value) <= _MAX_READ else f"<{len(value)} characters>"
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {str(k): _readable(v, depth - 1) for k, v in list(value.items())[:256]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_readable(v, depth - 1) for v in list(value)[:256]]
    return f"<{type(value).__name__}>"


class Attempt:
    """One try, as a `with` block: what the block form and `fd.current_attempt()` hand out.

    Attributes:
        model: The model to call: the alias asked for, after switches and tiers.
        number: 1 for the first attempt of the call.
        timeout: Seconds this attempt may take, or None.
    """

    __slots__ = ("_call", "_handed", "_own", "_previous", "_result", "model", "number", "timeout")

    def __init__(self, call: Call, model: str | None, number: int = 1) -> None:
        self._call = call
        self.model: Any = model
        self.number = number
        self.timeout: float | None = None
        self._handed = False
        self._result = _NOTHING
        self._own: Context | None = None
        self._previous: Context | None = None

    @property
    def decision(self) -> Decision | None:
        """The call's decision once it has ended; None before."""
        return self._call.decision

    @property
    def finished(self) -> bool:
        """Whether the call has ended."""
        return self._call.finished

    def fill(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The keyword arguments with the model (and timeout) the function declares."""
        binding = self._call.binding
        if binding is None:
            return kwargs
        kwargs = binding.with_model(args, kwargs, self.model)
        if self.timeout is not None and binding.accepts_timeout and kwargs.get("timeout") is None:
            kwargs = {**kwargs, "timeout": self.timeout}
        return kwargs

    def enter_context(self) -> Context:
        """The context the guarded code runs in: its span and this attempt are current."""
        own = self._own
        if own is None:
            call = self._call
            own = self._own = Context({**call.context, ATTEMPT_KEY: self})
        return own

    def again(self) -> Self:
        """Ready to be entered once more, for a value that was returned before it was there."""
        self._handed = False
        return self

    def __enter__(self) -> Self:
        self._previous = get_current()
        attach(self.enter_context())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._own is not None and self._previous is not None:
            restore(self._own, self._previous)
        if error is not None:
            self._call.fail(error)
        elif not self._handed:
            self._call.succeed(self._result)

    def record(self, result: Any) -> Any:
        """Tell what the provider answered, in the block form; returns it.

        A stream comes back as a proxy: read that one, so that it is timed and told of. The call
        then ends with the stream, even after the block.
        """
        return self.take(result)

    def take(self, result: Any) -> Any:
        """Keep `result` for the record, or put a watching proxy around a stream."""
        try:
            proxy = proxy_for(result, self._call, self)
        except Exception as error:
            self._call.runtime.internal("stream", error)
            proxy = None
        if proxy is None:
            self._result = result
            return result
        self._handed = True
        return proxy
