"""What a ledger forgets, and what never: on memory, SQLite and PostgreSQL."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firedoor.ledger import open_ledger, schema
from firedoor.ledger.sqlite import SQLiteLedger
from firedoor.types import IncidentState
from support.ledgers import writing
from support.records import incident

CLOSED = IncidentState.CLOSED


def closed(number, at, **fields):
    return incident(f"INC-{number}", state=CLOSED, updated_at=float(at), **fields)


def there(ledger):
    return {record.id for record in ledger.incidents(limit=1_000)}


def test_what_was_closed_before_goes_the_oldest_first_and_few_at_a_time(ledger):
    for number in range(7):
        ledger.save(closed(number, at=number), expected=0)
    assert ledger.prune(before=5.0, limit=3) == ("INC-0", "INC-1", "INC-2")
    assert there(ledger) == {"INC-3", "INC-4", "INC-5", "INC-6"}
    assert ledger.prune(before=5.0, limit=3) == ("INC-3", "INC-4")
    assert ledger.prune(before=5.0, limit=3) == ()
    assert there(ledger) == {"INC-5", "INC-6"}
    assert ledger.load("INC-0") is None


def test_an_open_incident_stays_however_old_it_is(ledger):
    for number, state in enumerate(IncidentState):
        ledger.open_one(incident(f"INC-{number}", state=state, updated_at=1.0), f"key {number}")
    assert ledger.prune(before=1e12) == ("INC-4",)
    assert there(ledger) == {"INC-0", "INC-1", "INC-2", "INC-3"}


def test_whoever_is_kept_keeps_the_one_it_repeats(ledger):
    ledger.save(closed(0, at=1), expected=0)
    ledger.save(closed(1, at=2, recurrence_of="INC-0"), expected=0)
    ledger.save(closed(2, at=3, recurrence_of="INC-1"), expected=0)
    ledger.save(incident("INC-3", updated_at=3.0, recurrence_of="INC-2"), expected=0)
    ledger.save(closed(4, at=4), expected=0)
    ledger.save(closed(5, at=60, recurrence_of="INC-4"), expected=0)
    # Those before it are old themselves, or what happens every week would be kept for ever.
    assert ledger.prune(before=50.0) == ("INC-0", "INC-1")
    assert there(ledger) == {"INC-2", "INC-3", "INC-4", "INC-5"}
    over = replace(ledger.load("INC-3"), version=2, state=CLOSED, updated_at=5.0)
    assert ledger.save(over, expected=1)
    assert ledger.prune(before=50.0) == ("INC-2", "INC-3")


def test_what_an_incident_turns_out_to_repeat_is_kept_too(ledger):
    ledger.save(closed(0, at=1), expected=0)
    ledger.save(incident("INC-1"), expected=0)
    assert ledger.save(incident("INC-1", version=2, recurrence_of="INC-0"), expected=1)
    assert ledger.prune(before=50.0) == ()


def test_of_one_service_only(ledger):
    ledger.save(closed(0, at=1, service="shop"), expected=0)
    ledger.save(closed(1, at=1, service="bank"), expected=0)
    assert ledger.prune(before=50.0, service="shop") == ("INC-0",)
    assert ledger.prune(before=50.0) == ("INC-1",)


def test_a_dry_run_tells_and_forgets_nothing(ledger):
    for number in range(3):
        ledger.save(closed(number, at=number), expected=0)
    assert ledger.prune(before=50.0, limit=2, dry_run=True) == ("INC-0", "INC-1")
    assert len(there(ledger)) == 3


def test_what_was_forgotten_can_be_opened_again(ledger):
    ledger.open_one(closed(0, at=1), "help")
    ledger.prune(before=50.0)
    assert not ledger.save(closed(0, at=60, version=2), expected=1)
    assert ledger.open_one(incident("INC-0"), "help").id == "INC-0"


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    given=st.lists(
        st.tuples(
            st.sampled_from(IncidentState), st.integers(0, 9), st.none() | st.integers(0, 11)
        ),
        max_size=12,
    ),
    before=st.integers(0, 10),
    limit=st.integers(0, 5),
)
def test_the_rule_is_the_same_everywhere(ledger, given, before, limit):
    """The rule once more, in plain words, over whatever is in a ledger."""
    ledger.prune(before=1e12, limit=1_000, service="mine")
    assert {r for r in there(ledger) if ledger.load(r).service == "mine"} == set()
    records = [
        incident(
            f"INC-m{number}",
            service="mine",
            state=CLOSED,
            updated_at=float(at),
            recurrence_of=None if again is None else f"INC-m{again}",
            title=str(state),
        )
        for number, (state, at, again) in enumerate(given)
    ]
    for record, (state, *_) in zip(records, given, strict=True):
        assert ledger.save(replace(record, state=state), expected=0)
    old = {
        r.id
        for r, (state, *_) in zip(records, given, strict=True)
        if state is CLOSED and r.updated_at < before
    }
    held = {r.recurrence_of for r in records if r.id not in old}
    expected = sorted(
        (r for r in records if r.id in old - held), key=lambda r: (r.updated_at, r.id)
    )[:limit]
    assert ledger.prune(before=float(before), service="mine", limit=limit) == tuple(
        r.id for r in expected
    )
    assert {r.id for r in ledger.incidents(service="mine")} == {
        r.id for r in records if r not in expected
    }
    for record in ledger.incidents(service="mine"):
        ledger.save(replace(record, version=2, state=CLOSED, recurrence_of=None), expected=1)


# Shared ledgers ------------------------------------------------------------------------------


def test_of_many_who_prune_at_once_each_incident_is_forgotten_by_one(shared_url):
    ledgers = [open_ledger(shared_url) for _ in range(4)]
    for number in range(120):
        ledgers[0].save(closed(number, at=number % 7), expected=0)
    ledgers[0].save(incident("INC-open", updated_at=0.0), expected=0)
    start = threading.Barrier(4)

    def prune(ledger):
        start.wait()
        gone = []
        while batch := ledger.prune(before=50.0, limit=10):
            gone += batch
        return gone

    with ThreadPoolExecutor(4) as pool:
        gone = [one for found in pool.map(prune, ledgers) for one in found]
    assert sorted(gone) == sorted({f"INC-{number}" for number in range(120)})
    assert there(ledgers[0]) == {"INC-open"}
    for ledger in ledgers:
        ledger.close()


def test_a_ledger_of_the_first_schema_learns_what_repeats_what(shared_url, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        earlier.setattr(schema, "VERSION", 1)
        ledger = open_ledger(shared_url)
    again = closed(1, at=60, recurrence_of="INC-0", title='"recurrence_of":"INC-2"')
    with writing(ledger) as run:
        for record in (closed(0, at=1), again, closed(2, at=1)):
            names = schema.COLUMNS.removesuffix(", recurrence_of")
            marks = ", ".join("?" * (names.count(",") + 1))
            run(
                f"INSERT INTO firedoor_incident ({names}) VALUES ({marks})",
                schema.row(record, None)[:-1],
            )
    ledger.close()
    ledger = open_ledger(shared_url)
    assert ledger.prune(before=50.0) == ("INC-2",)
    assert ledger.load("INC-1") == again
    ledger.close()


def test_what_is_old_is_found_without_reading_what_is_not(shared_url):
    ledger = open_ledger(shared_url)
    for number in range(300):
        ledger.save(closed(number, at=1_000 + number), expected=0)
    text, values = schema.outdated(before=1_001.0, service="shop", limit=10)
    sqlite = isinstance(ledger, SQLiteLedger)
    with writing(ledger) as run:
        run("ANALYZE" if sqlite else "ANALYZE firedoor_incident", ())
        plan = run(f"EXPLAIN {'QUERY PLAN ' if sqlite else ''}{text}", values).fetchall()
    assert "firedoor_incident_closed" in repr(plan)
    assert "firedoor_incident_repeats" in repr(plan)
    ledger.close()
