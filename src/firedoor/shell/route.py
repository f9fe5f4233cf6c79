"""What is known of a guarded function before it is ever called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from firedoor.config import Tier
from firedoor.core.spending import Rule, Unit
from firedoor.errors import ConfigurationError
from firedoor.records import Decision
from firedoor.shell.plan import Plan
from firedoor.shell.runtime import Runtime
from firedoor.shell.screens import Screens
from firedoor.shell.sizes import SIZES
from firedoor.types import Effect, RouteKind

__all__ = ["ROUTED", "Binding", "Route"]

ROUTED: str = "<routed>"
"""Default for a guarded function's `model` parameter: says that the door fills it in.

`def answer(messages: list[Message], *, model: str = fd.ROUTED) -> Completion` lets a type checker
accept `answer(messages)`.
"""


class Route:
    """One guarded function: its kind and name, and what every record of it has in common."""

    __slots__ = (
        "_lone",
        "alias",
        "clean_alias",
        "clean_names",
        "depth",
        "dollars",
        "id",
        "kind",
        "max_calls",
        "name",
        "plan",
        "prompt",
        "provider",
        "rules",
        "runtime",
        "screens",
        "streams",
        "template",
    )

    def __init__(
        self,
        runtime: Runtime,
        kind: RouteKind,
        name: str,
        *,
        model: str | None = None,
        provider: str | None = None,
        prompt: str | None = None,
        effect: str | None = None,
        depth: str | None = None,
        plan: Plan | None = None,
        screens: Screens | None = None,
        rules: tuple[Rule, ...] = (),
        max_calls: int | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise ConfigurationError(
                f"door.{kind}({name!r}): the first argument is the route's name: "
                f"write @door.{kind}('some-name') above the function"
            )
        if not name or not name.isprintable() or any(c in name for c in ":*/ "):
            raise ConfigurationError(
                f"door.{kind}(name={name!r}): a name is not empty and has no space, ':', '*' or '/'"
            )
        names: dict[str, Any] = {
            "model": model,
            "provider": provider,
            "prompt": prompt,
            "depth": depth,
        }
        for what, given in names.items():
            if given is not None and (not isinstance(given, str) or not given):
                raise ConfigurationError(
                    f"door.{kind}({name!r}, {what}={given!r}): give a name, as text"
                )
        if effect is not None and effect not in tuple(Effect):
            raise ConfigurationError(
                f"door.tool(effect={effect!r}): use one of {', '.join(Effect)}"
            )
        self.runtime = runtime
        self.kind = kind
        self.name = name
        self.id = f"{kind}:{name}"
        self.plan = plan
        self.screens = screens
        self.rules = rules
        self.dollars = any(rule.unit is Unit.USD for rule in rules)
        self.max_calls = max_calls
        self.streams = False  # has returned one
        self._lone: tuple[str, Plan] | None = None
        self.alias = plan.alias if plan is not None and plan.named else model
        self.clean_alias = None if self.alias is None else runtime.clean(self.alias)
        self.clean_names = _clean_names(runtime, plan, self.alias)
        self.provider = provider
        self.depth = depth
        self.prompt = prompt
        # Written into every record of the route at once; strings here are cleaned only once.
        # What every call comes to know has its place in it: a record that need not grow while its
        # call runs costs a third less.
        self.template: dict[str, Any] = {
            **{name: getattr(Decision, name) for name in _ALWAYS_KNOWN},
            "service": runtime.service,
            "kind": kind,
            "route": runtime.clean(self.id),
        }
        for name_of, value in (("provider", provider), ("prompt_name", prompt), ("effect", effect)):
            if value is not None:
                self.template[name_of] = runtime.clean(value)

    def single(self, model: str | None) -> Plan:
        """The plan of a route that has none, for calls that must end by a deadline."""
        name = model or self.name
        made = self._lone
        if made is None or made[0] != name:
            made = self._lone = (name, Plan((Tier(name),), named=False))
        return made[1]


_ALWAYS_KNOWN = (
    "id", "request_id", "time", "alias", "model", "response_model", "response_id",
    "finish_reasons", "usage", "latency_s", "tier", "attempts", "outcome", "cost_usd",
    "cost_certainty",
)  # fmt: skip


def _clean_names(runtime: Runtime, plan: Plan | None, alias: str | None) -> dict[str, str]:
    """The route's own names of models that the redactor leaves as they are, each its own value."""
    names = {alias} if alias is not None else set()
    if plan is not None and plan.named:
        names |= {tier.model for tier in plan.tiers if isinstance(tier, Tier)}
    return {name: name for name in names if runtime.clean(name) == name}


@dataclass(frozen=True, slots=True)
class Binding:
    """How the arguments of one function are named.

    Attributes:
        names: Parameters that may be given by position, in order, without `self`.
        accepts_model: Whether the function declares `model`, so that the door fills it in.
        model_at: The position `model` may be given at; past every position where it may not.
        accepts_timeout: Whether it declares `timeout`.
        accepts_retries: Whether it declares `max_retries`, for its client's own.
        default_model: The default of its `model` parameter, where that is a name.
        defaults: Every parameter's default, where it has one.
        sizes: Those of them that say how much may come: a cap of the output, a number of choices.
    """

    names: tuple[str, ...]
    accepts_model: bool
    accepts_timeout: bool
    accepts_retries: bool = False
    default_model: str | None = None
    model_at: int = 1 << 30
    defaults: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Binding:
        """Read a function's signature; one that has none takes its arguments as they come."""
        try:
            parameters: Mapping[str, inspect.Parameter] = inspect.signature(function).parameters
        except (TypeError, ValueError):
            return cls((), accepts_model=False, accepts_timeout=False)
        by_position = (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        )
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        model = parameters["model"].default if "model" in parameters else None
        names = tuple(n for n, p in parameters.items() if p.kind in by_position)
        defaults = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
        return cls(
            names,
            accepts_model="model" in parameters and parameters["model"].kind in by_name,
            accepts_timeout="timeout" in parameters and parameters["timeout"].kind in by_name,
            accepts_retries="max_retries" in parameters
            and parameters["max_retries"].kind is inspect.Parameter.KEYWORD_ONLY,
            default_model=model if isinstance(model, str) and model != ROUTED else None,
            model_at=names.index("model") if "model" in names else 1 << 30,
            defaults=defaults,
            sizes={n: default for n, default in defaults.items() if n in SIZES},
        )

    def with_model(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], model: str | None
    ) -> dict[str, Any]:
        """The keyword arguments, with `model` where the function wants it and the caller gave none."""
        if (
            model is not None
            and self.accepts_model
            and len(args) <= self.model_at
            and kwargs.get("model", ROUTED) == ROUTED
        ):
            return {**kwargs, "model": model}
        return kwargs

    def routed(
        self,
        model: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        moved: bool,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with the model that is to answer, however the caller gave another one.

        What is no name is the caller's own, and stays unless the call has `moved` to another model
        than the one it began with.
        """
        at = self.model_at
        if "model" in kwargs:
            given = kwargs["model"]
        elif len(args) > at:
            given = args[at]
        elif self.accepts_model:
            return args, {**kwargs, "model": model}
        else:
            return args, kwargs
        if not isinstance(given, str):
            if given is not None and not moved:
                return args, kwargs
        elif given == model:
            return args, kwargs
        return self.replaced("model", model, args, kwargs)

    def value(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The argument called `name`, as given or by its default."""
        if name in kwargs:
            return kwargs[name]
        at = self.names.index(name) if name in self.names else len(args)
        return args[at] if at < len(args) else self.defaults.get(name)

    def replaced(
        self, name: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with another value for `name`, given the way it was given."""
        at = self.names.index(name) if name in self.names else len(args)
        if name not in kwargs and at < len(args):
            return (*args[:at], value, *args[at + 1 :]), kwargs
        return args, {**kwargs, name: value}

    def named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Every argument that has a name, by that name; `kwargs` itself without others."""
        if not args:
            return kwargs
        if len(args) == 1 and self.names:  # by far the most common, and three times as quick
            return {self.names[0]: args[0], **kwargs}
        return {**dict(zip(self.names, args, strict=False)), **kwargs}
