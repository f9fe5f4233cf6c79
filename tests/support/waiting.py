"""Waiting for what others do in their own time: a server's clock, a background thread."""

import threading
import time


def until(true, seconds=20.0):
    """Ask again and again until it is so; whoever waits in vain fails."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it never came to be so"
        threading.Event().wait(0.01)
