"""What a call may cost: its size from its arguments, its price from a table.

Prices come from the application first, then from the genai-prices package (extra `prices`), which
is loaded when it is first needed. A model that neither knows has no price: None, never zero.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from firedoor.config import Tier
from firedoor.core.prices import Estimate, Price, dearest, worst_case
from firedoor.errors import ConfigurationError
from firedoor.shell.price_table import Table, load
from firedoor.shell.sizes import IMAGE_TOKENS, OVERHEAD, input_bound, output_cap

__all__ = ["IMAGE_TOKENS", "OVERHEAD", "Prices", "input_bound", "output_cap"]

logger = logging.getLogger("firedoor")

_REFRESH = 60.0
"""Seconds a price of the table is used before it is asked again: some change by the time of day,
and genai-prices may have updated its table."""

_CACHED_MODELS = 512


class Prices:
    """The prices of a door's models, and what its calls may cost. Thread-safe.

    Args:
        overrides: By model name, in US dollars per million tokens: a `Price`, a pair
            `(input, output)`, or a dict of `Price`'s arguments. They come before any table.
        clock: Seconds since the epoch.

    Raises:
        ConfigurationError: If an override cannot be read; it names the model.
    """

    def __init__(
        self,
        overrides: Mapping[str, Any] | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._overrides = _read(overrides)
        self._clock = clock
        self._found: dict[str, Price | None] = dict(self._overrides)
        self._own = self._assumed = dearest(self._overrides.values())
        self._fresh_from = self._fresh_until = 0.0
        self._table: Table | None = None
        self._missing: str | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Prices {len(self._overrides)} overrides, {self.source}>"

    @property
    def source(self) -> str:
        """The table in use with its version, or why there is none."""
        if self._table is not None:
            return self._table.source
        return self._missing or "no table loaded yet"

    @property
    def age(self) -> float | None:
        """Seconds since the table was made, or more; None without a table.

        Not less: where the table does not tell its time, the newest price in it does.
        """
        made = None if self._table is None else self._table.made
        return None if made is None else max(0.0, self._clock() - made)

    @property
    def _unread(self) -> bool:
        """Whether nobody has looked for the table yet."""
        return self._table is None and self._missing is None

    @property
    def assumed(self) -> Price | None:
        """The dearest price known: of the overrides, and of the whole table once it is loaded."""
        return self._assumed

    def warm(self) -> None:
        """Load the table behind the caller's back, so that no call has to wait for it."""
        if self._unread:
            self._start()

    def price(self, model: str | None) -> Price | None:
        """A model's price, or None where nothing knows it.

        Waits for the table where the overrides do not know the model and it is not loaded yet.
        """
        if model is None:
            return None
        if not self._fresh_from <= self._clock() < self._fresh_until:
            self._renew()
        try:
            return self._found[model]
        except KeyError:
            return self._find(model)

    def known(self, model: str | None) -> Price | None:
        """The same, without waiting for a table that is not loaded yet."""
        if self._unread:
            return None if model is None else self._overrides.get(model)
        return self.price(model)

    def waits(self, model: str | None) -> bool:
        """Whether `price` would have to wait for the table."""
        return self._unread and model is not None and model not in self._overrides

    def estimate(
        self, arguments: Mapping[str, Any], tier: Tier | None, model: str | None
    ) -> Estimate:
        """What a call may use and cost.

        Args:
            arguments: Its arguments by name. Everything in them counts as prompt.
            tier: The tier it is made on, for `max_output`.
            model: The model it asks for, after switches.
        """
        price = self.price(model)
        return worst_case(
            input_bound(arguments if type(arguments) is dict else dict(arguments)),
            output_cap(arguments, None if tier is None else tier.max_output),
            price,
            self._assumed,
        )

    def _find(self, model: str) -> Price | None:
        # Read once: another thread may put a new dict in its place.
        found = self._found
        if self._unread:
            self.load()
        table = self._table
        price = None if table is None else table.price(model, self._clock())
        if len(found) >= _CACHED_MODELS + len(self._overrides):
            found = self._found = dict(self._overrides)
        found[model] = price
        return price

    def _renew(self) -> None:
        """Forget what the table said a while ago; see whether there is a newer one."""
        now = self._clock()
        self._fresh_from, self._fresh_until = now, now + _REFRESH
        self._found = dict(self._overrides)
        if self._table is not None and not self._table.current():
            self._start()

    def _start(self) -> None:
        # Two at once do no harm: the table is loaded under a lock, and the second finds it there.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self.load, name="firedoor-prices", daemon=True)
            self._thread.start()

    def load(self) -> None:
        """Read the table, or find out why there is none; blocks until that is done."""
        try:
            table = load(self._clock())
        except ImportError:
            self._missing = "no table: install firedoor[prices]"
        except Exception as error:
            self._missing = f"no table: genai-prices cannot be read ({type(error).__name__})"
        else:
            both = [price for price in (self._own, table.dearest) if price is not None]
            self._assumed = dearest(both)
            with self._lock:
                known, self._table = self._table, table
            self._found = dict(self._overrides)
            if known is None or known.snapshot is not table.snapshot:
                self._tell(table)

    def _tell(self, table: Table) -> None:
        age = self.age
        days = "of unknown age" if age is None else f"{age / 86_400:.0f} days old at the most"
        logger.info("firedoor: prices from %s, %s", table.source, days)


def _read(overrides: Any) -> dict[str, Price]:
    if overrides is None:
        return {}
    if not isinstance(overrides, Mapping):
        raise ConfigurationError(
            f"prices={overrides!r}: use a dict from model names to prices, such as "
            "{'gpt-4o': (2.5, 10)}"
        )
    return {_name(model): _price(model, given) for model, given in overrides.items()}


def _name(model: Any) -> str:
    if isinstance(model, str) and model:
        return model
    raise ConfigurationError(f"prices: {model!r} is no model name; use the one that calls give")


def _price(model: str, given: Any) -> Price:
    try:
        if isinstance(given, Price):
            return given
        if isinstance(given, Mapping):
            return _of_mapping(given)
        if isinstance(given, tuple | list) and len(given) == 2:
            return Price(*given)
    except ValueError as error:
        raise ConfigurationError(f"prices[{model!r}]={given!r}: {error}") from None
    except TypeError:
        pass  # a field too many or too few
    raise ConfigurationError(
        f"prices[{model!r}]={given!r}: use fd.Price(input, output), a pair (input, output) or a "
        "dict with input, output and, where they differ, cached_input, cache_write, per_call, "
        "most, above; in US dollars per million tokens"
    )


def _of_mapping(given: Mapping[str, Any]) -> Price:
    above = given.get("above")
    if isinstance(above, tuple | list) and len(above) == 2 and isinstance(above[1], Mapping):
        # As TOML and JSON write it.
        given = {**given, "above": (above[0], _of_mapping(above[1]))}
    return Price(**given)
