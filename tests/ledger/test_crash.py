"""kill -9 at any point of the lifecycle: nothing acknowledged is lost, nothing is half there."""

import itertools
import os
import random
import signal
import threading
from dataclasses import replace

import pytest

from firedoor.core import lifecycle
from firedoor.core.incident import ActionRecord, ActionState, AlertRecord, Finding, IncidentRecord
from firedoor.incidents.book import Incidents
from firedoor.ledger import open_ledger
from firedoor.ledger.postgres import PostgresLedger
from firedoor.ledger.sqlite import SQLiteLedger
from firedoor.sqlite_file import SQLiteFile
from firedoor.testing import FakeClock
from firedoor.types import IncidentState

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    # Of a process with threads: the child opens a ledger of its own and touches nothing else.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ACTION = ActionRecord("a" * 12, "safe_mode", "safe mode on help", state=ActionState.APPLYING)
ALERT = AlertRecord("refusals-up", "refusal_rate", since=1.0, fired_at=2.0)


def steps(book, incident_id, now):
    """Every step of a life, each an edit of the record."""

    def edit(change):
        return lambda: book.update(incident_id, change)

    step = lifecycle
    yield edit(lambda r: step.alerted(r, ALERT, now=now))
    yield edit(lambda r: step.act(r, ACTION, now=now))
    yield edit(lambda r: step.act(r, replace(ACTION, state=ActionState.APPLIED), now=now))
    yield edit(lambda r: step.contain(r, "held", now=now))
    yield edit(lambda r: step.act(r, replace(ACTION, state=ActionState.VERIFIED), now=now))
    yield edit(lambda r: step.recovered_alert(r, ALERT.name, now=now))
    yield edit(lambda r: step.stabilise(r, now=now))
    yield edit(lambda r: step.diagnose(r, now=now))
    yield edit(lambda r: step.assign(r, "ana", now=now))
    yield edit(lambda r: step.act(r, replace(ACTION, state=ActionState.REVERTED), now=now))
    yield edit(lambda r: step.close(r, [Finding("x", probe="p")], now=now + 900))


def walk(book, name, told):
    """One incident from its opening to its end; `told(version)` after each step that is done."""
    now = book.time()
    opened = book.open(IncidentRecord(name, "", title=name), name)
    told(1)
    for step in steps(book, opened.id, now):
        told(step().version)


def lives(count):
    """Every record that a life comes to, by its version."""
    book = Incidents(service="shop", clock=FakeClock())
    known = {}
    book.subscribe(lambda before, after: known.setdefault(after.version, after))
    walk(book, "INC-1", lambda version: None)
    assert sorted(known) == list(range(1, count + 1))
    return known


WHOLE = lives(12)


def killed(url, doom):
    """A child that walks incidents until it is killed: what it had acknowledged by then.

    Args:
        url: Of the ledger.
        doom: Called in the child with its ledger, to see that it dies; answers how long to let it
            live, or None where it dies by itself.
    """
    read, write = os.pipe()
    alive, started = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ledger = open_ledger(url)
            book = Incidents(ledger, service="shop", clock=FakeClock(), offline="raise")
            doom(ledger)
            os.write(started, b"!")
            for number in itertools.count():
                name = f"INC-{os.getpid()}-{number}"
                walk(book, name, lambda v, name=name: os.write(write, f"{name} {v}\n".encode()))
        except BaseException as error:
            os.write(write, f"failed {type(error).__name__}: {error}\n".encode())
        os._exit(3)
    os.close(write)
    os.close(started)
    return child, read, alive


def finish(child, read, alive):
    data = b"".join(iter(lambda: os.read(read, 65536), b""))
    status = os.waitpid(child, 0)[1]
    os.close(read)
    os.close(alive)
    assert "failed" not in data.decode(), data.decode()
    assert os.WTERMSIG(status) == signal.SIGKILL
    lines = data.decode().split("\n")
    assert lines.pop() == ""  # one write to a pipe is whole or not there
    acknowledged = {}
    for line in lines:
        name, version = line.split()
        acknowledged[name] = int(version)
    return acknowledged


def check(url, acknowledged):
    """What was acknowledged is there; whatever is there is a whole record of a life."""
    ledger = open_ledger(url)
    try:
        there = {r.id: r for r in ledger.incidents(limit=10_000)}
        for name, version in acknowledged.items():
            assert version <= there[name].version <= version + 1
        for name, record in there.items():
            whole = WHOLE[record.version]
            own = {"id": "", "title": "", "timeline": (), "recurrence_of": None, "told": None}
            assert replace(record, **own) == replace(whole, **own)
            assert [e.event for e in record.timeline] == [e.event for e in whole.timeline]
            assert ledger.load(name) == record
            if record.state is not IncidentState.CLOSED:  # and it still stands under its key
                assert ledger.open_one(replace(record, id="INC-x", version=1), name) == record
        unfinished = [r for r in there.values() if r.open]
        book = Incidents(ledger, service="shop", clock=FakeClock())
        for record in unfinished:  # and can be taken on from where it was
            book.update(record.id, lambda r: lifecycle.note(r, "found", now=1.0))
        return len(unfinished)
    finally:
        ledger.close()


def connection_of(ledger):
    return ledger._file._connection if isinstance(ledger, SQLiteLedger) else ledger._connection


def tracing(connection, tick):
    """Have `tick` called before each statement of a connection, and after it."""
    if hasattr(connection, "set_trace_callback"):
        connection.set_trace_callback(tick)
        return
    run = connection.execute

    def execute(*args, **kwargs):
        tick()
        done = run(*args, **kwargs)
        tick()  # done and not yet committed
        return done

    connection.execute = execute


def dying(statement):
    """Kills the process as it is called for the n-th time."""
    count = itertools.count(1)

    def tick(*_):
        if next(count) == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    return tick


def test_killed_before_each_statement_of_a_life(shared_url):
    open_ledger(shared_url).close()
    found, seen = {}, set()
    for statement in range(1, 61):
        doom = dying(statement)
        acknowledged = finish(*killed(shared_url, lambda own: tracing(connection_of(own), doom)))
        seen.add(max(acknowledged.values(), default=0))
        found |= acknowledged
    assert check(shared_url, found) > 20
    assert len(seen) >= 9  # it was killed at every part of the lifecycle


def test_killed_at_any_moment(shared_url):
    chance = random.Random(7)
    open_ledger(shared_url).close()
    found, unfinished = {}, 0
    for _ in range(40):
        child, read, alive = killed(shared_url, lambda ledger: None)
        assert os.read(alive, 1) == b"!"
        timer = threading.Timer(chance.uniform(0.0, 0.08), os.kill, (child, signal.SIGKILL))
        timer.start()
        acknowledged = finish(child, read, alive)
        timer.join()
        found |= acknowledged
        unfinished += any(version < 12 for version in acknowledged.values())
    check(shared_url, found)
    assert unfinished > 5


def test_killed_while_the_schema_is_made(shared_url):
    """The first process of all may be the one that dies."""
    kind, name = (
        (PostgresLedger, "_connect")
        if shared_url.startswith("postgresql")
        else (SQLiteFile, "connect")
    )
    connect = getattr(kind, name)
    for statement in range(1, 10):
        child = os.fork()
        if child == 0:
            doom = dying(statement)

            def connected(self, doom=doom):
                connection = connect(self)
                tracing(connection, doom)
                return connection

            setattr(kind, name, connected)
            open_ledger(shared_url)
            os.kill(os.getpid(), signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    ledger = open_ledger(shared_url)
    assert ledger.incidents() == ()
    ledger.close()
