"""The texts of an incident as they may be kept: every one that people or rules wrote is cleaned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from firedoor.core.incident import IncidentRecord

__all__ = ["redacted"]

T = TypeVar("T")
Clean = Callable[[str], str]


def redacted(
    record: IncidentRecord, clean: Clean, before: IncidentRecord | None = None
) -> IncidentRecord:
    """`record` with every text passed through `clean`.

    Names that something is found by (ids, routes, models, the parameters and undo of actions, the
    defaults of findings) stay as they are: they come from configuration, and from decisions that
    were redacted.

    Args:
        record: What is about to be kept.
        clean: Hides what must not leave.
        before: The record it was made from; what was in it has been cleaned.
    """
    old = before or IncidentRecord(record.id, record.service)
    return replace(
        record,
        title=_text(record.title, old.title, clean),
        why=_text(record.why, old.why, clean),
        signature=_text(record.signature, old.signature, clean),
        control=record.control and _text(record.control, old.control, clean),
        owner=record.owner and _text(record.owner, old.owner, clean),
        waiver=record.waiver and _text(record.waiver, old.waiver, clean),
        severity_reasons=tuple(
            text if text in old.severity_reasons else clean(text)
            for text in record.severity_reasons
        ),
        evidence=_each(record.evidence, old.evidence, clean, "why"),
        alerts=_each(record.alerts, old.alerts, clean, "why"),
        actions=_each(record.actions, old.actions, clean, "text", "approved_by", "actor", "error"),
        timeline=_each(record.timeline, old.timeline, clean, "text", "actor"),
        findings=_each(record.findings, old.findings, clean, "text", "owner", "waiver"),
    )


def _text(text: str, old: str | None, clean: Clean) -> str:
    return text if not text or text == old else clean(text)


def _each(items: tuple[T, ...], old: tuple[T, ...], clean: Clean, *names: str) -> tuple[T, ...]:
    if items == old:
        return items
    known = {id(one) for one in old}
    return tuple(
        one if id(one) in known or old.count(one) else _made(one, clean, names) for one in items
    )


def _made(one: Any, clean: Clean, names: tuple[str, ...]) -> Any:
    texts = {name: getattr(one, name) for name in names}
    return replace(one, **{name: clean(text) for name, text in texts.items() if text})
