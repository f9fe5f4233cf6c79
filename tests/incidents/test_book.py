"""The incident book: one way to change an incident, with the ledger there and away."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import firedoor as fd
from firedoor.core import lifecycle
from firedoor.core.incident import ActionRecord, ActionState, AlertRecord, IncidentRecord
from firedoor.errors import LifecycleError, StoreError, UnknownIncident
from firedoor.incidents import book as books
from firedoor.incidents.book import Incidents
from firedoor.ledger import MemoryLedger, open_ledger
from firedoor.testing import FakeClock
from firedoor.types import IncidentClass, IncidentState, Severity
from support.records import incident

ACTION = ActionRecord("abcdef123456", "safe_mode", "safe mode on help", state=ActionState.WAITING)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def book(clock):
    return Incidents(service="shop", clock=clock)


def fresh(**fields):
    fields = {"first_bad_at": None, "detected_at": None, "version": 0, "service": "", **fields}
    return incident("", **fields)


# Opening and reading -------------------------------------------------------------------------


def test_an_opened_incident_is_complete(book, clock):
    one = book.open(fresh(), "help")
    assert one.id.startswith("INC-")
    assert (one.service, one.state, one.version) == ("shop", IncidentState.OPEN, 1)
    assert one.detected_at == one.first_bad_at == book.time()
    assert one.fingerprint
    assert [entry.event for entry in one.timeline] == ["detected"]
    assert book.get(one.id) == one
    assert repr(one) == f"<Incident {one.id} SEV2 quality_regression open>"


def test_one_incident_is_open_for_a_key(book):
    one = book.open(fresh(), "help")
    assert book.open(fresh(title="other"), "help") == one
    assert book.open(fresh(), "elsewhere") != one
    assert len(book.current()) == 2


def test_the_worst_comes_first_and_of_the_same_the_older(book, clock):
    ids = []
    for severity in (Severity.SEV3, Severity.SEV1, Severity.SEV3, Severity.SEV2):
        clock.advance(1)
        ids.append(book.open(fresh(severity=severity), str(len(ids))).id)
    assert [one.id for one in book.current()] == [ids[1], ids[3], ids[0], ids[2]]
    assert [one.id for one in book.history()] == ids[::-1]
    assert [one.id for one in book.history(2)] == ids[:1:-1]


def test_a_handle_is_always_fresh(book, clock):
    mine, theirs = book.open(fresh(), "help"), Incidents(book.ledger, clock=clock)
    theirs.get(mine.id).contain("held", actor="bo")
    assert mine.state is IncidentState.CONTAINED
    assert mine.timeline[-1].actor == "bo"
    assert mine.journey == "help"
    with pytest.raises(AttributeError):
        _ = mine.nothing


def test_the_beginning_of_an_id_is_enough(book):
    one = book.open(fresh(), "help")
    for text in (one.id, one.id[4:], one.id[:8], one.id[4:8].upper()):
        assert book.find(text) == one
    book.open(fresh(), "elsewhere")
    with pytest.raises(UnknownIncident, match="say which"):
        book.find("INC-")
    with pytest.raises(UnknownIncident, match=f"no incident 'x'.*{one.id}"):
        book.find("x")
    with pytest.raises(LookupError):
        book.get("INC-x")


def test_an_id_that_is_taken_is_not_given_twice(book, monkeypatch):
    ids = iter(["INC-1", "INC-1", "INC-1", "INC-2"])
    monkeypatch.setattr(Incidents, "new_id", staticmethod(lambda: next(ids)))
    assert book.open(fresh(), "a").id == "INC-1"
    assert book.open(fresh(), "b").id == "INC-2"


def test_happening_again_is_known(book, clock):
    def live(**fields):
        one = book.open(fresh(**fields), "help")
        found = one.recurrence_of
        one.contain()
        one.stabilise()
        one.diagnose()
        one.close(waiver="a drill", owner="ana", recovered="looked")
        clock.advance(3600)
        return one.id, found

    first, nothing = live()
    second, earlier = live()
    assert (nothing, earlier) == (None, first)
    assert live(journey="checkout")[1] is None
    assert live()[1] == second


def test_the_class_found_later_decides_what_it_repeats(book):
    first = book.open(fresh(), "help")
    first.contain(), first.stabilise(), first.diagnose()
    first.close(waiver="w", owner="o", recovered="r")
    second = book.open(fresh(incident_class=None), "help")
    assert second.recurrence_of is None
    book.update(second.id, lambda r: replace(r, incident_class=IncidentClass.QUALITY_REGRESSION))
    assert second.recurrence_of == first.id


def test_what_a_person_noticed_is_an_incident_like_others(make_door):
    clock = FakeClock()
    door = make_door(clock=clock)
    door.watch(fd.alerts.defaults())
    one = door.incidents.declare(
        "wrong language", journey="help", since=clock.time_ns() / 1e9 - 60, actor="ana"
    )
    two = door.incidents.declare("another", incident_class=IncidentClass.COST_RUNAWAY)
    assert one != two
    for _ in range(5):
        clock.advance(60)
        door.evaluate()
    assert (one.state, one.incident_class, one.severity) == (
        IncidentState.OPEN,
        None,
        Severity.SEV3,
    )
    assert two.incident_class is IncidentClass.COST_RUNAWAY
    assert one.time_to_detect == pytest.approx(60)
    one.contain("switched back by hand")
    one.stabilise(), one.diagnose()
    door.evaluate()
    one.close(waiver="seen by hand", owner="ana", recovered="asked support")
    assert [i.id for i in door.incidents.current()] == [two.id]


def test_times_by_class(book, clock):
    for seconds in (10, 30, 20):
        one = book.open(fresh(first_bad_at=book.time() - 5), "help")
        clock.advance(seconds)
        one.contain()
        one.stabilise(), one.diagnose()
        one.close(waiver="w", owner="o", recovered="r")
    book.open(fresh(incident_class=None), "other")
    found = book.times()
    quality = found[IncidentClass.QUALITY_REGRESSION]
    assert (quality.incidents, quality.open, quality.recurrences) == (3, 0, 2)
    assert (quality.detect.count, quality.detect.median) == (3, pytest.approx(5))
    assert (quality.contain.median, quality.contain.longest) == (
        pytest.approx(25),
        pytest.approx(35),
    )
    assert found[None].contain.median is None
    assert list(found) == [IncidentClass.QUALITY_REGRESSION, None]


def test_its_runbook_is_on_one_screen(book):
    one = book.open(fresh(), "help")
    page = one.runbook().splitlines()
    assert len(page) <= 24
    assert max(map(len, page)) <= 80
    assert one.id in "".join(page)
    own = fd.Runbook(
        incident_class="quality_regression",
        severity={},
        owners={"lead": "Zoe"},
        rollback=[{"label": "a", "does": "b", "command": "firedoor status"}],
        communication="c",
        closure=["d"],
        first_action="ring the bell",
    )
    assert "ring the bell" in Incidents(book.ledger, runbooks=[own]).get(one.id).runbook()


def test_what_people_write_is_redacted(clock):
    book = Incidents(service="shop", clock=clock, clean=fd.Redactor().redact_text)
    secret = "ana.lopez@example.com"
    one = book.open(fresh(title=f"from {secret}", why=secret), "help")
    one.note(f"ask {secret}", actor=secret)
    one.assign(secret)
    one.contain(f"because {secret}")
    one.add_finding(fd.Finding(f"never {secret}", owner=secret, waiver=secret))
    book.update(one.id, lambda r: lifecycle.act(r, replace(ACTION, text=secret), now=1.0))
    book.update(
        one.id,
        lambda r: lifecycle.alerted(r, AlertRecord("a", "refusal_rate", why=secret), now=1.0),
    )
    one.reject("abc", reason=secret, actor=secret)
    assert secret not in repr(one.record)
    assert "<email:" in one.title


def test_redaction_looks_at_what_is_new_only(clock):
    seen = []
    book = Incidents(service="shop", clock=clock, clean=lambda text: seen.append(text) or text)
    one = book.open(fresh(title="a title"), "help")
    seen.clear()
    one.note("a note", actor="ana")
    assert set(seen) == {"a note", "ana"}


# Changing ------------------------------------------------------------------------------------


def test_of_many_who_change_one_none_is_lost(tmp_path, clock):
    url = f"sqlite:///{tmp_path}/incidents.db"
    first = Incidents(open_ledger(url), clock=clock)
    one = first.open(fresh(service="shop"), "help")

    def write(name):
        own = Incidents(open_ledger(url), clock=clock)
        for number in range(10):
            own.get(one.id).note(f"{name}{number}")
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    notes = {entry.text for entry in one.timeline if entry.event == "note"}
    assert notes == {f"{name}{number}" for name in "abcd" for number in range(10)}
    first.close()


def test_one_process_approves_and_the_other_sees_it(tmp_path, clock):
    url = f"sqlite:///{tmp_path}/incidents.db"
    app = Incidents(open_ledger(url), service="shop", clock=clock)
    one = app.open(fresh(), "help")
    app.update(one.id, lambda r: lifecycle.act(r, ACTION, now=book_time(app)))
    child = os.fork()
    if child == 0:
        typed = Incidents(open_ledger(url), clock=clock, offline="raise")
        typed.find(one.id[:8]).approve("abc", actor="bo")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    (record,) = app.refresh()
    assert record.actions[0].approved_by == "bo"
    with pytest.raises(LifecycleError, match="approved by bo"):
        one.reject("abc", actor="cy")
    app.close()


def book_time(book):
    return book.time()


def test_whoever_applies_actions_is_told_of_a_decision_made_here(book):
    one = book.open(fresh(actions=(ACTION,)), "help")
    told = []
    book.on_decided(lambda record: told.append(record.actions[0].approved_by))
    one.approve("abc", actor="bo")
    assert told == ["bo"]


def test_an_edit_that_changes_nothing_writes_nothing(book):
    one = book.open(fresh(), "help")
    told = []
    book.subscribe(lambda before, after: told.append(after))
    assert book.update(one.id, lambda r: replace(r)).version == 1
    assert told == []


def test_a_refused_step_leaves_all_as_it_was(book):
    one = book.open(fresh(), "help")
    before = one.record
    with pytest.raises(LifecycleError, match="before containment"):
        one.diagnose("curious")
    assert one.record == before


def test_a_listener_that_fails_hurts_nobody(clock):
    faults = []
    book = Incidents(clock=clock, on_fault=faults.append)

    def listener(before, after):
        raise RuntimeError("mine")

    leave = book.subscribe(listener)
    one = book.open(fresh(), "help")
    one.note("x")
    leave()
    one.note("y")
    assert [str(fault) for fault in faults] == ["mine", "mine"]


# The ledger is away --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(postgres_server):
    """One database for all: it takes hundreds of files."""
    return postgres_server.database()


@pytest.fixture
def away(postgres_server, database, clock):
    """A book on a real server, and what shuts the server's door."""
    url = database
    open_ledger(url).close()
    postgres_server.command("DELETE FROM firedoor_incident", url)
    faults = []
    book = Incidents(open_ledger(url), service="shop", clock=clock, on_fault=faults.append)
    book.faults = faults
    book.url = url
    yield book, lambda: postgres_server.away(url)
    book.close()


def test_what_happens_while_it_is_away_is_written_when_it_is_back(away, clock):
    book, shut = away
    one = book.open(fresh(), "help")
    with shut():
        one.contain("held", actor="ana")
        one.note("looked at it")
        two = book.open(fresh(journey="checkout"), "checkout")
        two.contain("held too")
        assert book.pending == 4
        assert one.state is two.state is IncidentState.CONTAINED
        assert {i.id for i in book.current()} == {one.id, two.id}
        assert book.snapshot()["reachable"] is False
        assert book.faults and all(isinstance(fault, StoreError) for fault in book.faults)
    clock.advance(60)
    assert book.sync()
    other = open_ledger(book.url)
    for incident_id in (one.id, two.id):
        assert other.load(incident_id).state is IncidentState.CONTAINED
    assert [e.text for e in other.load(one.id).timeline][1:] == ["contained: held", "looked at it"]
    other.close()
    assert book.snapshot()["reachable"] is True


def test_a_ledger_that_is_away_is_asked_rarely(away, clock):
    book, shut = away
    one = book.open(fresh(), "help")
    with shut():
        for _ in range(50):
            one.note("x")
            _ = one.state
            book.current()
            book.refresh()
        assert len(book.faults) == 1
        clock.advance(1.1)
        one.note("y")
        assert len(book.faults) == 2
        clock.advance(1.1)  # twice as long now
        one.note("z")
        assert len(book.faults) == 2
    clock.advance(60)
    one.note("back")
    assert book.pending == 0
    assert len(one.timeline) == 1 + 50 + 3


def test_what_others_did_meanwhile_is_kept(away, clock):
    book, shut = away
    one = book.open(fresh(), "help")
    other = Incidents(open_ledger(book.url), clock=clock)
    with shut():
        one.note("from here")
        one.contain("from here")
    other.get(one.id).contain("from there", actor="bo")
    clock.advance(60)
    assert book.sync()
    texts = [entry.text for entry in one.timeline]
    assert texts[1:] == ["contained: from there", "from here"]
    assert book.snapshot()["lost"] == 1  # the second containment
    other.close()


def test_two_who_opened_the_same_apart_have_one_in_the_end(away, clock):
    book, shut = away
    with shut():
        mine = book.open(fresh(), "help")
        mine.note("seen here")
        first = mine.id
    theirs = Incidents(open_ledger(book.url), service="shop", clock=clock)
    other = theirs.open(fresh(), "help")
    clock.advance(60)
    assert book.sync()
    assert mine.id == other.id != first
    assert [entry.text for entry in other.timeline][1:] == ["seen here"]
    assert [one.id for one in book.current()] == [other.id]
    theirs.close()


def test_what_waits_is_bounded_and_openings_are_kept(away, clock, monkeypatch):
    monkeypatch.setattr(books, "MOST_PENDING", 5)
    book, shut = away
    with shut():
        one = book.open(fresh(), "help")
        for number in range(20):
            one.note(str(number))
        assert book.pending == 5
        assert book.snapshot()["lost"] == 16
    clock.advance(60)
    assert book.sync()
    assert [entry.text for entry in one.timeline][1:] == ["16", "17", "18", "19"]


def test_a_command_line_says_so_instead(away, clock):
    book, shut = away
    one = book.open(fresh(), "help")
    typed = Incidents(open_ledger(book.url), clock=clock, offline="raise")
    with shut():
        with pytest.raises(StoreError):
            typed.get(one.id)
        with pytest.raises(StoreError):
            typed.update(one.id, lambda r: lifecycle.note(r, "x", now=1.0))
    assert typed.pending == 0
    typed.close()


def test_telling_happens_once_though_it_waits(away, clock):
    book, shut = away
    told = []
    book.subscribe(lambda before, after: told.append((before and before.told, after.told)))
    with shut():
        one = book.open(fresh(), "help")
        one.contain()
    clock.advance(60)
    assert book.sync()
    book.refresh()
    assert told == [(None, IncidentState.OPEN), (IncidentState.OPEN, IncidentState.CONTAINED)]


def test_what_is_not_known_here_cannot_be_changed_blindly(away):
    book, shut = away
    with shut(), pytest.raises(StoreError, match="not known here"):
        book.update("INC-x", lambda r: r)


def test_threads_may_use_one_book(book):
    one = book.open(fresh(), "help")
    start = threading.Barrier(8)

    def work(number):
        start.wait()
        for _ in range(20):
            one.note(str(number))
            book.refresh()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len([e for e in one.timeline if e.event == "note"]) == 160


def test_a_memory_ledger_forgets_closed_ones_first():
    ledger = MemoryLedger(most=3)
    for number in range(3):
        state = IncidentState.CLOSED if number == 1 else IncidentState.OPEN
        ledger.save(IncidentRecord(f"INC-{number}", "s", version=1, state=state), expected=0)
    ledger.save(IncidentRecord("INC-3", "s", version=1), expected=0)
    assert sorted(r.id for r in ledger.incidents()) == ["INC-0", "INC-2", "INC-3"]
    ledger.open_one(IncidentRecord("INC-4", "s", version=1), "k")
    assert sorted(r.id for r in ledger.incidents()) == ["INC-2", "INC-3", "INC-4"]
