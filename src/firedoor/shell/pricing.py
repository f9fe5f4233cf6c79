"""What a call may cost: its size from its arguments, its price from a table.

Prices come from the application first, then from the genai-prices package (extra `prices`), which
is imported when it is first needed. A model that neither knows has no price: None, never zero.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from firedoor.config import Tier
from firedoor.core.prices import DEFAULT_OUTPUT, Estimate, Price, dearest, worst_case
from firedoor.errors import ConfigurationError
from firedoor.extraction.fields import count, field

__all__ = ["IMAGE_TOKENS", "OVERHEAD", "Prices", "input_bound", "output_cap"]

OVERHEAD = 4
"""Tokens added for every message, part, field and tool: what a chat template writes around each is
three or four (https://github.com/openai/openai-cookbook, "How to count tokens with tiktoken")."""

IMAGE_TOKENS = 5_000
"""Tokens an image is counted for, given by address or as data. Claude takes up to 4,784, GPT-4o
1,445; gpt-4o-mini alone bills more of them (at a thirtieth of the price)."""

_CACHED_MODELS = 512
_DEEPEST = 32
_CAPS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_CHOICES = ("n", "best_of", "candidate_count")
_NESTED = ("config", "generation_config", "inferenceConfig")
_SHORT = 256
_FRAME = 16


def input_bound(value: Any) -> int:
    """An upper bound of the tokens in all texts of `value`, however deep.

    Byte-pair tokenizers cut bytes, never join texts, and a token has at least one: a text has no
    more tokens than UTF-8 bytes. That is about four times the real figure of English and is exact
    for what no vocabulary knows. Numbers count as their digits at the most, images as
    `IMAGE_TOKENS`. What the provider adds from elsewhere (an earlier response by its id, a file by
    its id) cannot be seen here.
    """
    total = _FRAME
    kind = type(value)
    if kind is str:
        return total + (len(value) if value.isascii() else len(value.encode(errors="replace")))
    level = [value]
    depth = 0
    while level and depth < _DEEPEST:
        depth += 1
        below: list[Any] = []
        for one in level:
            kind = type(one)
            if kind is dict:
                total += OVERHEAD * len(one)
                for name, inner in one.items():
                    if type(inner) is str:
                        size = len(inner)
                        if size > _SHORT or name == "url":
                            total += _long(inner, one)
                        elif inner.isascii():
                            total += size
                        else:
                            total += len(inner.encode(errors="replace"))
                    elif inner is not None:
                        below.append(inner)
                    if type(name) is str:
                        total += len(name) if name.isascii() else len(name.encode())
            elif kind is list or kind is tuple:
                total += OVERHEAD
                below += one
            elif kind is str:
                total += len(one) if one.isascii() else len(one.encode(errors="replace"))
            elif kind is int or kind is float or kind is bool or one is None:
                total += 24
            elif kind is bytes or kind is bytearray:
                total += max(len(one) * 4 // 3, OVERHEAD)
            else:
                below += _inside(one)
        level = below
    return total


def _long(text: str, beside: dict[Any, Any]) -> int:
    """A long text or an address, which may be an image."""
    size = len(text) if text.isascii() else len(text.encode(errors="replace"))
    kind = beside.get("media_type") or beside.get("mime_type") or beside.get("mimeType")
    if text.startswith("data:image/") or (type(kind) is str and kind.startswith("image/")):
        return IMAGE_TOKENS
    if text.startswith(("https:", "http:")):
        # An image's address, or a text that begins with one: whichever is more.
        return max(size, IMAGE_TOKENS)
    return size


def _inside(value: Any) -> list[Any]:
    """What there is to read in an object: a mapping, a sequence, or a message with fields."""
    try:
        if isinstance(value, str):
            return [str.__str__(value)]
        if isinstance(value, Mapping):
            return [dict(value)]
        if isinstance(value, list | tuple | set | frozenset):
            return list(value)
        kind = type(value)
        fields = getattr(kind, "__pydantic_fields__", None) or getattr(
            kind, "__dataclass_fields__", None
        )
        if fields:
            return [{name: getattr(value, name, None) for name in fields}]
        if isinstance(value, type):
            # A response format given as a class: its schema is sent.
            schema = getattr(value, "model_json_schema", None)
            return [schema()] if schema is not None else []
    except Exception:
        return []
    return []


def output_cap(arguments: Mapping[str, Any], max_output: int | None = None) -> int:
    """The most tokens a call can generate: its own cap, else the tier's, else `DEFAULT_OUTPUT`.

    Times the number of choices asked for.
    """
    cap = None
    for name in _CAPS:
        if name in arguments:
            cap = count(arguments[name])
            if cap is not None:
                break
    choices = 1
    for name in _CHOICES:
        if name in arguments:
            choices = max(choices, count(arguments[name]) or 1)
    if cap is None:
        for name in _NESTED:
            inner = arguments.get(name)
            if inner is not None:
                cap = count(field(inner, "max_output_tokens"))
                if cap is None:
                    cap = count(field(inner, "maxTokens"))
                choices = max(choices, count(field(inner, "candidate_count")) or 1)
                if cap is not None:
                    break
    if cap is None:
        cap = DEFAULT_OUTPUT if max_output is None else max_output
    return cap * choices


class Prices:
    """The prices of a door's models, and what its calls may cost. Thread-safe.

    Args:
        overrides: By model name, in US dollars per million tokens: a `Price`, a pair
            `(input, output)`, or a dict of `Price`'s arguments. They come before any table.

    Raises:
        ConfigurationError: If an override cannot be read; it names the model.
    """

    def __init__(self, overrides: Mapping[str, Any] | None = None) -> None:
        self._overrides = {
            model: _price(model, given) for model, given in (overrides or {}).items()
        }
        self._found: dict[str, Price | None] = dict(self._overrides)
        self._lock = threading.Lock()
        self._assumed: Price | None = None
        for price in self._overrides.values():
            self._assumed = dearest(self._assumed, price)
        self._snapshot: Any = None
        self._table: str | None = None

    def __repr__(self) -> str:
        return f"<Prices {len(self._overrides)} overrides, {self.source}>"

    @property
    def source(self) -> str:
        """The table in use with its version, or why there is none."""
        self._load()
        return self._table or "no table: install firedoor[prices]"

    @property
    def age(self) -> float | None:
        """Seconds since the table was made, as nearly as it says; None without a table.

        A table that genai-prices has updated knows its time. The one in the package does not: its
        age is that of the package's newest file.
        """
        snapshot = self._load()
        if snapshot is None:
            return None
        made = _made(snapshot)
        return None if made is None else max(0.0, datetime.now(UTC).timestamp() - made)

    @property
    def assumed(self) -> Price | None:
        """The dearest price known: of the overrides and of every model looked up so far."""
        return self._assumed

    def price(self, model: str | None) -> Price | None:
        """A model's price, or None where nothing knows it."""
        if model is None:
            return None
        try:
            return self._found[model]
        except KeyError:
            return self._find(model)

    def warm(self) -> None:
        """Load the table behind the caller's back, so that no call has to wait for it."""
        if self._snapshot is None:
            threading.Thread(target=self._load, name="firedoor-prices", daemon=True).start()

    def known(self, model: str | None) -> Price | None:
        """The same, without waiting for a table that is still being loaded."""
        if model is None:
            return None
        try:
            return self._found[model]
        except KeyError:
            return self._find(model) if self._snapshot is not None else None

    def estimate(
        self, arguments: Mapping[str, Any], tier: Tier | None, model: str | None
    ) -> Estimate:
        """What a call may use and cost.

        Args:
            arguments: Its arguments by name. Everything in them counts as prompt.
            tier: The tier it is made on, for `max_output`.
            model: The model it asks for, after switches.
        """
        return worst_case(
            input_bound(arguments if type(arguments) is dict else dict(arguments)),
            output_cap(arguments, None if tier is None else tier.max_output),
            self.price(model),
            self._assumed,
        )

    def _find(self, model: str) -> Price | None:
        price = self._from_table(model)
        with self._lock:
            if len(self._found) >= _CACHED_MODELS + len(self._overrides):
                self._found = dict(self._overrides)
            self._found[model] = price
            self._assumed = dearest(self._assumed, price)
        return price

    def _from_table(self, model: str) -> Price | None:
        snapshot = self._load()
        if snapshot is None:
            return None
        # `openai/gpt-4o` is how gateways write it: the provider, then its model.
        provider, _, rest = model.rpartition("/")
        for name, owner in ((model, None), (rest, provider or None)):
            try:
                _, found = snapshot.find_provider_model(name, None, owner, None)
                return _of_table(found.get_prices(datetime.now(UTC)))
            except Exception:  # noqa: S112 - not known: the next way of writing it
                continue
        return None

    def _load(self) -> Any:
        try:
            import genai_prices  # noqa: PLC0415 - 0.4 s, and an extra
            from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

            snapshot = get_snapshot()
        except Exception:
            return None
        if snapshot is not self._snapshot:
            with self._lock:
                # An updated table: what the old one said is asked again.
                self._found = dict(self._overrides)
                self._snapshot = snapshot
                self._table = f"genai-prices {genai_prices.__version__}"
        return snapshot


def _made(snapshot: Any) -> float | None:
    if getattr(snapshot, "from_auto_update", False):
        return float(snapshot.timestamp.timestamp())
    from genai_prices import data  # noqa: PLC0415

    return _file_time(data.__file__)


def _file_time(path: str | None) -> float | None:
    import os  # noqa: PLC0415

    return None if path is None else os.stat(path).st_mtime  # noqa: PTH116


def _of_table(prices: Any) -> Price | None:
    """A price of genai-prices as ours; None for a model that is not billed by tokens of text."""
    base = _column(prices, lambda value: getattr(value, "base", value))
    if base is None:
        return None
    starts = sorted(
        {
            step.start
            for value in vars(prices).values()
            for step in getattr(value, "tiers", None) or ()
        },
        reverse=True,
    )
    above: tuple[int, Price] | None = None
    for start in starts:
        step = _column(prices, lambda value, start=start: _at(value, start))
        if step is not None:
            above = (start, _with(step, above))
    return _with(base, above)


def _at(value: Any, start: int) -> Any:
    applied = getattr(value, "base", value)
    for step in getattr(value, "tiers", None) or ():
        if step.start <= start:
            applied = step.price
    return applied


def _column(prices: Any, read: Any) -> dict[str, Any] | None:
    known = vars(prices)
    given, made = known.get("input_mtok"), known.get("output_mtok")
    if given is None or (made is None and known.get("requests_kcount") is not None):
        return None
    # Embeddings have no price for output, as they make none.
    column = {"input": read(given), "output": 0 if made is None else read(made)}
    for ours, theirs in (("cached_input", "cache_read_mtok"), ("cache_write", "cache_write_mtok")):
        value = known.get(theirs)
        if value is not None:
            column[ours] = read(value)
    return column


def _with(column: dict[str, Any], above: tuple[int, Price] | None) -> Price:
    return Price(**column, above=above)


def _price(model: str, given: Any) -> Price:
    try:
        if isinstance(given, Price):
            return given
        if isinstance(given, Mapping):
            return Price(**given)
        if isinstance(given, tuple | list):
            return Price(*given)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"prices[{model!r}]={given!r}: {error}") from None
    raise ConfigurationError(
        f"prices[{model!r}]={given!r}: use fd.Price(input, output), a pair (input, output) or a "
        "dict, in US dollars per million tokens"
    )
