"""OpenAI's Responses shape."""

from __future__ import annotations

from typing import Any

from firedoor.extraction.fields import field, items, path, text
from firedoor.extraction.usage import counted, usage_of
from firedoor.extraction.words import finish_reason, provider_of
from firedoor.types import Extract, ToolCall

__all__ = ["ResponseStream", "extract_response", "is_response", "is_response_event"]

_TOOL_ITEMS = {"function_call": "arguments", "custom_tool_call": "input"}
_FINAL = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_TEXT_DELTAS = ("response.output_text.delta", "response.refusal.delta")
_CALL_DELTAS = ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta")


def is_response(value: Any) -> bool:
    """Whether `value` is a whole response object."""
    return text(field(value, "object")) == "response"


def is_response_event(value: Any) -> bool:
    """Whether `value` is one event of a streamed response."""
    kind = text(field(value, "type"))
    return kind is not None and (kind.startswith("response.") or kind == "error")


def extract_response(value: Any) -> Extract:
    """A whole response; `complete` is False while it is queued or in progress."""
    texts: list[str] = []
    answered: list[str] = []
    calls: list[ToolCall] = []
    refusal = None
    parsed = False
    for item in items(field(value, "output")):
        kind = text(field(item, "type"))
        if kind == "message":
            for part in items(field(item, "content")):
                declined = text(field(part, "refusal"))
                said = text(field(part, "text")) or declined
                if said:
                    texts.append(said)
                if declined:
                    refusal = "refusal_block"
                elif said:
                    answered.append(said)
                parsed |= field(part, "parsed") is not None
        elif kind in _TOOL_ITEMS:
            call = _call(item)
            if call is not None:
                calls.append(call)
    status = text(field(value, "status"))
    reason = _finish(value, status, called=bool(calls))
    if reason == "content_filter":
        refusal = "stop_reason"
    found = Extract(
        model=text(field(value, "model")),
        provider=provider_of(value),
        response_id=text(field(value, "id")),
        usage=usage_of(field(value, "usage")),
        finish_reasons=(reason,) if reason else (),
        tool_calls=tuple(calls),
        refusal=refusal,
        text="\n".join(texts) or None,
        complete=reason is not None if status is not None else None,
        output_type="json" if parsed else None,
        answered="\n".join(answered) if refusal and answered else None,
    )
    code = text(path(value, "error", "code"))
    if code is not None:
        found.extra["error"] = code
    return found


def _finish(value: Any, status: str | None, *, called: bool) -> str | None:
    if status in (None, "queued", "in_progress"):
        return None
    if status == "incomplete":
        why = text(path(value, "incomplete_details", "reason"))
        return finish_reason(why) or "length"
    reason = finish_reason(status)
    return "tool_call" if called and reason == "stop" else reason


def _call(item: Any) -> ToolCall | None:
    name = text(field(item, "name"))
    if name is None:
        return None
    arguments = field(item, _TOOL_ITEMS.get(field(item, "type"), "arguments"))
    return ToolCall(name, text(field(item, "call_id")) or text(field(item, "id")), text(arguments))


class ResponseStream:
    """What the events of a streamed response have said so far."""

    __slots__ = (
        "_answered",
        "_arguments",
        "_begun",
        "_deltas",
        "_final",
        "_items",
        "_parts",
        "_refused",
        "error",
    )

    def __init__(self) -> None:
        self._begun: Any = None
        self._final: Any = None
        self._parts: list[str] = []
        self._arguments: list[str] = []
        self._deltas = 0
        self._items: dict[str, Any] = {}
        self._refused = False
        self._answered: list[str] = []
        self.error: str | None = None

    def feed(self, event: Any) -> bool:
        """Whether the event brought text, a refusal or a piece of a tool call."""
        kind = field(event, "type")
        if kind in _TEXT_DELTAS:
            piece = text(field(event, "delta"))
            if piece is None:
                return False
            self._parts.append(piece)
            self._deltas += 1
            if kind == _TEXT_DELTAS[0]:
                self._answered.append(piece)
            else:
                self._refused = True
            return True
        if kind in _CALL_DELTAS:
            piece = text(field(event, "delta"))
            if piece is not None:
                self._arguments.append(piece)
                self._deltas += 1
            return piece is not None
        return self._read(kind, event)

    def _read(self, kind: Any, event: Any) -> bool:
        if kind in ("response.output_item.added", "response.output_item.done"):
            item = field(event, "item")
            if field(item, "type") in _TOOL_ITEMS:
                # The item as done carries the whole arguments and replaces the one as added.
                self._items[str(field(event, "output_index"))] = item
                return kind.endswith("added")  # type: ignore[no-any-return]
            return False
        if kind in _FINAL:
            self._final = field(event, "response")
            if kind == "response.failed":
                self.error = text(path(self._final, "error", "code")) or "response_failed"
        elif kind == "error":
            self.error = (
                text(field(event, "code")) or text(path(event, "error", "code")) or "error_event"
            )
        elif self._begun is None:
            self._begun = field(event, "response")
        return False

    def result(self) -> Extract:
        """The final event's response, or what the deltas came to."""
        if self._final is not None:
            found = extract_response(self._final)
            if found.text is None and self._parts:
                found.text = "".join(self._parts)
            if found.usage is None:
                found.usage = self._counted()
        else:
            calls = [call for call in map(_call, self._items.values()) if call is not None]
            found = Extract(
                model=text(field(self._begun, "model")),
                provider=provider_of(self._begun),
                response_id=text(field(self._begun, "id")),
                usage=self._counted(),
                finish_reasons=("error",) if self.error else (),
                tool_calls=tuple(calls),
                refusal="refusal_block" if self._refused else None,
                text="".join(self._parts) or None,
                complete=False,
                answered="".join(self._answered) if self._refused else None,
            )
        if self.error:
            found.complete = False
            found.extra["error"] = self.error
        return found

    def _counted(self) -> Any:
        return counted("".join(self._parts) + "\n" + "".join(self._arguments), self._deltas)
