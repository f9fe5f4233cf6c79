"""What is still done as a process ends by itself."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["at_exit"]


def at_exit(function: Callable[..., object], *args: Any) -> None:
    """Call `function` with `args` as the process ends; perhaps twice.

    A forked child of `multiprocessing` (its pools, and those of `concurrent.futures`) ends without
    the handlers of `atexit`, but runs finalizers of its own.
    """
    atexit.register(function, *args)
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, function, args=args, exitpriority=10)
