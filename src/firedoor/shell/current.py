"""The current OpenTelemetry context, read and set as directly as it can be.

The API's own functions go through two more Python frames, which is most of their cost, and a
stream pays it at every chunk. Where the API keeps the context in a context variable, as it does
unless told otherwise, that variable is used; else the functions.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from opentelemetry import context as api
from opentelemetry.context import Context

__all__ = ["Entered", "attach", "get_current", "restore"]


def _holds_contexts(variable: Any) -> bool:
    """Whether this is a context variable that always has a context."""
    try:
        return isinstance(variable, ContextVar) and isinstance(variable.get(), Context)
    except LookupError:
        return False


_variable: Any = getattr(getattr(api, "_RUNTIME_CONTEXT", None), "_current_context", None)
_direct = _holds_contexts(_variable)

get_current: Callable[[], Context] = _variable.get if _direct else api.get_current
"""The context in force in this thread or task."""

attach: Callable[[Context], Any] = _variable.set if _direct else api.attach
"""Put a context in force. What comes back is not kept: see `restore`."""


class Entered(Context):
    """A context that a block puts in force.

    Attributes:
        left_for: What was in force before, once the block was left while another one was in force.
    """

    left_for: Context | None = None


def restore(own: Entered, previous: Context) -> None:
    """Put `previous` back if `own` is still the context in force.

    No token is kept, so nothing fails and nothing is logged when a block is left in another task
    or thread than it was entered in. Where blocks are not left in the order in which they were
    entered, as those of generators that take turns, whoever is left last goes back past the others.
    """
    if get_current() is not own:
        own.left_for = previous
        return
    while (before := getattr(previous, "left_for", None)) is not None:
        previous = before
    attach(previous)
