"""What an attempt cost, from what it told of itself, or from what it may have used."""

from __future__ import annotations

from collections.abc import Sequence

from firedoor.core.prices import Estimate, Price, actual
from firedoor.types import CostCertainty, Usage, UsageCertainty

__all__ = ["in_all", "presumed", "priced"]

_UNKNOWN = CostCertainty.UNKNOWN
_TRUST = (
    CostCertainty.EXACT,
    CostCertainty.AT_LEAST,
    CostCertainty.ESTIMATED,
    CostCertainty.UNKNOWN,
)


def presumed(usage: Usage | None, estimate: Estimate, written: int | None, *, well: bool) -> Usage:
    """The tokens of an attempt that did not tell all of them.

    Args:
        usage: What it told.
        estimate: What it may have used at the most.
        written: UTF-8 bytes of the text it answered with: no tokenizer makes more tokens of them.
        well: It came to its end. One that failed or was given up has had its prompt read; what it
            wrote that nobody saw cannot be known.
    """
    given = None if usage is None else usage.input_tokens
    made = None if usage is None else usage.output_tokens
    if given is not None and made is not None and usage is not None:
        return usage
    if made is None:
        most = estimate.output_cap if written is None else min(written, estimate.output_cap)
        made = most if well else 0
    return Usage(
        estimate.input_tokens if given is None else given, made, certainty=UsageCertainty.UNKNOWN
    )


def priced(
    usage: Usage | None, price: Price | None, estimate: Estimate | None
) -> tuple[int | None, CostCertainty]:
    """What those tokens cost in micro-dollars; None where it cannot be told, never zero."""
    if price is None or usage is None:
        return None, _UNKNOWN
    if usage.input_tokens is None or usage.output_tokens is None:
        if estimate is None:
            return None, _UNKNOWN
        return actual(usage, price, estimate)
    cost = price.cost(
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens or 0,
        usage.cache_write_tokens or 0,
    )
    certainty = usage.certainty
    if certainty is UsageCertainty.EXACT:
        return cost, CostCertainty.EXACT
    if certainty is UsageCertainty.AT_LEAST:
        return cost, CostCertainty.AT_LEAST
    return cost, CostCertainty.ESTIMATED


def in_all(
    costs: Sequence[tuple[float | None, CostCertainty]],
) -> tuple[float | None, CostCertainty]:
    """The sum of what attempts cost, and how far it can be trusted.

    No further than its least certain part; with a part unknown, at the least what is known.
    """
    known = [cost for cost, _ in costs if cost is not None]
    if not known:
        return None, _UNKNOWN
    least = _TRUST[max(_TRUST.index(certainty) for _, certainty in costs)]
    return sum(known), CostCertainty.AT_LEAST if least is _UNKNOWN else least
