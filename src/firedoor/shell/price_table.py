"""The table of genai-prices (extra `prices`), read as firedoor's prices.

Importing it takes about 0.4 s, so it is loaded once, under one lock, where nobody waits if that can
be helped (`firedoor.shell.pricing.Prices.warm`).
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from firedoor.core.prices import Price

__all__ = ["Table", "load"]

_loading = threading.Lock()
if hasattr(os, "register_at_fork"):
    # A child forked in the middle of an import would wait for it for ever.
    os.register_at_fork(
        before=_loading.acquire,
        after_in_parent=_loading.release,
        after_in_child=_loading.release,
    )


class Table(NamedTuple):
    """One state of the table.

    Attributes:
        snapshot: As genai-prices holds it. It puts another in its place when it is updated.
        source: Name and version.
        made: Seconds since the epoch when the table was made, or a time before that.
        dearest: A price nowhere below that of any model at any time of day.
    """

    snapshot: Any
    source: str
    made: float | None
    dearest: Price | None

    def price(self, model: str, now: float) -> Price | None:
        """A model's price at this time; None where the table does not tell it."""
        # `openai/gpt-4o` is how gateways write it: the provider, then its model.
        provider, _, rest = model.partition("/")
        ways: list[tuple[str, str | None]] = [(model, None)]
        if rest:
            ways.insert(0, (rest, provider))
        for name, owner in ways:
            try:
                _, found = self.snapshot.find_provider_model(name, None, owner, None)
                return _of_table(found.get_prices(datetime.fromtimestamp(now, UTC)))
            except Exception:  # noqa: S112 - not known: the next way of writing it
                continue
        return None

    def current(self) -> bool:
        """Whether genai-prices has no newer state."""
        from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - loaded already

        return get_snapshot() is self.snapshot


def load(now: float) -> Table:
    """The table as it is; waits for one that is being loaded.

    Raises:
        Exception: If genai-prices is not installed, or is not as it was.
    """
    with _loading:
        import genai_prices  # noqa: PLC0415 - 0.4 s, and an extra
        from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

        snapshot = get_snapshot()
        return Table(
            snapshot,
            f"genai-prices {genai_prices.__version__}",
            _made(snapshot, now),
            _dearest(prices for _, prices in _entries(snapshot)),
        )


def _entries(snapshot: Any) -> Iterator[tuple[Any, Any]]:
    """Every price of every model, and what it depends on."""
    for provider in snapshot.providers:
        for model in provider.models:
            if isinstance(model.prices, list):
                for conditional in model.prices:
                    yield conditional.constraint, conditional.prices
            else:
                yield None, model.prices


def _made(snapshot: Any, now: float) -> float | None:
    """When the table was made, never later than it was.

    A table that genai-prices has updated knows its time. The one in the package does not, and the
    times of its files are those of their installation: it is as new as the newest price in it that
    holds already.
    """
    if snapshot.from_auto_update:
        return float(snapshot.timestamp.timestamp())
    starts = (getattr(constraint, "start_date", None) for constraint, _ in _entries(snapshot))
    days = [datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() for day in starts if day]
    return max((day for day in days if day <= now), default=None)


_INPUT = frozenset({"input_mtok", "input_image_mtok"})
_CACHED = "cache_read_mtok"
_WRITTEN = frozenset({"cache_write_mtok", "cache_write_1h_mtok"})
# Audio and video in a prompt cost up to sixteen times as much as its text, but are counted by their
# bytes, of which each of their tokens has hundreds.


def _is_output(name: str) -> bool:
    return name.startswith("output_") and name.endswith("_mtok")


def _dearest(entries: Iterable[Any]) -> Price | None:
    read, cached, written, made, call = ([Decimal(0)] for _ in range(5))
    for prices in entries:
        for name, value in vars(prices).items():
            if value is None:
                continue
            most = max([_base(value), *(step.price for step in getattr(value, "tiers", ()))])
            if name in _INPUT:
                read.append(most)
            elif name == _CACHED:
                cached.append(most)
            elif name in _WRITTEN:
                written.append(most)
            elif name == "requests_kcount":
                call.append(most)
            elif _is_output(name):
                made.append(most)
    if len(read) == 1:
        return None
    dearest = max(read)
    return Price(
        dearest,
        max(made),
        cached_input=max(dearest, *cached),
        cache_write=max(dearest, *written),
        per_call=max(call) / 1000,
    )


def _of_table(prices: Any) -> Price | None:
    """A price of genai-prices as ours; None for a model that is not billed by tokens of text."""
    known = {name: value for name, value in vars(prices).items() if value is not None}
    starts = {step.start for value in known.values() for step in getattr(value, "tiers", ())}
    above: tuple[int, Price] | None = None
    for start in sorted(starts, reverse=True):
        price = _step(known, functools.partial(_at, start=start), above)
        above = None if price is None else (start, price)
    return _step(known, _base, above)


def _base(value: Any) -> Decimal:
    base: Decimal = getattr(value, "base", value)
    return base


def _at(value: Any, start: int) -> Decimal:
    applied = _base(value)
    for step in getattr(value, "tiers", ()):
        if step.start <= start:
            applied = step.price
    return applied


def _step(
    known: dict[str, Any], read: Callable[[Any], Decimal], above: tuple[int, Price] | None
) -> Price | None:
    if "input_mtok" not in known:
        return None
    column = {name: read(value) for name, value in known.items()}
    given = column["input_mtok"]
    outputs = [price for name, price in column.items() if _is_output(name)]
    # Embeddings have no price for output, as they make none.
    made = column.get("output_mtok", max(outputs, default=Decimal(0)))
    dear_in = max(price for name, price in column.items() if name in _INPUT | _WRITTEN)
    dear_out = max([made, *outputs])
    return Price(
        given,
        made,
        cached_input=column.get(_CACHED),
        cache_write=column.get("cache_write_mtok"),
        per_call=column.get("requests_kcount", Decimal(0)) / 1000,
        most=(dear_in, dear_out),
        above=above,
    )
