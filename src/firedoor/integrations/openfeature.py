"""Feature flags as switches, through OpenFeature (extra `openfeature`).

    leave = follow_flags(door.switches, [
        Flag("kill-refunds", "disable", "tool:refund", in_flight="cut"),
        Flag("answer-model", "alias", "gpt-5"),
    ])

A flag is heard when its provider is ready and the evaluation has neither an error nor the reason
`STALE`. Only a flag that is heard can take its switch back: with the provider stale, failed or
gone, and for a flag that was deleted there, what was on stays on. A stale `on` does turn on what
was never heard of: a kill from a cache is better than none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from firedoor.clock import SYSTEM_CLOCK, Clock
from firedoor.core.switches import ANYTHING, Kind, Switch
from firedoor.errors import ConfigurationError
from firedoor.shell.switchboard import Switchboard
from firedoor.shell.switchfile import check_strictness

try:
    from openfeature import api
    from openfeature.client import OpenFeatureClient
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.event import EventDetails, ProviderEvent
    from openfeature.flag_evaluation import Reason
    from openfeature.provider import ProviderStatus
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        "firedoor.integrations.openfeature needs the OpenFeature SDK: "
        "pip install 'firedoor[openfeature]'"
    ) from error

__all__ = ["Flag", "FlagSource", "follow_flags"]

_OFF: dict[Kind, Any] = {
    # The value that means no switch; its type is the type of the flag.
    Kind.DISABLE: False,
    Kind.SAFE_MODE: False,
    Kind.ALIAS: "",
    Kind.PROMPT: "",
    Kind.STRICTNESS: "",
    Kind.DEPTH: -1,
    Kind.MINIMUM_TIER: 0,
    Kind.CAP_BUDGET: 1.0,
    Kind.SHED_LOAD: 0.0,
}
_EXAMPLE: dict[type, Any] = {bool: None, str: "normal", int: 1, float: 0.5}


@dataclass(frozen=True, slots=True)
class Flag:
    """What one flag switches.

    Attributes:
        key: The flag's key at its provider.
        kind: A boolean flag for `disable` and `safe_mode`; a string flag (empty: no switch) for
            `alias`, `prompt` and `strictness`; an integer flag for `depth` (-1: no switch) and
            `minimum_tier` (0: no switch); a float flag for `cap_budget` (the share of its limit at
            which a budget ends; 1: no switch) and `shed_load` (the share of a journey's requests
            that are turned away; 0: no switch).
        target: As for the switch of that kind.
        journey: The only journey it acts on. None: all.
        in_flight: What streams that run already do.

    Raises:
        ConfigurationError: If no switch can be made of it.
    """

    key: str
    kind: Kind | str
    target: str = ANYTHING
    journey: str | None = field(default=None, kw_only=True)
    in_flight: Literal["keep", "drain", "cut"] = field(default="keep", kw_only=True)

    def __post_init__(self) -> None:
        if self.kind not in _OFF:
            kinds = ", ".join(_OFF)
            raise ConfigurationError(f"Flag({self.key!r}, kind={self.kind!r}): use one of {kinds}")
        object.__setattr__(self, "kind", Kind(self.kind))
        example = _EXAMPLE[type(self.off)]
        self.switch(example, reason="a check", actor="a check", now=0.0, source="openfeature")

    @property
    def off(self) -> Any:
        """The value that means no switch."""
        return _OFF[Kind(self.kind)]

    def switch(self, value: Any, *, reason: str, actor: str, now: float, source: str) -> Switch:
        """The switch that `value` of the flag asks for."""
        if self.kind == Kind.STRICTNESS:
            check_strictness(value)
        same = repr((source, self, value)).encode()
        return Switch(
            id=f"flag-{hashlib.sha256(same).hexdigest()[:8]}",
            kind=Kind(self.kind),
            target=self.target,
            value=value,
            journey=self.journey,
            reason=reason,
            actor=actor,
            created_at=now,
            in_flight=self.in_flight,  # type: ignore[arg-type]  # made one there
            source=source,
        )


class FlagSource:
    """The switches that flags ask for now: a `Source` of a switchboard.

    Attributes:
        name: `openfeature`, or `openfeature:DOMAIN`.
        problem: Which flags are not heard, and why; None when all are.
    """

    def __init__(
        self,
        flags: Iterable[Flag],
        *,
        client: OpenFeatureClient,
        context: EvaluationContext | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        domain = client.get_metadata().domain
        self.name = f"openfeature:{domain}" if domain else "openfeature"
        self.problem: str | None = None
        self._flags = tuple(flags)
        self._client = client
        self._context = context
        self._time_ns = clock.time_ns
        self._on: dict[Flag, Switch] = {}
        if len({flag.key for flag in self._flags}) < len(self._flags):
            raise ConfigurationError("a flag key is named twice: one flag makes one switch")

    def read(self) -> tuple[Switch, ...]:
        """What the flags ask for; for one that is not heard, what it asked for last."""
        problems = []
        on = dict(self._on)
        for flag in self._flags:
            problem = self._ask(flag, on)
            if problem is not None:
                problems.append(f"{flag.key}: {problem}")
        self._on = on
        self.problem = "; ".join(problems) or None
        return tuple(sorted(on.values(), key=lambda switch: switch.created_at))

    def _ask(self, flag: Flag, on: dict[Flag, Switch]) -> str | None:
        """Bring `on` up to date for one flag; answers why it was not heard."""
        client = self._client
        ask: dict[type, Callable[..., Any]] = {
            bool: client.get_boolean_details,
            str: client.get_string_details,
            int: client.get_integer_details,
            float: client.get_float_details,
        }
        details = ask[type(flag.off)](flag.key, flag.off, self._context)
        status = client.get_provider_status()
        if details.error_code is not None or details.reason == Reason.ERROR:
            return f"{details.error_code or 'ERROR'} {details.error_message or ''}".strip()
        stale = details.reason == Reason.STALE or status is not ProviderStatus.READY
        held = on.get(flag)
        if stale and (held is not None or details.value == flag.off):
            return f"the provider is {status.value}" if details.reason != Reason.STALE else "STALE"
        if details.value == flag.off:
            on.pop(flag, None)
            return None
        try:
            made = flag.switch(
                None if details.value is True else details.value,
                reason=f"flag {flag.key} is {details.variant or details.value}",
                actor=client.provider.get_metadata().name,
                now=self._time_ns() / 1e9,
                source=self.name,
            )
        except ConfigurationError as error:
            return str(error)
        if held is None or held.id != made.id:
            on[flag] = made
        return None


_EVENTS = (
    ProviderEvent.PROVIDER_READY,
    ProviderEvent.PROVIDER_CONFIGURATION_CHANGED,
    ProviderEvent.PROVIDER_STALE,
    ProviderEvent.PROVIDER_ERROR,
)


def follow_flags(
    switchboard: Switchboard,
    flags: Iterable[Flag],
    *,
    domain: str | None = None,
    context: EvaluationContext | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Callable[[], None]:
    """Let flags set and take back switches; answers how to stop, which takes theirs back.

    The flags are looked at when their provider says that something changed, and at every look of
    the switchboard at its sources, for providers that say nothing.

    Args:
        switchboard: As in `door.switches`.
        flags: What each of them switches.
        domain: Of the OpenFeature client, where the application names its providers.
        context: What the provider may target by, such as the environment.
        clock: Whose time the switches carry.

    Raises:
        ConfigurationError: If a flag is named twice, or these flags are followed already.
    """
    client = api.get_client(domain)  # pyright: ignore[reportAttributeAccessIssue] - re-exported lazily
    leave = switchboard.add_source(FlagSource(flags, client=client, context=context, clock=clock))

    def changed(_: EventDetails) -> None:
        switchboard.sync()

    for event in _EVENTS:
        client.add_handler(event, changed)

    handled = list(_EVENTS)

    def stop() -> None:
        while handled:
            client.remove_handler(handled.pop(), changed)
        leave()

    return stop
