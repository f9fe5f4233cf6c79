"""Whether a call can go to a tier at all: does it fit the window, can the model do what is asked.

Looked at before the tier is tried, so that a request that must fail costs nothing. The prompt is
counted from below: only a call that certainly does not fit is kept away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from firedoor.config import Tier
from firedoor.errors import Denied
from firedoor.extraction import tokens_at_least
from firedoor.shell.pricing import output_cap

__all__ = ["needs", "unfit"]

_DEEPEST = 12
_IMAGES = frozenset({"image", "image_url", "input_image"})
_TOOLS = ("tools", "functions")
_FORMATS = ("response_format", "text_format", "text", "output_format", "output_config")


def unfit(tier: Tier, arguments: Mapping[str, Any], route: str) -> Denied | None:
    """Why a call with these arguments cannot go to the tier; None if it may."""
    gate = f"tier:{tier.model}"
    if tier.capabilities is not None:
        missing = sorted(needs(arguments) - tier.capabilities)
        if missing:
            return Denied(
                f"{route} asks for {', '.join(missing)}, which {tier.model!r} is not declared to "
                "do; add it to the tier's capabilities=, or a tier that can",
                gate=gate,
            )
    if tier.context_window is not None:
        prompt = sum(tokens_at_least(text) for text in _texts(arguments))
        whole = prompt + output_cap(arguments, tier.max_output or 0)
        if whole > tier.context_window:
            return Denied(
                f"{route} needs {whole:,} tokens or more, and {tier.model!r} takes "
                f"{tier.context_window:,}; shorten the prompt, or add a tier with a larger "
                "context_window=",
                gate=gate,
            )
    return None


def needs(arguments: Mapping[str, Any]) -> frozenset[str]:
    """What a model must be able to do for these arguments: `tools`, `json`, `vision`."""
    found = set()
    if any(arguments.get(name) for name in _TOOLS):
        found.add("tools")
    if any(_structured(arguments.get(name)) for name in _FORMATS):
        found.add("json")
    if any(isinstance(one, Mapping) and one.get("type") in _IMAGES for one in _walk(arguments)):
        found.add("vision")
    return frozenset(found)


def _structured(given: Any) -> bool:
    if isinstance(given, type):
        return True
    if not isinstance(given, Mapping):
        return False
    inner = given.get("format", given)
    return isinstance(inner, Mapping) and str(inner.get("type", "")).startswith("json")


def _texts(value: Any) -> Iterator[str]:
    for one in _walk(value):
        if isinstance(one, str):
            yield one


def _walk(value: Any) -> Iterator[Any]:
    """Every value in nested dicts, lists and tuples, level by level."""
    level = [value]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for one in level:
            yield one
            if isinstance(one, Mapping):
                below += one.values()
            elif isinstance(one, list | tuple):
                below += one
        level = below
