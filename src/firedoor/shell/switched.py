"""What the switches in force mean for one call that begins."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from firedoor.config import Tier
from firedoor.core.snapshot import Resolution, Snapshot
from firedoor.core.switches import InFlight, Kind, Switch
from firedoor.errors import Denied, RouteDisabled, Saturated
from firedoor.types import Effect, RouteKind

if TYPE_CHECKING:
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.call import Call
    from firedoor.shell.route import Route

__all__ = ["kept_safe", "model_off", "newly", "refusal", "shed"]

_SHARES = 1 << 32


def shed(resolution: Resolution, request_id: str) -> Resolution:
    """What the switches make of a call whose request may be among those turned away.

    A request is turned away whole or not at all: its id decides, the same in every process. One
    that is turned away is answered as in safe mode.
    """
    switch = resolution.shed
    if switch is None:
        return resolution
    place = zlib.crc32(f"{switch.id}/{request_id}".encode(errors="surrogatepass")) / _SHARES
    if place >= switch.value:
        return replace(resolution, shed=None)
    return replace(
        resolution,
        safe_mode=resolution.safe_mode or switch,
        applied=(*resolution.applied, switch),
        switches=(*resolution.switches, switch.id),
    )


def refusal(resolution: Resolution, route: Route, now: float) -> Denied | None:
    """The denial a call gets at once, or None if it may go on.

    In safe mode a model call answers with its canned tier, or is refused if it has none; of tools
    only those that are declared to read run; searches go on. The same where the
    request is turned away, which is told as `Saturated`.

    Args:
        resolution: As `shed` left it.
        route: The route called.
        now: Seconds since the epoch.
    """
    if resolution.disabled_by is not None:
        return _off(f"{route.id} is turned off", resolution.disabled_by, now)
    if _unsafe(route) and (kept := kept_safe(resolution, route, now)) is not None:
        return kept
    if resolution.model_disabled_by is not None and route.plan is None:
        return model_off(route, resolution.model or "", resolution.model_disabled_by, now)
    return None


def kept_safe(resolution: Resolution, route: Route, now: float) -> Denied | None:
    """The denial of a call that only a safe response may answer, where there is no place for one."""
    if resolution.shed is not None:
        return _turned_away(route, resolution.shed, now)
    if resolution.safe_mode is not None:
        return _off(f"{route.id} does not run in safe mode", resolution.safe_mode, now)
    return None


def model_off(route: Route, model: str, switch: Switch, now: float) -> RouteDisabled:
    """The denial of a call to a model that is turned off; `now` in seconds since the epoch."""
    return _off(f"model {model!r} is turned off for {route.id}", switch, now)


def newly(call: Call, attempt: Attempt, board: Snapshot) -> tuple[InFlight, Switch | None]:
    """What the switches set since a call began want of its stream, and the one that wants it."""
    route, record = call.route, call.record
    plan = route.plan
    asked = plan.tiers[attempt.tier] if plan is not None and plan.named else None
    alias = asked.model if isinstance(asked, Tier) else record.alias
    now = call.runtime.time_ns() / 1e9
    terms: dict[str, Any] = {"alias": alias, "journey": record.journey, "prompt": route.prompt}
    answer = board.resolve(route.id, now=now, **terms)
    began = {switch.id for switch in call.board.switches}
    if answer.model == attempt.model:
        # The attempt began after an alias was moved, and has followed it.
        began |= {switch.id for switch in answer.applied if switch.kind is Kind.ALIAS}
    wish = board.in_flight(began, route.id, now=now, **terms)
    wanted = [s for s in answer.applied if s.id not in began and s.in_flight is wish]
    return wish, wanted[-1] if wanted else None


def _unsafe(route: Route) -> bool:
    if route.kind is RouteKind.LLM:
        return route.plan is None or route.plan.canned is None
    # Of a tool that does not say what it does anything may be feared.
    return route.kind is RouteKind.TOOL and route.template.get("effect") != Effect.READ


def _turned_away(route: Route, switch: Switch, now: float) -> Saturated:
    after = _ends_in(switch, now)
    hint = "" if after is None else f" Try again in {after:.0f} s."
    return Saturated(
        f"{route.id} does not run for this request: load is shed by switch {switch.id} "
        f"({switch.actor}: {switch.reason}).{hint} Revert it: "
        f"door.switches.revert({switch.id!r})",
        gate=f"switch:{switch.id}",
        retry_after=after,
    )


def _ends_in(switch: Switch, now: float) -> float | None:
    return None if switch.expires_at is None else max(0.0, switch.expires_at - now)


def _off(what: str, switch: Switch, now: float) -> RouteDisabled:
    until = "until it is reverted"
    if switch.expires_at is not None:
        moment = datetime.fromtimestamp(switch.expires_at, UTC)
        until = f"until {moment:%Y-%m-%dT%H:%M:%SZ}"
    return RouteDisabled(
        f"{what} by switch {switch.id} ({switch.actor}: {switch.reason}) {until}. "
        f"Revert it: door.switches.revert({switch.id!r})",
        gate=f"switch:{switch.id}",
        retry_after=_ends_in(switch, now),
    )
