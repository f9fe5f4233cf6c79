"""How long incidents are kept: who forgets them, when, and what no retention may cost."""

import logging
from dataclasses import replace

import pytest

import firedoor as fd
from firedoor.errors import StoreError
from firedoor.incidents import retention
from firedoor.incidents.book import Incidents
from firedoor.ledger import MemoryLedger, open_ledger
from firedoor.testing import FakeClock
from firedoor.types import IncidentState
from support.records import incident

DAY = 86_400.0


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/incidents.db"


def closed(book, number, *, days, **fields):
    """An incident closed so many days ago."""
    fields = {"service": "test-app", "state": IncidentState.CLOSED, **fields}
    at = book.time() - days * DAY
    record = incident(f"INC-{number}", updated_at=at, detected_at=at, **fields)
    assert book.ledger.save(record, expected=0)
    return record.id


def there(book):
    return sorted(one.id for one in book.history(1_000))


def test_two_years_is_what_is_kept_where_nobody_says(make_door, clock, url):
    door = make_door(ledger=url, clock=clock)
    closed(door.incidents, 1, days=731)
    kept = closed(door.incidents, 2, days=729)
    unclosed = closed(door.incidents, 3, days=5_000, state=IncidentState.DIAGNOSING)
    clock.advance(retention.FIRST)
    door.evaluate()
    assert there(door.incidents) == [kept, unclosed]


def test_for_how_long_can_be_said_and_for_ever_too(make_door, clock, tmp_path):
    for kept, days in (("90d", 89), (90 * DAY, 89), (None, 91)):
        door = make_door(ledger=f"sqlite:///{tmp_path}/{kept}.db", clock=clock, retention=kept)
        closed(door.incidents, 1, days=91)
        closed(door.incidents, 2, days=89)
        clock.advance(retention.FIRST)
        door.evaluate()
        assert len(there(door.incidents)) == (1 if days == 89 else 2)


@pytest.mark.parametrize("wrong", ["a year", 0, -1.0, True, "", float("nan")])
def test_a_retention_that_cannot_work_is_said(wrong):
    with pytest.raises(fd.ConfigurationError, match=r"retention=.*None keeps them for ever"):
        fd.Firedoor("shop", retention=wrong)


def test_a_few_at_a_time_until_there_are_none_and_then_once_an_hour(make_door, clock, url):
    door = make_door(ledger=url, clock=clock, retention="90d")
    for number in range(250):
        closed(door.incidents, number, days=91)
    left = []
    clock.advance(retention.FIRST)
    for _ in range(4):
        door.evaluate()
        left.append(len(there(door.incidents)))
        clock.advance(retention.SOON)
    assert left == [150, 50, 0, 0]
    closed(door.incidents, 1, days=91)
    door.evaluate()
    assert there(door.incidents) == ["INC-1"]
    clock.advance(retention.EVERY)
    door.evaluate()
    assert there(door.incidents) == []


def test_calls_do_not_wait_for_it(make_door, clock):
    door = make_door(clock=clock, retention="90d")
    closed(door.incidents, 1, days=91)
    door.watch([fd.Alert("late", signal="latency_p95", rule=fd.rules.Above(6.0), first_action=fd.actions.Notify("late"))])  # fmt: skip
    answer = door.llm("answer", model="gpt-5")(lambda: "yes")
    for _ in range(3):
        clock.advance(retention.EVERY)
        answer()  # the tail of a call looks at alerts, where time is faked
    assert there(door.incidents) == ["INC-1"]
    door.evaluate()
    assert there(door.incidents) == []


def test_a_door_forgets_what_is_its_own(make_door, clock, url):
    door = make_door(ledger=url, clock=clock, retention="90d")
    closed(door.incidents, 1, days=91, service="test-app")
    closed(door.incidents, 2, days=91, service="bank")
    clock.advance(retention.FIRST)
    door.evaluate()
    assert [r.id for r in door.incidents.ledger.incidents()] == ["INC-2"]


def test_what_was_forgotten_is_on_the_log(make_door, clock, caplog):
    caplog.set_level(logging.INFO, logger="firedoor")
    door = make_door(clock=clock, retention="90d")
    door.evaluate()
    closed(door.incidents, 1, days=91)
    clock.advance(retention.FIRST)
    door.evaluate()
    (line,) = [r.getMessage() for r in caplog.records if r.name == "firedoor"]
    assert line == "firedoor: 1 closed incidents were forgotten, untouched for 90 days: INC-1"


def test_a_ledger_that_is_away_is_counted_once_and_asked_again(make_door, clock, seen):
    door = make_door(clock=clock, retention="90d")
    closed(door.incidents, 1, days=91)
    away = True

    class Away(MemoryLedger):
        def prune(self, **kwargs):
            if away:
                raise StoreError("away")
            return ledger.prune(**kwargs)

    ledger, door.incidents.ledger = door.incidents.ledger, Away()
    clock.advance(retention.FIRST)
    door.evaluate()
    assert sum(p.value for p in seen.metric("firedoor.internal.errors")) == 1
    away = False
    clock.advance(retention.EVERY)
    door.evaluate()
    assert ledger.incidents() == ()


def test_a_person_may_forget_sooner(clock):
    book = Incidents(service="test-app", clock=clock)
    closed(book, 1, days=31)
    closed(book, 2, days=30.5)
    closed(book, 3, days=29)
    assert book.prune("30d", dry_run=True) == ("INC-1", "INC-2")
    assert book.prune("30d", limit=1) == ("INC-1",)
    assert book.prune(30 * DAY) == ("INC-2",)
    assert there(book) == ["INC-3"]
    with pytest.raises(fd.ConfigurationError, match="older_than='soon'"):
        book.prune("soon")


def test_what_is_forgotten_is_not_known_any_more_either(clock):
    book = Incidents(service="test-app", clock=clock)
    one = book.get(closed(book, 1, days=31))
    book.prune("30d")
    with pytest.raises(fd.UnknownIncident):
        one.note("too late")
    assert book.ledger.load("INC-1") is None


def test_touching_an_incident_keeps_it(clock):
    book = Incidents(service="test-app", clock=clock)
    book.get(closed(book, 1, days=400)).note("asked for by the auditors")
    assert book.prune("90d") == ()


def test_two_processes_may_have_different_minds(url, clock):
    strict = Incidents(open_ledger(url), service="test-app", clock=clock)
    other = Incidents(open_ledger(url), service="test-app", clock=clock)
    known = other.get(closed(strict, 1, days=31)).record
    strict.prune("30d")
    assert other.prune("60d") == ()
    assert other.ledger.save(replace(known, version=2), expected=1) is False
    strict.close()
    other.close()
