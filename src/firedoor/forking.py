"""Locks that a fork of the process waits for.

A child has the memory as it was and none of the other threads: what one of them was in the middle of
stays half done there, behind a lock that nobody gives back. So a fork first takes these locks, and
parent and child let go of them.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["fork_waits_for"]

Owner = TypeVar("Owner")

_locks: weakref.WeakKeyDictionary[Any, tuple[Callable[[Any], threading.Lock], float]] = (
    weakref.WeakKeyDictionary()
)
_held: list[threading.Lock] = []


def fork_waits_for(
    owner: Owner, lock: Callable[[Owner], threading.Lock], *, timeout: float = -1
) -> None:
    """Let forks wait until nobody holds the owner's lock, as long as the owner lives.

    Args:
        owner: What is kept alive by others.
        lock: Its lock, which may be another one after a fork. Must not keep the owner alive.
        timeout: Seconds after which a fork waits no longer; -1: however long it takes.
    """
    _locks[owner] = (lock, timeout)


def _before() -> None:
    for owner, (lock_of, timeout) in tuple(_locks.items()):
        lock = lock_of(owner)
        if lock.acquire(timeout=timeout):
            _held.append(lock)


def _after() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
