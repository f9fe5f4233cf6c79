"""What every ledger promises, on memory, SQLite and PostgreSQL."""

import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

from firedoor.core.incident import IncidentRecord
from firedoor.errors import ConfigurationError, StoreError
from firedoor.ledger import open_ledger, schema
from firedoor.ledger.sqlite import SQLiteLedger
from firedoor.types import IncidentState
from support.ledgers import writing
from support.records import full, incident, incidents


def test_everything_of_an_incident_comes_back(ledger, ledger_url):
    record = full()
    assert ledger.save(record, expected=0)
    assert ledger.load(record.id) == record
    if ledger.shared:
        again = open_ledger(ledger_url)
        assert again.load(record.id) == record
        again.close()


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(record=incidents)
def test_whatever_an_incident_holds_it_comes_back(ledger, record):
    record = replace(record, id=uuid.uuid4().hex)
    assert ledger.save(record, expected=0)
    assert ledger.load(record.id) == record
    assert record in ledger.incidents(service=record.service, fingerprint=record.fingerprint)


def test_nothing_is_there_at_first(ledger):
    assert ledger.load("INC-00000001") is None
    assert ledger.incidents() == ()


def test_a_save_needs_the_version_that_is_there(ledger):
    first = incident()
    assert not ledger.save(replace(first, version=2), expected=1)
    assert ledger.save(first, expected=0)
    assert not ledger.save(replace(first, title="other"), expected=0)
    second = replace(first, version=2, title="second")
    assert ledger.save(second, expected=1)
    assert not ledger.save(replace(first, version=2, title="late"), expected=1)
    assert ledger.load(first.id) == second


def test_of_many_writers_each_version_is_written_by_one(ledger):
    ledger.save(incident(), expected=0)
    won = []

    def write(name):
        for _ in range(10):
            while True:
                record = ledger.load("INC-00000001")
                made = replace(record, version=record.version + 1, title=f"{record.title} {name}")
                if ledger.save(made, expected=record.version):
                    won.append(made.version)
                    break

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    assert sorted(won) == list(range(2, 42))
    assert len(ledger.load("INC-00000001").title.split()) == 4 + 40


def test_one_incident_is_open_for_a_key(ledger):
    one, other = incident("INC-1"), incident("INC-2")
    assert ledger.open_one(one, "help") == one
    assert ledger.open_one(other, "help") == one
    assert ledger.load("INC-2") is None
    assert ledger.open_one(other, "elsewhere") == other
    assert ledger.open_one(replace(one, service="bank", id="INC-3"), "help").id == "INC-3"


def test_opening_again_answers_what_became_of_it(ledger):
    one = incident("INC-1")
    ledger.open_one(one, "help")
    grown = replace(one, version=2, title="grown")
    ledger.save(grown, expected=1)
    assert ledger.open_one(incident("INC-2"), "help") == grown


def test_closing_frees_the_key_and_nothing_else_does(ledger):
    one = incident("INC-1")
    ledger.open_one(one, "help")
    for version, state in enumerate(list(IncidentState)[1:-1], 2):
        assert ledger.save(replace(one, version=version, state=state), expected=version - 1)
        assert ledger.open_one(incident("INC-2"), "help").id == "INC-1"
    closed = replace(one, version=5, state=IncidentState.CLOSED)
    assert ledger.save(closed, expected=4)
    assert ledger.open_one(incident("INC-2"), "help").id == "INC-2"


def test_an_id_that_is_taken_opens_nothing(ledger):
    ledger.open_one(incident("INC-1"), "help")
    assert ledger.open_one(incident("INC-1", title="another"), "elsewhere") is None
    assert ledger.load("INC-1").title == "refusals up on help"


def test_many_open_the_same_one_at_once(ledger_url, ledger):
    ledgers = [open_ledger(ledger_url) for _ in range(6)] if ledger.shared else [ledger] * 6
    start = threading.Barrier(6)

    def open_it(number):
        start.wait()
        return ledgers[number].open_one(incident(f"INC-{number}"), "help").id

    with ThreadPoolExecutor(6) as pool:
        ids = set(pool.map(open_it, range(6)))
    assert len(ids) == 1
    assert [r.id for r in ledger.incidents()] == list(ids)
    for one in ledgers:
        one.close()


def test_lists_are_newest_first_and_can_be_narrowed(ledger):
    for number in range(6):
        ledger.save(
            incident(
                f"INC-{number}",
                service="shop" if number % 2 else "bank",
                detected_at=float(number),
                state=IncidentState.CLOSED if number < 2 else IncidentState.OPEN,
                fingerprint="same" if number in {0, 3} else "other",
            ),
            expected=0,
        )

    def ids(**kwargs):
        return [r.id[-1] for r in ledger.incidents(**kwargs)]

    assert ids() == list("543210")
    assert ids(limit=2) == list("54")
    assert ids(limit=0) == []
    assert ids(service="shop") == list("531")
    assert ids(open_only=True) == list("5432")
    assert ids(fingerprint="same") == list("30")
    assert ids(service="shop", open_only=True, fingerprint="same", limit=9) == ["3"]


def test_a_name_is_a_name_and_never_a_statement(ledger):
    wicked = "'; DROP TABLE firedoor_incident; -- %s ? {x}"
    one = incident("INC-1", service=wicked, fingerprint=wicked)
    assert ledger.open_one(one, wicked) == one
    assert ledger.incidents(service=wicked, fingerprint=wicked) == (one,)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_has_a_connection_of_its_own(ledger):
    ledger.save(incident("INC-1"), expected=0)
    child = os.fork()
    if child == 0:
        try:
            ok = ledger.load("INC-1") is not None and ledger.save(incident("INC-2"), expected=0)
            ledger.close()
            os._exit(0 if ok else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ledger.load("INC-1") is not None
    assert (ledger.load("INC-2") is not None) == ledger.shared


def test_it_can_be_used_after_it_was_closed(ledger):
    ledger.save(incident("INC-1"), expected=0)
    ledger.close()
    ledger.close()
    assert ledger.load("INC-1") is not None


# Shared ledgers ------------------------------------------------------------------------------


def test_many_processes_may_make_the_schema_at_once(shared_url):
    start = threading.Barrier(6)

    def make(_):
        start.wait()
        return open_ledger(shared_url)

    with ThreadPoolExecutor(6) as pool:
        ledgers = list(pool.map(make, range(6)))
    assert versions(ledgers[0]) == [schema.VERSION]
    for one in ledgers:
        one.close()


def test_a_newer_schema_is_refused(shared_url):
    ledger = open_ledger(shared_url)
    execute(ledger, "INSERT INTO firedoor_ledger_schema VALUES (99)")
    ledger.close()
    with pytest.raises(ConfigurationError, match=r"newer firedoor \(schema 99"):
        open_ledger(shared_url)


def test_the_open_ones_are_found_without_looking_at_the_closed_ones(shared_url):
    ledger = open_ledger(shared_url)
    for number in range(300):
        state = IncidentState.CLOSED if number else IncidentState.OPEN
        ledger.save(incident(f"INC-{number}", state=state), expected=0)
    text, values = schema.query(service="shop", open_only=True, fingerprint=None, limit=100)
    with writing(ledger) as run:
        if isinstance(ledger, SQLiteLedger):
            run("ANALYZE", ())
            plan = run(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
        else:
            run("ANALYZE firedoor_incident", ())
            plan = run(f"EXPLAIN {text}", values).fetchall()
    assert "firedoor_incident_unclosed" in repr(plan)
    ledger.close()


def test_a_step_of_the_schema_is_taken_once_by_those_who_find_it_missing(shared_url, monkeypatch):
    open_ledger(shared_url).close()
    monkeypatch.setattr(
        schema,
        "MIGRATIONS",
        (*schema.MIGRATIONS, ("ALTER TABLE firedoor_incident ADD COLUMN added TEXT",)),
    )
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    start = threading.Barrier(4)

    def make(_):
        start.wait()
        open_ledger(shared_url).close()  # a column that is added twice is an error

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(4)))
    ledger = open_ledger(shared_url)
    assert versions(ledger) == [schema.VERSION - 1, schema.VERSION]
    ledger.close()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("record_schema", 99, "newer firedoor"), ("record", "{}", "cannot be read"), ("record", "no", "cannot be read")],
)  # fmt: skip
def test_a_record_it_cannot_read_is_said_and_not_guessed(shared_url, column, value, said):
    ledger = open_ledger(shared_url)
    ledger.save(incident("INC-1"), expected=0)
    literal = value if isinstance(value, int) else f"'{value}'"
    execute(ledger, f"UPDATE firedoor_incident SET {column} = {literal}")
    with pytest.raises(StoreError, match=said):
        ledger.load("INC-1")
    ledger.close()


def test_fields_of_an_older_firedoor_are_filled_in(shared_url):
    ledger = open_ledger(shared_url)
    ledger.save(incident("INC-1"), expected=0)
    execute(ledger, """UPDATE firedoor_incident SET record = '{"id": "INC-1", "service": "s"}'""")
    assert ledger.load("INC-1") == IncidentRecord("INC-1", "s")
    ledger.close()


def execute(ledger, statement):
    with writing(ledger) as run:
        return run(statement, ())


def versions(ledger):
    with writing(ledger) as run:
        rows = run("SELECT version FROM firedoor_ledger_schema ORDER BY version", ()).fetchall()
    return [row[0] for row in rows]


# Opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mongodb://u:hunter2@h/x", "mongodb://..."),
        ("incidents.db", "sqlite:///relative"),
        ("sqlite://incidents.db", "three slashes"),
        ("sqlite://", "three slashes"),
        ("sqlite:////no/such/directory/x.db", "cannot be used"),
        ("postgresql://u:hunter2@127.0.0.1:9/x", "127.0.0.1:9/x cannot be used"),
        ("postgresql://u:hunter%zz2@127.0.0.1:9/x", "cannot be used"),
        ("postgresql://u:hunter2@[::1/x", "not a URL"),
    ],
)
def test_what_cannot_be_opened_is_said_without_the_password(url, said):
    with pytest.raises(ConfigurationError) as caught:
        open_ledger(url)
    assert said in str(caught.value)
    seen = caught.value
    while seen is not None:
        assert "hunter" not in str(seen)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "x.db"
    path.write_text("not a database at all, and long enough to be looked at" * 20)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        open_ledger(f"sqlite:///{path}")


def test_connections_that_broke_while_they_lay_idle_are_made_again(postgres_server):
    ledger = open_ledger(postgres_server.url())
    ledger.save(incident("INC-1"), expected=0)
    for _ in range(2):
        postgres_server.drop_connections()
        assert ledger.load("INC-1") is not None
    ledger.close()


def test_a_server_that_is_away_is_said_without_the_password(postgres_server):
    url = postgres_server.database()
    ledger = open_ledger(url.replace("postgres:@", "postgres:hunter2@"))
    ledger.save(incident("INC-1"), expected=0)
    with postgres_server.away(url), pytest.raises(StoreError, match="ledger postgresql://") as e:
        ledger.load("INC-1")
    assert isinstance(e.value.__cause__, psycopg.Error)
    assert "hunter2" not in f"{e.value} {e.value.__cause__}"
    assert ledger.load("INC-1") is not None
    ledger.close()
