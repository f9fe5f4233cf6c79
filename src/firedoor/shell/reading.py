"""Reads what a route returned into the call's record, cleaned; the raw text goes no further."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firedoor.extraction import Extract
from firedoor.extraction.refusals import answers_beside, refusal_in
from firedoor.extraction.words import FINISH
from firedoor.shell.captured import captured
from firedoor.types import Outcome, RouteKind, Source, ToolCall

if TYPE_CHECKING:
    from firedoor.shell.call import Call

__all__ = ["fill", "read"]

MAX_SOURCES = 64
_LLM = RouteKind.LLM
FINISH_WORDS = frozenset(FINISH.values())
"""OpenTelemetry's own words need no redaction."""


def read(call: Call, result: Any) -> None:
    """Write what a returned value says into the record of its call."""
    extractors = call.runtime.extractors
    kind = call.route.kind
    if kind is _LLM:
        fill(call, extractors.extract(result))
    elif kind is RouteKind.RETRIEVAL:
        fill(call, extractors.extract_retrieval(result, MAX_SOURCES))
    else:
        if call.runtime.witness is not None:
            call.said = extractors.extract_tool(result).text
        if call.runtime.capture == "redacted":
            call.record.output_text = captured(result, call.runtime.redactor, call.found)


def fill(call: Call, extract: Extract) -> None:
    """Write what was extracted into the record of its call."""
    record = call.record
    # Not through `clean`: a redactor that fails here fails the whole reading, which is noted.
    clean = call.runtime.redactor.redact_text
    found = call.found
    if extract.model is not None:
        record.response_model = clean(extract.model, found)
    if extract.provider is not None and record.provider is None:
        record.provider = clean(extract.provider, found)
    if extract.response_id is not None:
        record.response_id = clean(extract.response_id, found)
    usage = record.usage = extract.usage
    if call.purse is not None and extract.text and (usage is None or usage.output_tokens is None):
        call.written = len(extract.text.encode(errors="replace"))
    if extract.finish_reasons:
        reasons = extract.finish_reasons
        record.finish_reasons = (
            reasons
            if len(reasons) == 1 and reasons[0] in FINISH_WORDS
            else tuple([clean(r, found) for r in reasons])
        )
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
        beside = extract.answered if extract.refusal == "refusal_block" else None
        if beside and answers_beside(beside):
            record.partial_refusal = True
        else:
            record.refusal = extract.refusal
            record.outcome = Outcome.REFUSED
    elif extract.text and record.kind is _LLM and not extract.tool_calls:
        # The last layer. A model that asks for a tool goes on, whatever it says meanwhile.
        told = refusal_in(extract.text)
        if told == "full":
            record.refusal = "text"
            record.outcome = Outcome.REFUSED
        elif told is not None:
            record.partial_refusal = True
    if call.runtime.witness is not None:
        call.said = extract.text if record.kind is _LLM else extract
    if extract.unknown is not None:
        record.notes = (*record.notes, clean(extract.unknown, found))
        call.runtime.recorder.unknown_shape(call.route.id)
    if call.runtime.capture == "redacted":
        text = extract.text if call.route.kind is _LLM else extract.documents
        if text:
            record.output_text = captured(text, call.runtime.redactor, found)
