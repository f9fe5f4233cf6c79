"""What only a server can do: lose connections and scripts, ask for a password, be a cluster."""

import asyncio
import contextlib
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis.crc
from hypothesis import given
from hypothesis import strategies as st

from firedoor.core.budget import Balance, Line
from firedoor.errors import ConfigurationError, StoreError
from firedoor.stores import open_store
from support.tls import tls_before
from support.valkey import valkey
from support.waiting import until

SECRET = "s3cret-word"  # noqa: S105 - of a server that lives as long as a test


def line(key="day", amount=10):
    return Line(key, 100, amount, 1, 4e9)


@pytest.fixture
def store(valkey_server):
    with contextlib.closing(open_store(valkey_server.url())) as opened:
        yield opened


@pytest.fixture
def server():
    with valkey() as running:
        yield running


def said(error):
    """All that anybody can read of an exception: its words, and those of its causes."""
    words = []
    while error is not None:
        words += [repr(error), str(error), *getattr(error, "__notes__", ())]
        error = error.__cause__ or error.__context__
    return "\n".join(words)


class TestAServerThatForgets:
    def test_its_scripts(self, store, valkey_server):
        """A script the server does not know any more is given to it again."""
        store.reserve("a", [line()], 60)
        valkey_server.command("SCRIPT", "FLUSH")
        assert store.settle([("a", [4])]) == ((Balance(4, 0),),)

        async def again():
            valkey_server.command("SCRIPT", "FLUSH")
            return await store.areserve("b", [line()], 60)

        assert asyncio.run(again()).balances == (Balance(4, 10),)

    def test_everything(self, server):
        """After a restart without data the store works on, from nothing."""
        with contextlib.closing(open_store(server.url())) as store:
            store.reserve("a", [line()], 60)
            server.stop()
            with pytest.raises(StoreError):
                store.reserve("b", [line()], 60)
            server.start()
            assert store.settle([("a", [4])]) == (None,)
            assert store.reserve("b", [line()], 60).balances == (Balance(0, 10),)

    def test_its_connections(self, store, valkey_server):
        """A connection that was cut is made again without anybody noticing."""
        store.reserve("a", [line()], 60)

        async def cut():
            await store.areserve("b", [line()], 60)
            valkey_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            return await store.areserve("c", [line()], 60)

        assert asyncio.run(cut()).balances == (Balance(0, 30),)
        valkey_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert store.reserve("d", [line()], 60).balances == (Balance(0, 40),)

    def test_to_answer(self, server):
        """A server that hangs is away within its timeout, for asyncio too."""
        with contextlib.closing(open_store(server.url(socket_timeout="0.05"))) as store:
            server.command("CLIENT", "PAUSE", 2000, "ALL")
            with pytest.raises(StoreError, match="Timeout"):
                store.reserve("a", [line()], 60)
            with pytest.raises(StoreError, match="Timeout"):
                asyncio.run(store.areserve("a", [line()], 60))

    def test_to_answer_is_not_heard_late(self, server):
        """What comes after its time is no answer to the next question."""
        with contextlib.closing(open_store(server.url(socket_timeout="0.5"))) as store:
            store.reserve("a", [line()], 60)
            server.command("CLIENT", "PAUSE", 60_000, "WRITE")
            with pytest.raises(StoreError, match="Timeout"):
                store.settle([("a", [4])])
            server.command("CLIENT", "UNPAUSE")
            assert store.counters() == {"day": Balance(0, 10)}
            assert store.settle([("a", [4])]) == ((Balance(4, 0),),)


def test_a_server_that_hesitates_turns_nobody_away(server):
    """As many threads ask at once as there are."""
    threads = 120
    with contextlib.closing(open_store(server.url(socket_timeout="50"))) as store:
        server.command("CLIENT", "PAUSE", 60_000, "WRITE")
        with ThreadPoolExecutor(threads) as pool:
            asked = [
                pool.submit(store.reserve, f"h{n}", [line(amount=1)._replace(limit=threads)], 60)
                for n in range(threads)
            ]
            until(lambda: connected(server) >= threads or any(one.done() for one in asked))
            server.command("CLIENT", "UNPAUSE")
            assert all(one.result().held for one in asked)
        assert store.counters() == {"day": Balance(0, threads)}


def connected(server):
    info = server.command("INFO", "clients")
    return int(info["connected_clients"])


class TestAPassword:
    @pytest.fixture
    def locked(self):
        with valkey() as running:
            running.command("CONFIG", "SET", "requirepass", SECRET)
            yield running

    def url(self, server, password):
        return server.url().replace("redis://", f"redis://default:{password}@")

    def test_that_is_right(self, locked):
        with contextlib.closing(open_store(self.url(locked, SECRET))) as store:
            assert store.reserve("a", [line()], 60).held
            assert SECRET not in repr(store)

    def test_that_is_wrong_is_not_shown(self, locked):
        with pytest.raises(ConfigurationError, match="Authentication") as raised:
            open_store(self.url(locked, "wr0ng-word"))
        assert "wr0ng-word" not in said(raised.value)

    def test_is_not_shown_when_the_server_is_away(self, locked):
        with contextlib.closing(open_store(self.url(locked, SECRET))) as store:
            locked.stop()
            with pytest.raises(StoreError) as raised:
                store.reserve("a", [line()], 60)
            assert SECRET not in said(raised.value)
            with pytest.raises(StoreError) as raised:
                asyncio.run(store.areserve("a", [line()], 60))
            assert SECRET not in said(raised.value)
        with pytest.raises(ConfigurationError, match="cannot be used") as raised:
            open_store(self.url(locked, SECRET))
        assert SECRET not in said(raised.value)

    @pytest.mark.parametrize(
        "url",
        [
            f"redis://default:{SECRET}/x@127.0.0.1:1/0",
            f"redis://default:{SECRET}#x@127.0.0.1:1/0",
            f"redis://default:{SECRET}?x@127.0.0.1:1/0",
            f"redis://default:{SECRET}@127.0.0.1:port/0",
            f"redis://default:{SECRET}@127.0.0.1:1/0?socket_timeout=soon",
            f"redis://default:{SECRET}@127.0.0.1:1/0?nonsense=1",
            f"redis://default:{SECRET}@[127.0.0.1:1/0",
            f"rediss://default:{SECRET}@127.0.0.1:1/0",
            f"nosql://default:{SECRET}@127.0.0.1:1/0",
        ],
    )
    def test_is_not_shown_by_a_url_that_cannot_work(self, url):
        with pytest.raises(ConfigurationError) as raised:
            open_store(url)
        assert SECRET not in said(raised.value)


class TestASocketInTheFileSystem:
    @pytest.fixture
    def socket(self):
        # Not in `tmp_path`: a socket's path has a hundred characters at the most.
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/valkey.sock"
            with valkey(config={"unixsocket": path}):
                yield path

    @pytest.mark.parametrize("query", ["", "?db=1", "?namespace=shop&db=1"])
    def test_is_an_address(self, socket, query):
        with contextlib.closing(open_store(f"unix://{socket}{query}")) as store:
            assert store.reserve("a", [line()], 60).held
            assert asyncio.run(store.areserve("b", [line()], 60)).held
            assert len(store.counters()) == 1

    def test_that_is_not_there_is_named(self):
        with pytest.raises(ConfigurationError, match="unix:///nowhere/valkey.sock"):
            open_store("unix:///nowhere/valkey.sock")


class TestTLS:
    def test_of_a_server_that_is_vouched_for(self, valkey_server, tmp_path):
        with tls_before(valkey_server.port, tmp_path) as (port, trusted):
            url = f"rediss://127.0.0.1:{port}/0?namespace=tls&ssl_ca_certs={trusted}"
            with contextlib.closing(open_store(url)) as store:
                assert store.reserve("a", [line()], 60).held
                assert asyncio.run(store.areserve("b", [line()], 60)).held

    def test_of_anybody_else_is_refused(self, valkey_server, tmp_path):
        """A certificate nobody vouches for is no reason to go on."""
        with tls_before(valkey_server.port, tmp_path) as (port, _):
            with pytest.raises(ConfigurationError, match="CERTIFICATE_VERIFY_FAILED"):
                open_store(f"rediss://127.0.0.1:{port}/0")


class TestAUrl:
    @pytest.mark.parametrize("namespace", ["{a}", "a}b", ""])
    def test_with_a_namespace_that_is_no_hash_tag(self, valkey_server, namespace):
        url = f"redis://127.0.0.1:{valkey_server.port}/0"
        if namespace:
            with pytest.raises(ConfigurationError, match="namespace"):
                open_store(f"{url}?namespace={namespace}")
        else:
            open_store(f"{url}?namespace=").close()  # as if it were not there

    def test_with_a_flag_that_is_none(self, valkey_server):
        with pytest.raises(ConfigurationError, match="cluster=maybe"):
            open_store(f"redis://127.0.0.1:{valkey_server.port}/0?cluster=maybe")

    def test_of_a_server_that_is_no_cluster(self, valkey_server):
        with pytest.raises(ConfigurationError, match="cannot be used"):
            open_store(valkey_server.url(cluster="true"))

    def test_separates_namespaces(self, valkey_server):
        with (
            contextlib.closing(open_store(valkey_server.url())) as one,
            contextlib.closing(open_store(valkey_server.url())) as other,
        ):
            one.reserve("a", [line()], 60)
            assert other.counters() == {}


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


class TestKeys:
    @given(names, names, names)
    def test_of_an_operation_lie_in_one_slot(self, valkey_server, name, member, text):
        """So that a cluster runs each script on one node, whatever things are called."""
        with contextlib.closing(open_store(valkey_server.url(namespace="slots"))) as store:
            slots = set()
            run = store._client.run

            def recorded(script, keys, args):
                slots.update(redis.crc.key_slot(key.encode()) for key in keys)
                return run(script, keys, args)

            store._client.run = recorded
            store.reserve("a" + name, [line("k" + name)], 60)
            store.renew(["a" + name], 60)
            store.settle([("a" + name, [4])])
            store.balances([name])
            store.counters()
            version, _ = store.board()
            store.swap_board(version, text)
            store.publish(name, member, text, 60)
            store.members(name)
            store.claim(name, member, 60)
            store.release(name, member)
            assert len(slots) == 1
