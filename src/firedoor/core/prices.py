"""What tokens cost, in integers: at the worst before a call, and really after it.

One US dollar per million tokens is one micro-dollar per token. A price is kept as picodollars per
token, and an amount is rounded up to the next whole micro-dollar once, at its end: never below what
the provider asks.

Pure. A cost that cannot be told is None, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, NamedTuple

from firedoor.types import CostCertainty, Usage, UsageCertainty

__all__ = ["DEFAULT_OUTPUT", "Estimate", "Price", "actual", "dearest", "worst_case"]

DEFAULT_OUTPUT = 4096
"""Output tokens reserved for a call that sets no cap, on a tier that sets none."""

_PICO = 1_000_000

_new: Any = tuple.__new__  # a named tuple's own goes through a function, at three times the cost

Number = Decimal | int | float | str


class Price:
    """What a model's tokens cost, in US dollars per million of them.

    Args:
        input: Prompt tokens.
        output: Generated tokens, reasoning ones included.
        cached_input: Prompt tokens read from the provider's cache. None: as `input`.
        cache_write: Prompt tokens written to it. None: as `input`.
        per_call: For the call itself, in US dollars.
        most: The dearest prompt and generated token of any kind, where some cost more than the
            figures above: audio, images, an hour in the cache. Only the worst case uses it: usage
            does not tell such tokens apart.
        above: Other prices for the whole call once its prompt has more than so many tokens:
            `(200_000, Price(...))`.

    Raises:
        ValueError: If a figure is negative, not finite or not a number, or `most` or `above` is
            not such a pair.
    """

    __slots__ = (
        "_cached",
        "_call",
        "_dearest_input",
        "_dearest_output",
        "_input",
        "_output",
        "_written",
        "above",
        "cache_write",
        "cached_input",
        "input",
        "most",
        "output",
        "per_call",
    )

    def __init__(
        self,
        input: Number,  # noqa: A002 - the field's word for it
        output: Number,
        *,
        cached_input: Number | None = None,
        cache_write: Number | None = None,
        per_call: Number = 0,
        most: tuple[Number, Number] | None = None,
        above: tuple[int, Price] | None = None,
    ) -> None:
        self.input = _decimal("input", input)
        self.output = _decimal("output", output)
        self.cached_input = None if cached_input is None else _decimal("cached_input", cached_input)
        self.cache_write = None if cache_write is None else _decimal("cache_write", cache_write)
        self.per_call = _decimal("per_call", per_call)
        self.most = None if most is None else _most(most)
        self.above = None if above is None else _above(above)
        self._input = _pico(self.input)
        self._output = _pico(self.output)
        self._cached = self._input if self.cached_input is None else _pico(self.cached_input)
        self._written = self._input if self.cache_write is None else _pico(self.cache_write)
        self._call = _pico(self.per_call * _PICO)
        high_input, high_output = (0, 0) if self.most is None else map(_pico, self.most)
        self._dearest_input = max(self._input, self._cached, self._written, high_input)
        self._dearest_output = max(self._output, high_output)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Price) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Price(input={self.input}, output={self.output})"

    def _key(self) -> tuple[object, ...]:
        return (
            self._input,
            self._output,
            self._cached,
            self._written,
            self._call,
            self._dearest_input,
            self._dearest_output,
            self.above,
        )

    def steps(self) -> Iterator[Price]:
        """This price, and those above it."""
        price: Price | None = self
        while price is not None:
            yield price
            price = None if price.above is None else price.above[1]

    def at(self, input_tokens: int) -> Price:
        """The price that holds for a prompt of this length."""
        price = self
        while price.above is not None and input_tokens > price.above[0]:
            price = price.above[1]
        return price

    def worst(self, input_tokens: int, output_tokens: int) -> int:
        """Micro-dollars at the most, whatever the provider's cache does."""
        total = (
            self._dearest_input * input_tokens + self._dearest_output * output_tokens + self._call
        )
        worst = -(-total // _PICO)
        above = self.above
        if above is None or input_tokens <= above[0]:
            return worst
        # The tokens are an upper bound: the real prompt may be short enough for the base.
        return max(worst, above[1].worst(input_tokens, output_tokens))

    def cost(self, input_tokens: int, output_tokens: int, cached: int, written: int) -> int:
        """Micro-dollars of a call; `cached` and `written` are parts of `input_tokens`."""
        price = self if self.above is None else self.at(input_tokens)
        cached = min(cached, input_tokens)
        written = min(written, input_tokens - cached)
        total = (
            price._input * (input_tokens - cached - written)
            + price._cached * cached
            + price._written * written
            + price._output * output_tokens
            + price._call
        )
        return -(-total // _PICO)


class Estimate(NamedTuple):
    """What a call may use, before it is made.

    Attributes:
        input_tokens: An upper bound of the prompt.
        output_cap: The most it can generate, over all its choices.
        worst_micro_usd: What that costs; None where the price is not known.
        input_micro_usd: What the prompt alone costs: the floor of a call that never ended.
        price: Of the model; None where not known.
        assumed: The dearest price known, to use in its place for budgets that say so.
    """

    input_tokens: int
    output_cap: int
    worst_micro_usd: int | None = None
    input_micro_usd: int | None = None
    price: Price | None = None
    assumed: Price | None = None


def worst_case(
    input_tokens: int, output_cap: int, price: Price | None, assumed: Price | None = None
) -> Estimate:
    """What a call of this size costs at the most."""
    most = least = None
    if price is not None:
        most, least = price.worst(input_tokens, output_cap), price.worst(input_tokens, 0)
    made: Estimate = _new(Estimate, (input_tokens, output_cap, most, least, price, assumed))
    return made


def actual(
    usage: Usage | None, price: Price | None, estimate: Estimate
) -> tuple[int | None, CostCertainty]:
    """What a call cost in micro-dollars, and how far that can be trusted.

    `exact` where the provider told the tokens; `at_least` where they were counted from what came
    and the prompt's are known; `estimated` where part of the figure is the estimate: all of it
    without any usage; `unknown` without a price.
    """
    if price is None:
        return None, CostCertainty.UNKNOWN
    if usage is None or usage.output_tokens is None:
        given = None if usage is None else usage.input_tokens
        if given is None:
            return price.worst(estimate.input_tokens, estimate.output_cap), CostCertainty.ESTIMATED
        return price.worst(given, estimate.output_cap), CostCertainty.ESTIMATED
    if usage.input_tokens is None:
        return price.worst(estimate.input_tokens, usage.output_tokens), CostCertainty.ESTIMATED
    cost = price.cost(
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens or 0,
        usage.cache_write_tokens or 0,
    )
    if usage.certainty is UsageCertainty.EXACT:
        return cost, CostCertainty.EXACT
    return cost, CostCertainty.AT_LEAST


def dearest(prices: Iterable[Price]) -> Price | None:
    """A price that is nowhere below any of these; None for none."""
    steps = [step for price in prices for step in price.steps()]
    if not steps:
        return None
    return Price(
        max(step.input for step in steps),
        max(step.output for step in steps),
        cached_input=max(_or(step.cached_input, step.input) for step in steps),
        cache_write=max(_or(step.cache_write, step.input) for step in steps),
        per_call=max(step.per_call for step in steps),
        most=(
            max(step.input if step.most is None else step.most[0] for step in steps),
            max(step.output if step.most is None else step.most[1] for step in steps),
        ),
    )


def _or(figure: Decimal | None, other: Decimal) -> Decimal:
    return other if figure is None else figure


def _most(given: Any) -> tuple[Decimal, Decimal]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ValueError(f"most={given!r}: give a pair (input, output), as the prices themselves")
    return _decimal("most[0]", given[0]), _decimal("most[1]", given[1])


def _above(given: Any) -> tuple[int, Price]:
    if isinstance(given, tuple | list) and len(given) == 2:
        start, price = given
        if type(start) is int and start >= 0 and isinstance(price, Price):
            return start, price
    raise ValueError(f"above={given!r}: give a pair (prompt tokens, Price(...))")


def _decimal(name: str, value: Number) -> Decimal:
    try:
        figure = Decimal(str(value))
    except InvalidOperation:
        figure = Decimal("NaN")
    if not figure.is_finite() or figure < 0:
        raise ValueError(f"{name}={value!r}: give US dollars per million tokens, 0 or more")
    return figure


def _pico(figure: Decimal) -> int:
    return int((figure * _PICO).to_integral_value(rounding=ROUND_CEILING))
