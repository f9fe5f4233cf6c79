"""The thread that follows a shared board."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Protocol

from firedoor.stores.base import OnChange, OnError

__all__ = ["Follower", "follow"]


class Follower(Protocol):
    """One store's way of hearing of changes; used from one thread."""

    def read(self) -> tuple[int, str]:
        """The board now."""
        ...

    def wait(self, stopped: threading.Event, seconds: float) -> None:
        """Return when there may be something new, after `seconds` at the latest.

        Once `stopped` is set it returns within a fraction of a second.
        """
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


def follow(
    connect: Callable[[], Follower], on_change: OnChange, on_error: OnError, *, poll: float
) -> Callable[[], None]:
    """Start the thread; answers what stops it.

    It tells of the board whenever its version or text is not the one told of last; a store that
    lost its memory is so told of as well. After an error it begins anew, every `poll` seconds.
    """
    stopped = threading.Event()
    told = (0, "")

    def watch() -> None:
        nonlocal told
        with contextlib.closing(connect()) as follower:
            while not stopped.is_set():
                seen = follower.read()
                if seen != told:
                    told = seen
                    on_change(*seen)
                follower.wait(stopped, poll)

    def run() -> None:
        while not stopped.is_set():
            try:
                watch()
            except Exception as error:
                if stopped.is_set():
                    return
                on_error(error)
                stopped.wait(poll)

    thread = threading.Thread(target=run, name="firedoor-board", daemon=True)
    thread.start()

    def stop() -> None:
        stopped.set()
        if thread is not threading.current_thread():
            thread.join(timeout=poll + 5.0)

    return stop
