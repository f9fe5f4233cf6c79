"""Reading the objects of other libraries without trusting them.

Every reader here answers a plain value of the type it promises, or None. A property that raises,
a mock that answers everything, an attribute of a foreign type: all read as absent. Types are
tested with `type()`, as `isinstance` would run a foreign `__class__`.
"""

from __future__ import annotations

from typing import Any

__all__ = ["count", "field", "items", "number", "path", "text", "texts_in"]


def field(value: Any, name: str) -> Any:
    """The entry or attribute `name`, or None where it is absent or cannot be read.

    Of a pydantic model its fields and extras alone: an attribute it lacks costs over a
    microsecond to ask for, as pydantic composes the message of the error first. The instance's
    own dict comes first for the same reason: a class with `__getattr__` is not cached.
    """
    kind = type(value)
    if kind is dict or issubclass(kind, dict):
        return dict.get(value, name)
    try:
        found = value.__dict__.get(name)
        if found is not None:
            return found
        if hasattr(kind, "__pydantic_complete__"):
            extra = value.__pydantic_extra__
            return extra.get(name) if extra else None
    except Exception:  # noqa: S110 - objects with slots, or that mean harm: asked as they like
        pass
    try:
        return getattr(value, name, None)
    except Exception:
        return None


def texts_in(value: Any, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The texts that `value` has under some of `names`, as `field` and `text` in one look."""
    try:
        if issubclass(type(value), dict):
            held: dict[str, Any] = value
        elif hasattr(type(value), "__pydantic_complete__"):
            held, extra = value.__dict__, value.__pydantic_extra__
            if extra:
                held = {**extra, **held}
        else:
            held = {name: field(value, name) for name in names}
        found = [(name, dict.get(held, name)) for name in names]
        return [(name, said) for name, said in found if said and issubclass(type(said), str)]
    except Exception:
        return []


def path(value: Any, *names: str) -> Any:
    """What stands at the end of a chain of fields, or None."""
    for name in names:
        if value is None:
            return None
        value = field(value, name)
    return value


def text(value: Any) -> str | None:
    """A string that is not empty, else None."""
    return value if issubclass(type(value), str) and value else None


def count(value: Any) -> int | None:
    """A whole number of things, zero or more, else None."""
    if type(value) is int and value >= 0:
        return value
    if type(value) is float and value >= 0 and value.is_integer():
        return int(value)
    return None


def number(value: Any) -> float | None:
    """A finite number, else None. numpy's scalars count as numbers."""
    kind = type(value)
    if kind is bool:
        return None
    if not issubclass(kind, int | float):
        if kind.__module__ != "numpy":
            return None
        try:
            value = value.item()
        except Exception:
            return None
        if type(value) not in (int, float):
            return None
    try:
        made = float(value)
    except Exception:
        return None
    return made if made - made == 0 else None


def items(value: Any) -> list[Any] | tuple[Any, ...]:
    """A list or tuple as it is; anything else is empty."""
    return value if issubclass(type(value), list | tuple) else ()
