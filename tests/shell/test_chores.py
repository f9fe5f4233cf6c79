"""Small repeated work of a door, on one thread behind the calls' path."""

import os
import threading

from firedoor.shell.chores import Chores

SOON = 0.001
LONG = 20.0
"""Seconds within which what is due must have happened; no test waits so long unless it fails."""


def test_work_is_done_again_and_again_whatever_another_raises():
    """One that fails is told of each time, and neither stops itself nor the others."""
    faults, done = threading.Semaphore(0), threading.Semaphore(0)

    def fail():
        raise LookupError

    chores = Chores("test", on_fault=lambda error: faults.release())
    chores.add(SOON, fail)
    chores.add(SOON, done.release)
    assert all(faults.acquire(timeout=LONG) and done.acquire(timeout=LONG) for _ in range(3))
    chores.close()
    assert not chores.running


def test_work_added_to_a_thread_that_waits_is_done_in_its_own_time():
    """It does not wait for what was there before it."""
    done = threading.Event()
    chores = Chores("test")
    chores.add(3600, lambda: None)
    chores.add(SOON, done.set)
    assert done.wait(LONG)
    chores.close()


def test_there_is_no_thread_without_work_or_after_the_end():
    chores = Chores("test")
    assert not chores.running
    chores.close()
    chores.add(SOON, lambda: None)
    assert not chores.running


def test_closing_from_its_own_work_does_not_wait_for_itself():
    chores, done = Chores("test"), threading.Event()

    def close():
        chores.close()
        done.set()

    chores.add(SOON, close)
    assert done.wait(LONG)


def test_a_forked_worker_has_a_thread_of_its_own():
    """Whoever held the lock in the parent is not there."""
    read, write = os.pipe()
    chores = Chores("test")
    chores.add(SOON, lambda: os.write(write, str(os.getpid()).encode().ljust(12)))
    chores._lock.acquire()
    pid = os.fork()
    if pid == 0:
        threading.Event().wait(LONG)
        os._exit(0)
    chores._lock.release()
    try:
        with os.fdopen(read, "rb", buffering=0, closefd=False) as said:
            assert any(int(said.read(12)) == pid for _ in range(100_000))
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        chores.close()
        os.close(read)
        os.close(write)
