"""How the calls of a route are guarded: what was declared, checked once and ready for use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from firedoor.config import Canned, Hedge, Tier, several
from firedoor.core.flow import Serve, Try, steps_of
from firedoor.errors import ConfigurationError
from firedoor.shell.backoff import DEFAULT_WAIT, WaitStrategy
from firedoor.shell.canned import require_shape

__all__ = [
    "EnforceTimeout",
    "Plan",
    "StreamFailure",
    "check_enforcement",
    "check_hedge",
    "check_stream_failure",
    "ladder_of",
]

StreamFailure = Literal["surface", "close"]
EnforceTimeout = Literal["thread"]


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
        enforced: Sync functions run in worker threads, so that their time limits hold.
        hedge: When to ask once more while the first answer is awaited.
        gated: Whether a gate of a tier has to be asked where no switch is set.
        late: Whether an attempt may still answer after its call has ended.
        adapts: Whether a tier changes what the function is called with.
        retries: Whether a tier may be tried more than once.
        steps: What is done on each tier where no deadline binds.
    """

    tiers: tuple[Tier | Canned, ...]
    wait: WaitStrategy = DEFAULT_WAIT
    on_stream_failure: StreamFailure = "surface"
    named: bool = True
    breaker: bool = False
    limiter: bool = False
    enforced: bool = False
    hedge: Hedge | None = None
    gated: bool = field(init=False)
    late: bool = field(init=False)
    adapts: bool = field(init=False)
    retries: bool = field(init=False)
    steps: tuple[Try | Serve, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Find out once what every call would ask."""
        checked = any(
            isinstance(tier, Tier) and (tier.context_window or tier.capabilities is not None)
            for tier in self.tiers
        )
        object.__setattr__(self, "gated", self.breaker or checked)
        object.__setattr__(self, "late", self.enforced or self.hedge is not None)
        adapts = any(isinstance(tier, Tier) and tier.adapt is not None for tier in self.tiers)
        object.__setattr__(self, "adapts", adapts)
        retries = any(isinstance(tier, Tier) and tier.attempts > 1 for tier in self.tiers)
        object.__setattr__(self, "retries", retries)
        object.__setattr__(self, "steps", steps_of(self.tiers))

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
    ladder = several(tiers, "tiers")
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


def check_stream_failure(
    name: str, given: StreamFailure, ladder: tuple[Tier | Canned, ...] | None
) -> StreamFailure:
    """What a stream does that breaks after content, checked.

    Raises:
        ConfigurationError: If it is no such word, or there is no text to close with.
    """
    where = f"door.llm({name!r}, on_stream_failure={given!r})"
    if given not in ("surface", "close"):
        raise ConfigurationError(f"{where}: use 'surface' or 'close'")
    if given == "close":
        last = ladder[-1] if ladder else None
        if not isinstance(last, Canned):
            raise ConfigurationError(
                f"{where} ends a broken stream with the safe text: put fd.Canned('...') last in "
                "tiers="
            )
        if not isinstance(last.response, str) and not callable(last.response):
            raise ConfigurationError(
                f"{where}: fd.Canned({type(last.response).__name__}) is no text to end a stream "
                "with: give a string, or a callable that returns one"
            )
    return given


def check_enforcement(name: str, given: EnforceTimeout | None) -> bool:
    """Whether time limits are enforced from a worker thread, checked.

    Raises:
        ConfigurationError: If it is no such word.
    """
    if given not in (None, "thread"):
        raise ConfigurationError(
            f"door.llm({name!r}, enforce_timeout={given!r}): use 'thread', or leave it out"
        )
    return given == "thread"


def check_hedge(name: str, hedge: Hedge | None, *, side_effect_free: bool) -> Hedge | None:
    """A hedge, checked.

    Raises:
        ConfigurationError: If it is none, or the function was not declared free of side effects.
    """
    if hedge is None:
        return None
    where = f"door.llm({name!r}, hedge=...)"
    if not isinstance(hedge, Hedge):
        raise ConfigurationError(f"{where} is a {type(hedge).__name__}: use fd.Hedge(after=...)")
    if not side_effect_free:
        raise ConfigurationError(
            f"{where} may run the function twice: declare side_effect_free=True if that does no "
            "harm, or leave hedge= out"
        )
    return hedge
