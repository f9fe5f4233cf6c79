"""The board of every store: one versioned text, changed by whoever saw its latest version."""

import queue
import threading
import time

from firedoor.stores import open_store


class Heard:
    """What a watcher was told."""

    def __init__(self):
        self.boards = queue.Queue()
        self.errors = queue.Queue()

    def watch(self, store, poll=0.05):
        return store.watch_board(
            lambda version, text: self.boards.put((version, text)),
            poll=poll,
            on_error=self.errors.put,
        )

    def until(self, board):
        while (seen := self.boards.get(timeout=20)) != board:
            pass
        return seen


class TestSwapping:
    def test_nothing_was_written(self, store):
        """A new store has version 0 and no text."""
        assert store.board() == (0, "")

    def test_versions_count_up(self, store):
        """Each change is one version."""
        assert store.swap_board(0, "one") == 1
        assert store.swap_board(1, "two") == 2
        assert store.board() == (2, "two")

    def test_somebody_was_first(self, store):
        """A writer who saw an older version changes nothing."""
        store.swap_board(0, "one")
        assert store.swap_board(0, "mine") is None
        assert store.swap_board(2, "mine") is None
        assert store.board() == (1, "one")

    def test_text_is_kept_as_it_is(self, store):
        """Any Unicode text, and much of it."""
        text = '{"a": "ü\u2028\U0001f6aa\\u0000"}' * 5000
        store.swap_board(0, text)
        assert store.board() == (1, text)

    def test_one_of_many_wins(self, store):
        """Of writers that start from one version exactly one gets through, in each round."""
        rounds, writers = 20, 8
        won = queue.Queue()
        gate = threading.Barrier(writers)

        def write(me):
            for version in range(rounds):
                gate.wait()
                if store.swap_board(version, f"{me} in {version}") is not None:
                    won.put(version)

        threads = [threading.Thread(target=write, args=(me,)) for me in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won.queue) == list(range(rounds))


class TestWatching:
    def test_own_change(self, store):
        """A watcher hears of the changes of its own process."""
        heard = Heard()
        stop = heard.watch(store)
        store.swap_board(0, "one")
        heard.until((1, "one"))
        store.swap_board(1, "two")
        heard.until((2, "two"))
        stop()
        assert heard.errors.empty()

    def test_stopped(self, store):
        """After stop() nothing is told any more."""
        heard = Heard()
        stop = heard.watch(store)
        store.swap_board(0, "one")
        heard.until((1, "one"))
        stop()
        store.swap_board(1, "two")
        assert heard.boards.empty()

    def test_change_of_another(self, shared_url):
        """A watcher hears of what another process wrote, before it watched or after."""
        writer, reader = open_store(shared_url), open_store(shared_url)
        writer.swap_board(0, "one")
        heard = Heard()
        stop = heard.watch(reader)
        heard.until((1, "one"))
        writer.swap_board(1, "two")
        heard.until((2, "two"))
        stop()
        writer.close()
        reader.close()

    def test_pushed_by_the_server(self, valkey_server):
        """On Redis a change is told long before the next poll."""
        url = valkey_server.url()
        writer, reader = open_store(url), open_store(url)
        writer.swap_board(0, "one")
        heard = Heard()
        stop = heard.watch(reader, poll=30.0)
        heard.until((1, "one"))
        began = time.monotonic()
        writer.swap_board(1, "two")
        heard.until((2, "two"))
        assert time.monotonic() - began < 30.0
        stop()
        writer.close()
        reader.close()

    def test_errors_in_a_listener(self, store):
        """A listener that raises does not end the watching."""
        seen, errors = queue.Queue(), queue.Queue()

        def listen(version, text):
            seen.put(version)
            if version == 1:
                raise ValueError("listener")

        stop = store.watch_board(listen, poll=0.05, on_error=errors.put)
        store.swap_board(0, "one")
        assert seen.get(timeout=20) == 1
        assert isinstance(errors.get(timeout=20), ValueError)
        store.swap_board(1, "two")
        assert seen.get(timeout=20) == 2
        stop()
