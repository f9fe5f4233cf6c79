"""A store of one board, in memory, that can be taken away, delayed in its tales, and made to forget."""

import threading

from firedoor.errors import StoreError


class FakeBoardStore:
    def __init__(self):
        self.lock = threading.Lock()
        self.version, self.text = 0, ""
        self.down = False
        self.watchers = []
        self.swaps = 0
        self.before_swap = None

    def board(self):
        self._reach()
        with self.lock:
            return self.version, self.text

    def swap_board(self, expected, text):
        self._reach()
        if self.before_swap is not None:
            hook, self.before_swap = self.before_swap, None
            hook()
        with self.lock:
            self.swaps += 1
            if self.version != expected:
                return None
            self.version, self.text = self.version + 1, text
            version = self.version
        self.push()
        return version

    def watch_board(self, on_change, *, poll, on_error):
        self.watchers.append((on_change, on_error))
        return lambda: self.watchers.remove((on_change, on_error))

    def push(self):
        """Tell the watchers what is here now, as pub/sub would."""
        for on_change, _ in tuple(self.watchers):
            on_change(self.version, self.text)

    def fail(self, message="connection refused"):
        self.down = True
        for _, on_error in tuple(self.watchers):
            on_error(StoreError(message))

    def lose(self, version=0, text=""):
        """Go back to an older board, as after a flush or a failover."""
        with self.lock:
            self.version, self.text = version, text

    def close(self):
        self.watchers.clear()

    def _reach(self):
        if self.down:
            raise StoreError("connection refused")
