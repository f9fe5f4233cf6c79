"""What an application declares: tiers, budgets, breakers, limiters. Values only, nothing live.

Every class here is frozen and checked when it is made. A value that cannot work is a
`ConfigurationError` that names the field, the value and the remedy.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from firedoor.errors import ConfigurationError

__all__ = [
    "Breaker",
    "Budget",
    "Canned",
    "Hedge",
    "Limiter",
    "LoopGuard",
    "Tier",
    "declarative",
    "is_async",
    "several",
]

T = TypeVar("T")

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]

_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def declarative(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, validated value whose mistakes are `ConfigurationError`s.

    A `check(self)` method, where there is one, runs last and raises `ValueError` with a message
    that says what to do instead.
    """
    made: Any = pydantic_dataclass(frozen=True, config=_CONFIG)(cls)
    validate = made.__init__

    @functools.wraps(validate)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            validate(self, *args, **kwargs)
        except ValidationError as error:
            raise ConfigurationError(_explain(made, error)) from None
        check = getattr(self, "check", None)
        if check is not None:
            try:
                check()
            except ValueError as error:
                raise ConfigurationError(f"{cls.__name__}: {error}") from None

    made.__init__ = init
    return made  # type: ignore[no-any-return]


def several(given: Iterable[T], what: str) -> tuple[T, ...]:
    """Declared values that come as a list.

    Args:
        given: The list, or whatever is in its place.
        what: Its name, as errors say it.

    Raises:
        ConfigurationError: If it is one value alone, or none.
    """
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise ConfigurationError(
            f"{what}={type(given).__name__}: give a list, also of a single one, as in {what}=[...]"
        )
    return tuple(given)


def is_async(function: Any) -> bool:
    """Whether what `function` answers has to be awaited: through partials, and of objects' calls."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the method is wanted, not whether there is one
    )


def _explain(cls: Any, error: ValidationError) -> str:
    positional = [
        field.name for field in dataclasses.fields(cls) if field.init and not field.kw_only
    ]
    said: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        # An argument given by position is located by its number.
        names = [
            positional[part]
            if isinstance(part, int) and not index and part < len(positional)
            else part
            for index, part in enumerate(item["loc"])
            # Which of a field's alternatives did not fit is told by what each of them asks for.
            if index == 0 or isinstance(part, int)
        ]
        field = ".".join(str(name) for name in names)
        match item["type"]:
            case "missing":
                words = [f"{field}=...", "is missing"]
            case "unexpected_positional_argument":
                words = [f"{item['input']!r}", "name this argument: it is not taken by position"]
            case _:
                words = [f"{field}={item['input']!r}", item["msg"]]
        said.setdefault(words[0], []).append(words[1])
    lines = [f"{cls.__name__}({what}): {', or: '.join(why)}" for what, why in said.items()]
    return "; ".join(lines)


@declarative
class Tier:
    """One step of a fallback ladder: a model with limits of its own.

    Attributes:
        model: The model name as the application says it; switches may resolve it to another.
        timeout: Seconds one attempt may take in all. None: only the request's deadline binds.
        first_token: Seconds a stream may take to its first content chunk. None: not watched.
        idle: Seconds a stream may pause between two chunks. None: not watched.
        attempts: How often this tier is tried before the next one, 1 for no retry.
        max_output: Output tokens to reserve for when the call itself sets no cap.
        context_window: Tokens the model can take in and give out together. A call that does not
            fit skips this tier. None: not checked.
        capabilities: What the model can do (`tools`, `json`, `vision`). None: anything.
        adapt: Changes the call's keyword arguments for this tier; gets a copy, returns it. A budget
            asks it too, for how much may be sent and come.
    """

    model: str = Field(min_length=1)
    timeout: Seconds | None = Field(default=None, kw_only=True)
    first_token: Seconds | None = Field(default=None, kw_only=True)
    idle: Seconds | None = Field(default=None, kw_only=True)
    attempts: Count = Field(default=1, kw_only=True)
    max_output: Count | None = Field(default=None, kw_only=True)
    context_window: Count | None = Field(default=None, kw_only=True)
    capabilities: frozenset[str] | None = Field(default=None, kw_only=True)
    adapt: Callable[[dict[str, Any]], dict[str, Any]] | None = Field(default=None, kw_only=True)

    def check(self) -> None:
        """An adapter that answers at once."""
        if is_async(self.adapt):
            raise ValueError(
                f"adapt={self.adapt!r} would have to be awaited: give one that is not async"
            )


@declarative
class Canned:
    """The last tier: a prepared safe response that needs no provider.

    Attributes:
        response: The value to return. A string is shaped like the responses the route returns
            where the shape is known; a callable is called with those of the call's own arguments
            that it takes.
        shape: What to make of a string: the string itself (`plain`), or a real response object
            of the `openai` or `anthropic` SDK. None: `plain`.
        stream: Whether the caller expects a stream of it. None: where the call says `stream=`,
            that; else what the route has returned before, and a single value if that was nothing.
    """

    response: Any
    shape: Literal["plain", "openai.chat", "openai.responses", "anthropic.messages"] | None = Field(
        default=None, kw_only=True
    )
    stream: bool | None = Field(default=None, kw_only=True)

    def check(self) -> None:
        """There when it is needed: nothing that has to be awaited."""
        call = self.response if inspect.isroutine(self.response) else type(self.response).__call__
        if callable(self.response) and (
            is_async(self.response) or inspect.isasyncgenfunction(call)
        ):
            raise ValueError(
                f"response={self.response!r} would have to be awaited: give a function that is not "
                "async, or the response itself"
            )


@declarative
class Hedge:
    """When to ask once more while the first answer is still awaited.

    The first good answer wins; the others are cancelled, and stay in the ledger. Source of the
    technique: Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013.

    Attributes:
        after: Seconds without an answer (of streams: without first content), or `p95`: the time
            that 95 % of the route's recent answers took. That needs 20 of them; no hedge before.
        max_extra: Attempts that may be added to the first one.
    """

    after: Seconds | Literal["p95"] = Field(default="p95", kw_only=True)
    max_extra: Count = Field(default=1, kw_only=True)


@declarative
class Budget:
    """A ceiling on what calls may spend in a window.

    Attributes:
        usd: US dollars. A string or Decimal is exact; a float is read by its shortest decimal.
        tokens: Input and output tokens together.
        calls: Attempts. Exactly one of `usd`, `tokens`, `calls` is set.
        per: `request`, `hour`, `day`, `month` (calendar, UTC), or any number of seconds.
        scope: Whose spending is added up: `global`, `journey`, `tenant`, `user`, `request`, or a
            callable from the current request (or None) to a string key.
        on_exceeded: `block` refuses, `degrade` goes down the tiers, `warn` only records.
        overshoot: `strict` never lets the sum pass the limit; `last_call` admits a call while
            anything is left, so the sum may pass it by one call.
        on_unknown_price: `deny`, `assume` (the dearest known price) or `tokens` (spend is not
            counted in dollars, and the decision says so). Never zero.
        on_store_error: With the shared store away: `closed` refuses, `local_share` spends what
            this process had leased, `open` admits unchecked and says so.
        soft: Fractions of the limit at which a signal is sent, once a window each.
        name: How errors and status name it. Default: made from the limit and the window.
    """

    usd: Decimal | None = Field(default=None, gt=0, allow_inf_nan=False, kw_only=True)
    tokens: Count | None = Field(default=None, kw_only=True)
    calls: Count | None = Field(default=None, kw_only=True)
    per: Literal["request", "hour", "day", "month"] | Seconds = Field(default="day", kw_only=True)
    scope: Literal["global", "journey", "tenant", "user", "request"] | Callable[[Any], str] = Field(
        default="global", kw_only=True
    )
    on_exceeded: Literal["block", "degrade", "warn"] = Field(default="block", kw_only=True)
    overshoot: Literal["strict", "last_call"] = Field(default="strict", kw_only=True)
    on_unknown_price: Literal["deny", "assume", "tokens"] = Field(default="deny", kw_only=True)
    on_store_error: Literal["closed", "local_share", "open"] = Field(
        default="local_share", kw_only=True
    )
    soft: tuple[Rate, ...] = Field(default=(0.5, 0.8), kw_only=True)
    name: str | None = Field(default=None, kw_only=True)

    def check(self) -> None:
        """Exactly one unit, and a name that can stand in a counter's."""
        if [self.usd, self.tokens, self.calls].count(None) != 2:
            raise ValueError("set exactly one of usd=, tokens=, calls= (one Budget per unit)")
        if self.usd is not None and not Decimal("0.000001") <= self.usd <= 9_000_000_000:
            raise ValueError(
                f"usd={self.usd}: use 0.000001 (a micro-dollar) to nine thousand million"
            )
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9][\w.:-]{0,63}", self.name):
            raise ValueError(
                f"name={self.name!r}: use up to 64 letters, digits and . : _ -, a letter or digit first"
            )


@declarative
class LoopGuard:
    """When a request is going in circles: bounds of one request, nested ones included.

    Attributes:
        calls: Calls of every kind. None: not watched.
        identical_calls: Calls of one tool with the same arguments. None: not watched.
        usd_per_minute: Spending averaged over `window`. None: not watched.
        window: Seconds over which spending is averaged.
    """

    calls: Count | None = Field(default=None, kw_only=True)
    identical_calls: Count | None = Field(default=None, kw_only=True)
    usd_per_minute: Decimal | None = Field(default=None, gt=0, allow_inf_nan=False, kw_only=True)
    window: Seconds = Field(default=60.0, kw_only=True)

    def check(self) -> None:
        """A guard that watches nothing is a mistake."""
        if self.calls is None and self.identical_calls is None and self.usd_per_minute is None:
            raise ValueError("watches nothing: set calls=, identical_calls= or usd_per_minute=")


@declarative
class Breaker:
    """When to stop calling a target that fails or drags, and when to try it again.

    The semantics are resilience4j's; the field names say what they hold.

    Attributes:
        failure_rate: Share of failed calls in the window at which the circuit opens.
        slow_call: Seconds at or above which a call counts as slow, whether it failed or not.
            None: not watched.
        slow_call_rate: Share of slow calls at which the circuit opens.
        slow_first_token: Seconds to first content at or above which a stream counts as slow.
            None: not watched.
        slow_first_token_rate: Share of the streams, with `minimum_calls` of them in the window,
            at which the circuit opens.
        window: Seconds (`window_type="time"`) or calls (`"count"`) that are looked back on.
        minimum_calls: No verdict before this many calls are in the window.
        open_for: Seconds the circuit stays open the first time; grows by `open_growth` with each
            opening in a row, up to `open_max`, with `jitter`. A longer Retry-After of the
            provider wins, up to a day.
        half_open_calls: Trial calls admitted before the circuit is judged again.
        half_open_max_wait: Seconds half-open may wait for its trials before it opens again.
            None: a trial that has not ended after `open_for` seconds makes room for another.
        jitter: Share of the open time that is added at random, so that a fleet does not return
            at once.
        mode: `enforce`; `metrics_only` records and never refuses; `disabled` does neither.
    """

    failure_rate: Rate = Field(default=0.5, kw_only=True)
    slow_call: Seconds | None = Field(default=None, kw_only=True)
    slow_call_rate: Rate = Field(default=1.0, kw_only=True)
    slow_first_token: Seconds | None = Field(default=None, kw_only=True)
    slow_first_token_rate: Rate = Field(default=1.0, kw_only=True)
    window: Seconds = Field(default=60.0, kw_only=True)
    window_type: Literal["time", "count"] = Field(default="time", kw_only=True)
    minimum_calls: Count = Field(default=20, kw_only=True)
    open_for: Seconds = Field(default=30.0, kw_only=True)
    open_growth: float = Field(default=2.0, ge=1, allow_inf_nan=False, kw_only=True)
    open_max: Seconds = Field(default=600.0, kw_only=True)
    half_open_calls: Count = Field(default=5, kw_only=True)
    half_open_max_wait: Seconds | None = Field(default=None, kw_only=True)
    jitter: float = Field(default=0.1, ge=0, le=1, kw_only=True)
    mode: Literal["enforce", "metrics_only", "disabled"] = Field(default="enforce", kw_only=True)

    def check(self) -> None:
        """A window that can hold a verdict."""
        if self.window_type == "count" and self.window != int(self.window):
            raise ValueError(f"window={self.window!r} counts calls: use a whole number")
        if self.window_type == "count" and self.minimum_calls > self.window:
            raise ValueError(
                f"minimum_calls={self.minimum_calls} can never be reached in a window of "
                f"{self.window:g} calls: lower it or widen the window"
            )
        if self.window_type == "count" and self.window > 1_000_000:
            raise ValueError(
                f"window={self.window:g} keeps every call in memory: at most 1,000,000, or "
                "window_type='time'"
            )
        if self.open_max < self.open_for:
            raise ValueError(f"open_max={self.open_max:g} is below open_for={self.open_for:g}")
        if self.slow_call is None and self.slow_call_rate != 1.0:
            raise ValueError("slow_call_rate needs slow_call= seconds to say what slow is")
        if self.slow_first_token is None and self.slow_first_token_rate != 1.0:
            raise ValueError("slow_first_token_rate needs slow_first_token= seconds")


@declarative
class Limiter:
    """How many calls may run at once, and how long others may wait.

    Attributes:
        max_concurrent: Calls at the same time; with `adaptive`, the most there may ever be.
        max_wait: Seconds a call may queue. 0: refuse at once.
        max_queue: Calls that may queue. None: `max_concurrent`.
        adaptive: Find the limit from latency and drops instead of always using the maximum.
        min_concurrent: The least an adaptive limit may fall to.
        priority: Journeys from the most to the least important; when the queue is full the least
            important one waiting is shed first. Journeys not named come last.
        per: What is limited: each `model` of the route by itself, since a model is what saturates
            and what an adaptive limit learns about; or the whole `route`, whichever model answers,
            so that a fallback adds no concurrency of its own.
    """

    max_concurrent: Count = Field(default=64, kw_only=True)
    max_wait: float = Field(default=0.0, ge=0, allow_inf_nan=False, kw_only=True)
    max_queue: int | None = Field(default=None, ge=0, kw_only=True)
    adaptive: bool = Field(default=False, kw_only=True)
    min_concurrent: Count = Field(default=1, kw_only=True)
    priority: tuple[str, ...] = Field(default=(), kw_only=True)
    per: Literal["model", "route"] = Field(default="model", kw_only=True)

    def check(self) -> None:
        """The floor is not above the ceiling."""
        if self.min_concurrent > self.max_concurrent:
            raise ValueError(
                f"min_concurrent={self.min_concurrent} is above max_concurrent={self.max_concurrent}"
            )
        if self.max_queue and not self.max_wait:
            raise ValueError(f"max_queue={self.max_queue} needs max_wait= seconds to wait in it")
        for journey in self.priority:
            if self.priority.count(journey) > 1:
                raise ValueError(f"priority: {journey!r} is named twice")
