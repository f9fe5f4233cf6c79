"""How the calls of a route are guarded: what was declared, checked once and ready for use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from firedoor.config import Canned, Tier
from firedoor.errors import ConfigurationError
from firedoor.shell.backoff import DEFAULT_WAIT, WaitStrategy
from firedoor.shell.canned import require_shape

__all__ = ["Plan", "StreamFailure", "ladder_of"]

StreamFailure = Literal["surface", "close"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A route's ladder and how it is climbed down.

    Attributes:
        tiers: Best first; a `Canned` only last.
        wait: How long to wait before a retry.
        on_stream_failure: What a stream does that breaks after the user has seen content:
            `surface` raises the provider's own exception, `close` ends it with the canned text.
        named: Whether the tiers were declared. If not there is just one, and no model of its own.
        breaker: Whether the route has declared one; its circuits live with the door.
        limiter: The same of limiters.
    """

    tiers: tuple[Tier | Canned, ...]
    wait: WaitStrategy = DEFAULT_WAIT
    on_stream_failure: StreamFailure = "surface"
    named: bool = True
    breaker: bool = False
    limiter: bool = False

    @property
    def alias(self) -> str | None:
        """The model the application asks for: the first tier's."""
        first = self.tiers[0]
        return first.model if self.named and isinstance(first, Tier) else None

    @property
    def canned(self) -> Canned | None:
        """The safe response at the end of the ladder, if there is one."""
        last = self.tiers[-1]
        return last if isinstance(last, Canned) else None


def ladder_of(
    name: str, model: str | None, tiers: Sequence[Tier | Canned] | None
) -> tuple[Tier | Canned, ...] | None:
    """The tiers of a route, checked; None for a route that has just one way.

    Raises:
        ConfigurationError: If the ladder cannot be climbed.
    """
    if tiers is None:
        return None
    ladder = tuple(tiers)
    where = f"door.llm({name!r}, tiers=...)"
    if not ladder:
        raise ConfigurationError(f"{where} is empty: give at least one fd.Tier, or leave it out")
    if model is not None:
        raise ConfigurationError(
            f"{where}: model={model!r} would be one more first tier: give model= or tiers=, not both"
        )
    for index, tier in enumerate(ladder):
        if not isinstance(tier, Tier | Canned):
            raise ConfigurationError(
                f"{where}[{index}] is a {type(tier).__name__}: use fd.Tier('model', ...) or "
                "fd.Canned(...)"
            )
        if isinstance(tier, Canned):
            if index != len(ladder) - 1:
                raise ConfigurationError(
                    f"{where}[{index}] is Canned and never fails, so what follows would never run: "
                    "put it last"
                )
            require_shape(tier)
    return ladder
