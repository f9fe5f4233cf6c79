"""What people are told as an incident changes: when it opens, gets worse, waits for them, is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from firedoor.core.facts import facts, fill
from firedoor.core.incident import ActionRecord, ActionState, IncidentRecord
from firedoor.core.lifecycle import ORDER
from firedoor.core.runbook import Runbook
from firedoor.incidents.book import Incidents
from firedoor.incidents.notify import Message, Notifier
from firedoor.types import IncidentState, Severity

__all__ = ["announce", "messages"]

_WORST = tuple(Severity)
_ASKS = {ActionState.WAITING: "approval", ActionState.SUGGESTED: "suggestion"}
_WENT_WRONG = {
    ActionState.FAILED: "did not help within its window",
    ActionState.ERRORED: "could not be applied",
    ActionState.LAPSED: "was approved by nobody in time",
}


def announce(book: Incidents, notifier: Notifier) -> Callable[[], None]:
    """Send what people have to know of every change that `book` tells of; answers the undo."""

    def changed(before: IncidentRecord | None, after: IncidentRecord) -> None:
        for message in messages(before, after, book.runbook_of(after)):
            notifier.send(message)

    return book.subscribe(changed)


def messages(
    before: IncidentRecord | None, after: IncidentRecord, runbook: Runbook
) -> Iterator[Message]:
    """The messages of one change, the most important first."""
    last = None if before is None else before.told
    if last is None and after.told is not None:
        yield _message("opened", after, _headline(after), _first(after, runbook))
    elif before is not None:
        worse = _WORST.index(after.severity) < _WORST.index(before.severity)
        if worse and after.open:
            why = after.severity_reasons[0] if after.severity_reasons else ""
            yield _message("severity", after, f"Worse: {_headline(after)}", why)
    if last is not None and after.told is not None and after.told is not last:
        yield _state(after, last)
    if after.open:
        had = {} if before is None else {action.id: action for action in before.actions}
        for action in after.actions:
            yield from _action(after, had.get(action.id), action)
    was = after.recovered_at if before is None else before.recovered_at
    if after.open and was is None and after.recovered_at is not None:
        yield _message("recovered", after, f"Signals are back: {_headline(after)}", "")


def _state(record: IncidentRecord, last: IncidentState) -> Message:
    state = record.told or record.state
    entry = next((e for e in reversed(record.timeline) if e.event == state.value), None)
    said = f"{entry.text} (by {entry.actor})" if entry is not None else ""
    again = ORDER.index(state) < ORDER.index(last)
    word = "Open again" if again else state.value.capitalize()
    return _message(
        "reopened" if again else state.value, record, f"{word}: {_headline(record)}", said
    )


def _action(
    record: IncidentRecord, before: ActionRecord | None, action: ActionRecord
) -> Iterator[Message]:
    if before is not None and before.state is action.state:
        return
    what = action.text or action.kind
    if action.state in _ASKS and action.approved_by is None:
        until = ""
        if action.approve_until is not None:
            until = f" Until {datetime.fromtimestamp(action.approve_until, UTC):%H:%M} UTC."
        yield _message(
            _ASKS[action.state],
            record,
            f"Your decision: {what} ({record.severity} {record.id})",
            f"firedoor incidents approve {record.id} {action.id}\n"
            f"firedoor incidents reject {record.id} {action.id}{until and chr(10)}{until.strip()}",
            action=action.id,
        )
    elif action.state in _WENT_WRONG:
        yield _message(
            "action",
            record,
            f"{what} {_WENT_WRONG[action.state]} ({record.severity} {record.id})",
            _open_page(record),
            action=action.id,
        )


def _headline(record: IncidentRecord) -> str:
    kind = "unknown class" if record.incident_class is None else record.incident_class.value
    where = record.journey or record.service
    title = f": {record.title}" if record.title else ""
    return f"{record.severity} {record.id} {kind.replace('_', ' ')} on {where}{title}"


def _first(record: IncidentRecord, runbook: Runbook) -> str:
    known = facts(record)
    done = known.get("actions", "nothing by itself so far")
    again = f"\nSeen before: {record.recurrence_of}" if record.recurrence_of else ""
    return (
        f"Do first: {fill(runbook.first_action, known)}\nDone: {done}{again}\n{_open_page(record)}"
    )


def _open_page(record: IncidentRecord) -> str:
    return f"firedoor runbook {record.id}"


def _message(
    event: str, record: IncidentRecord, title: str, body: str, action: str | None = None
) -> Message:
    kind = None if record.incident_class is None else record.incident_class.value
    data = {
        "service": record.service,
        "incident_class": kind or "unknown",
        "state": record.state.value,
        "journey": record.journey,
        "route": record.route,
        "alias": record.alias,
        "at": record.updated_at,
    }
    if action is not None:
        data["action"] = action
    return Message(event, title, body, record.id, record.severity.value, data)
