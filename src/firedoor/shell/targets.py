"""Live gates by target: one per route and model, made from what the route declares."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

__all__ = ["MAX_TARGETS", "Targets"]

C = TypeVar("C")
T = TypeVar("T")

MAX_TARGETS = 1_000
"""Gates of one kind a door keeps. A model name may come from a user; memory must not."""


class Targets(Generic[C, T]):
    """The gates of one kind.

    Args:
        make: Builds the gate of a route and model from the route's configuration.
        idle: Whether a gate may be dropped to make room without letting a call in that it
            would hold back.
    """

    def __init__(self, make: Callable[[str, str, C], T], idle: Callable[[T], bool]) -> None:
        self._make = make
        self._idle = idle
        self._lock = threading.Lock()
        self._configs: dict[str, C] = {}
        self._live: dict[tuple[str, str], T] = {}

    def declare(self, route: str, config: C) -> None:
        """Say what the gates of `route` are made from. Those it has are made anew."""
        with self._lock:
            self._configs[route] = config
            self._live = {key: live for key, live in self._live.items() if key[0] != route}

    def find(self, route: str, model: str) -> T | None:
        """The gate of a target, made when first asked for; None if its route declares none.

        To be kept for the length of a call, not longer: past `MAX_TARGETS`, the oldest idle gate
        is dropped for a new one.
        """
        live = self._live.get((route, model))
        return self._add(route, model) if live is None else live

    def __iter__(self) -> Iterator[T]:
        """The gates there are."""
        with self._lock:
            return iter(tuple(self._live.values()))

    def _add(self, route: str, model: str) -> T | None:
        with self._lock:
            config = self._configs.get(route)
            if config is None:
                return None
            key = (route, model)
            live = self._live.get(key)
            if live is None:
                live = self._make(route, model, config)
                while len(self._live) >= MAX_TARGETS:
                    del self._live[next(filter(self._spare, self._live), next(iter(self._live)))]
                self._live[key] = live
            return live

    def _spare(self, key: tuple[str, str]) -> bool:
        return self._idle(self._live[key])
