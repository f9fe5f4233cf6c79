"""What only a file can do: be locked by somebody, be no database, be gone."""

import asyncio
import contextlib
import gc
import multiprocessing
import os
import shutil
import sqlite3
import threading

import pytest

import firedoor as fd
from firedoor.core.budget import Balance, Line
from firedoor.errors import ConfigurationError, StoreError
from firedoor.shell.switchboard import Switchboard
from firedoor.sqlite_file import SQLiteFile
from firedoor.stores import open_store
from firedoor.stores.sqlite import SQLiteStore
from support.waiting import until


def line(amount=10):
    return Line("day", 100, amount, 1, 4e9)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


@pytest.fixture
def store(path):
    with contextlib.closing(SQLiteStore(path, busy_timeout=0.05)) as opened:
        yield opened


@contextlib.contextmanager
def locked(path):
    """Somebody else writes, and does not come to an end."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


class TestAStoreThatIsDropped:
    def test_has_its_connection_closed(self, path):
        """Python complains of connections that the garbage collector has to close."""
        dropped = SQLiteStore(path)
        connection = dropped._file._connection
        del dropped
        gc.collect()
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


class TestALock:
    def test_is_not_waited_for_without_end(self, store, path):
        store.reserve("a", [line()], 60)
        with locked(path):
            for _ in range(2):
                with pytest.raises(StoreError, match="locked"):
                    store.reserve("b", [line()], 60)
            with pytest.raises(StoreError, match="locked"):
                store.settle([("a", [4])])
        assert store.settle([("a", [4])]) == ((Balance(4, 0),),)

    async def test_is_waited_for_by_all_tasks_together(self, store, path):
        """They queue for one thread, but none waits for longer than the first."""

        async def ask(n):
            try:
                await store.areserve(f"h{n}", [line(1)], 60)
            except StoreError as error:
                return str(error)

        with locked(path):
            said = await asyncio.gather(*(ask(n) for n in range(200)))
        assert all(said)
        # Asked one by one, each would have found the lock, and so waited for it.
        assert sum("locked" in one for one in said) <= 5
        assert sum("too many wait" in one for one in said) >= 195
        assert await ask("last") is None

    def test_does_not_keep_readers_out(self, store, path):
        store.publish("space", "one", "text", 60)
        with locked(path):
            assert store.members("space") == {"one": "text"}
            assert store.board() == (0, "")


class TestAFileThatOthersUse:
    """How often it is looked whether they let go: SQLite itself would look every 100 ms."""

    @pytest.fixture
    def other(self, path):
        other = sqlite3.connect(path, isolation_level=None)
        yield other
        other.close()

    @pytest.fixture
    def opened(self, path, other):
        """Opens it; at the 30th look that others keep it from something, they let go."""
        pauses = []

        def pause(seconds):
            pauses.append(seconds)
            if len(pauses) % 30 == 0:
                other.execute("ROLLBACK")

        def opened(journal="WAL"):
            def prepare(sql):
                sql.execute(f"PRAGMA journal_mode={journal}")
                sql.execute("CREATE TABLE IF NOT EXISTS told (word TEXT)")

            file = SQLiteFile(path, prepare, pause=pause, busy_timeout=30.0)
            closing.callback(file.close)
            return file, pauses

        with contextlib.ExitStack() as closing:
            yield opened

    def test_is_written_as_soon_as_they_do(self, opened, other):
        file, pauses = opened()
        other.execute("BEGIN IMMEDIATE")
        with file.writing() as sql:
            sql.execute("INSERT INTO told VALUES ('ours')")
        assert len(pauses) == 30
        assert all(0 < seconds <= 0.005 for seconds in pauses)
        assert len(set(pauses)) > 20, "nobody keeps step with those who write"

    def test_is_opened_as_soon_as_they_do(self, opened, other):
        other.execute("BEGIN IMMEDIATE")
        _, pauses = opened()
        assert len(pauses) == 30

    def test_is_committed_as_soon_as_they_do(self, opened, other):
        """Without a write-ahead log it is readers who keep others from that."""
        file, pauses = opened("DELETE")
        other.execute("BEGIN")
        other.execute("SELECT * FROM told").fetchall()
        with file.writing() as sql:
            sql.execute("INSERT INTO told VALUES ('ours')")
            assert pauses == []
        assert len(pauses) == 30
        assert other.execute("SELECT word FROM told").fetchall() == [("ours",)]


at_fork = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: [told() for told in at_fork])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a process with threads
def test_a_child_forked_while_another_thread_writes_is_not_locked_out(store):
    """SQLite would take the lock that was held as it was forked for one that is still held."""
    writes, forks = threading.Event(), threading.Event()

    def write():
        with store._file.writing() as sql:
            sql.execute("INSERT INTO firedoor_claim VALUES ('ours', 'us', 4e9)")
            writes.set()
            forks.wait()

    def ask():
        os._exit(0 if store.reserve("a", [line()], 60).held else 1)

    thread = threading.Thread(target=write)
    child = multiprocessing.get_context("fork").Process(target=ask)
    thread.start()
    writes.wait()
    at_fork.append(forks.set)
    try:
        child.start()
    finally:
        at_fork.clear()
        forks.set()
        thread.join()
    child.join()
    assert child.exitcode == 0
    assert not store.claim("ours", "them", 60)


class TestAFile:
    def test_that_is_no_database_any_more(self, store, path):
        """It is away while it is unreadable, and there again with what it held before."""
        store.reserve("a", [line()], 60)
        store.close()
        before = path.read_bytes()
        path.write_bytes(b"no database " * 1000)
        with pytest.raises(StoreError, match="not a database"):
            store.reserve("b", [line()], 60)
        path.write_bytes(before)
        assert store.reserve("b", [line()], 60).balances == (Balance(0, 20),)

    @pytest.mark.skipif(os.name == "nt", reason="an open file cannot be deleted there")
    @pytest.mark.parametrize("gone", ["deleted", "replaced"])
    def test_that_was_deleted_is_left_for_the_one_others_have(self, store, path, gone):
        """What only this process has open no command could reach."""
        store.reserve("a", [line(1)], 60)
        for file in path.parent.iterdir():
            file.unlink()
        if gone == "replaced":
            SQLiteStore(path).close()
        assert store.counters() == {}
        assert store.reserve("b", [line(2)], 60).held
        with contextlib.closing(SQLiteStore(path)) as other:
            assert other.balances(["day"]) == (Balance(0, 2),)

    @pytest.mark.skipif(os.name == "nt", reason="an open file cannot be deleted there")
    def test_whose_folder_is_gone_is_away(self, tmp_path):
        path = tmp_path / "folder" / "state.db"
        path.parent.mkdir()
        with contextlib.closing(SQLiteStore(path)) as store:
            store.reserve("a", [line()], 60)
            shutil.rmtree(path.parent)
            with pytest.raises(StoreError, match="unable to open"):
                store.reserve("b", [line()], 60)
            path.parent.mkdir()
            assert store.reserve("b", [line()], 60).held

    @pytest.mark.skipif(os.name == "nt", reason="an open file cannot be deleted there")
    def test_is_followed_to_another_that_took_its_place(self, path):
        """A kill that is set in the new file reaches those who began with the old one."""
        with fd.Firedoor("app", state=f"sqlite:///{path}") as door:
            before = door.switches.disable("tool:a", reason="r", actor="ana")
            for file in path.parent.iterdir():
                file.unlink()
            with contextlib.closing(SQLiteStore(path)) as store:
                board = Switchboard(store, watch=False, offline="raise")
                made = board.disable("tool:refund", reason="r", actor="bob")
            until(lambda: {before.id, made.id} <= {s.id for s in door.switches.active()})

    def test_that_is_full(self, store):
        """What cannot be written changes nothing, and what is there can be read."""
        store.reserve("a", [line()], 60)
        with store._file.reading() as sql:
            (pages,) = sql.execute("PRAGMA page_count").fetchone()
            sql.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StoreError, match="full"):
            for n in range(10_000):
                store.publish("space", str(n), "text" * 1000, 60)
        assert store.balances(["day"]) == (Balance(0, 10),)

    def test_of_a_version_before(self, path):
        """Tables that came later are made in a file that is there already."""
        old = sqlite3.connect(path)
        old.execute(
            "CREATE TABLE firedoor_board"
            " (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, text TEXT NOT NULL)"
        )
        old.execute("INSERT INTO firedoor_board VALUES (1, 7, 'switches')")
        old.commit()
        old.close()
        with contextlib.closing(SQLiteStore(path)) as store:
            assert store.board() == (7, "switches")
            assert store.reserve("a", [line()], 60).held

    @pytest.mark.parametrize("name", ["missing/state.db", "."])
    def test_that_cannot_be_made(self, tmp_path, name):
        with pytest.raises(ConfigurationError, match="cannot be used"):
            open_store(f"sqlite:///{tmp_path}/{name}")

    @pytest.mark.parametrize(
        "url", ["sqlite://host/state.db", "sqlite:state.db", "sqlite:/state.db"]
    )
    def test_that_is_not_named(self, url):
        with pytest.raises(ConfigurationError, match="name a file after three slashes"):
            open_store(url)

    @pytest.mark.parametrize("query", ["busy_timeout=long", "busy_timeout=0", "timeout=1", "x"])
    def test_with_an_option_there_is_not(self, path, query):
        with pytest.raises(ConfigurationError, match="the one option is busy_timeout"):
            open_store(f"sqlite:///{path}?{query}")
