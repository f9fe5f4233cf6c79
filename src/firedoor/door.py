"""The door: builds the parts, owns them, and hands out guards and requests."""

from __future__ import annotations

import math
import numbers
import os
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from opentelemetry._logs import LoggerProvider
from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.trace import TracerProvider, get_tracer_provider

from firedoor.clock import SYSTEM_CLOCK, Clock
from firedoor.config import (
    Breaker,
    Budget,
    Canned,
    Hedge,
    Limiter,
    LoopGuard,
    Tier,
    is_async,
    several,
)
from firedoor.core.runbook import Runbook
from firedoor.core.spending import Rule
from firedoor.errors import ConfigurationError
from firedoor.extraction import Extractors
from firedoor.incidents.alert import Alert
from firedoor.incidents.book import Incidents
from firedoor.incidents.checks import Check, Checks
from firedoor.incidents.desk import Desk
from firedoor.incidents.feedback import Feedback
from firedoor.incidents.fleet import Fleet
from firedoor.incidents.notify import Sink
from firedoor.incidents.retention import RETENTION
from firedoor.incidents.signals import Signals
from firedoor.incidents.watch import Transition
from firedoor.policies import Chain, Policy, policy
from firedoor.privacy import Redactor
from firedoor.records import Decision
from firedoor.shell.accounts import LEASE
from firedoor.shell.breakers import Breakers
from firedoor.shell.budgets import Budgets, Threshold
from firedoor.shell.guard import Guard
from firedoor.shell.loops import limits_of
from firedoor.shell.plan import (
    EnforceTimeout,
    Plan,
    StreamFailure,
    check_enforcement,
    check_hedge,
    check_stream_failure,
    ladder_of,
)
from firedoor.shell.presence import Presence, gates
from firedoor.shell.pricing import Prices
from firedoor.shell.prompts import Prompts
from firedoor.shell.route import Route
from firedoor.shell.runtime import Runtime
from firedoor.shell.scope import Request
from firedoor.shell.screens import Screens
from firedoor.shell.switchboard import Switchboard
from firedoor.stores import MemoryStore, Store, open_store
from firedoor.stores.key import shared_key
from firedoor.telemetry.recorder import Recorder
from firedoor.types import RouteKind

__all__ = ["Firedoor", "looked_at"]

L = TypeVar("L", bound=Callable[[Decision], object])
T = TypeVar("T", bound=Callable[[Threshold], object])

C = TypeVar("C", bound=Callable[..., object])

_looked_at: ContextVar[bool] = ContextVar("firedoor-looked-at", default=False)

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


@contextmanager
def looked_at() -> Iterator[None]:
    """Doors that are made in this block serve nobody: a command only asks what they are made of.

    They act on nothing, lead no incident, and are no process of their application.
    """
    token = _looked_at.set(True)
    try:
        yield
    finally:
        _looked_at.reset(token)


class Firedoor:
    """The composition root; an application has one.

    Args:
        service: The application's name, on every decision.
        state: Where switches and budgets' counters live, and processes tell each other what they
            see: `memory://` in this process, `sqlite:///path` for the processes of one host,
            `redis://...` for a fleet. Environment: `FIREDOOR_STATE`.
        ledger: Where incidents are kept: `memory://` in this process, `sqlite:///path`,
            `postgresql://...`. Environment: `FIREDOOR_LEDGER`.
        capture: Whether texts are kept on decisions: `none`, or `redacted` (after every string
            has passed the detectors). Environment: `FIREDOOR_CAPTURE`.
        redactor: What every string passes before it leaves. None: all default detectors. Without a
            key of yours its tokens are made with one that the processes of a shared state have in
            common, else with one of this process.
        tracer_provider: Where spans go. None: the global provider, also one set later.
        meter_provider: Where metrics go; None as above.
        logger_provider: Where log events that mirror the spans go. None: there are none, since
            OpenTelemetry's API for them is not stable yet.
        clock: What time it is; a `firedoor.testing.FakeClock` in tests.
        enforce: False: every gate only watches, and records what it would have done.
            Environment: `FIREDOOR_ENFORCE`.
        enabled: False turns the door into a passage: functions run with their model filled in,
            and nothing else happens. Environment: `FIREDOOR_DISABLED`.
        budgets: What all model calls of the door may spend together.
        prices: Of models, by name, in US dollars per million tokens: `fd.Price(input, output)` or
            a pair. They come before the table of genai-prices (extra `prices`).
        runbooks: In the place of the default runbooks of their classes.
        retention: How long incidents are kept after they were closed and last changed, in seconds
            or as `"90d"`; what is older is forgotten by whoever watches alerts, few at a time,
            and never on a call's path. None: for ever.
        notify: Where messages about incidents go: `fd.notify.Log()`, `fd.notify.Webhook(url)`,
            `fd.notify.Apprise(urls)`.
        loop_guard: When a request goes in circles. None: only `max_calls=` of tools is counted.
        lease: Seconds that what running calls hold of shared budgets binds after their process was
            killed. Holds are renewed while their calls run.
        switches_file: A file of switches, `.toml` or `.json`, that is followed: what still works
            when everything else is down. Its folder exists, the file need not.
            Environment: `FIREDOOR_SWITCHES_FILE`.

    Raises:
        ConfigurationError: If a value cannot work; it names the value and the remedy.
    """

    def __init__(
        self,
        service: str,
        *,
        state: str | None = None,
        ledger: str | None = None,
        capture: Literal["none", "redacted"] | None = None,
        redactor: Redactor | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        clock: Clock | None = None,
        enforce: bool | None = None,
        enabled: bool | None = None,
        budgets: Sequence[Budget] = (),
        prices: Mapping[str, Any] | None = None,
        loop_guard: LoopGuard | None = None,
        runbooks: Sequence[Runbook] | None = None,
        notify: Sequence[Sink] = (),
        retention: float | str | None = RETENTION,
        lease: float = LEASE,
        switches_file: str | os.PathLike[str] | None = None,
    ) -> None:
        given: Any = service
        if given is None or not str(given).strip():
            raise ConfigurationError(
                f"Firedoor(service={service!r}): give the application a name, as in "
                "fd.Firedoor('support-copilot')"
            )
        if clock is not None and not isinstance(clock, Clock):
            raise ConfigurationError(
                f"Firedoor(clock={clock!r}): a clock has now(), time_ns(), sleep() and asleep(); "
                "leave it out for the system's, or use firedoor.testing.FakeClock()"
            )
        if redactor is not None and not isinstance(redactor, Redactor):
            raise ConfigurationError(
                f"Firedoor(redactor={redactor!r}): use fd.Redactor(...); to add patterns of your "
                "own, give them to it as detectors"
            )
        options: tuple[tuple[str, Any, type, str], ...] = (
            ("enforce", enforce, bool, "True or False"),
            ("enabled", enabled, bool, "True or False"),
            ("loop_guard", loop_guard, LoopGuard, "fd.LoopGuard(calls=50) and the like"),
        )
        for name, value, kind, remedy in options:
            if value is not None and not isinstance(value, kind):
                raise ConfigurationError(f"Firedoor({name}={value!r}): use {remedy}")
        self._state_url, store = _store(state, clock or SYSTEM_CLOCK)
        self._store = store
        if _looked_at.get():
            enabled = False
        redactor = redactor or Redactor(on_error=self._not_redacted)
        self._providers = (tracer_provider, meter_provider, logger_provider)
        service = redactor.redact_text(str(service))
        self._runtime = Runtime(
            service,
            clock=clock or SYSTEM_CLOCK,
            redactor=redactor,
            extractors=Extractors(),
            recorder=Recorder(
                tracer_provider=tracer_provider,
                meter_provider=meter_provider,
                logger_provider=logger_provider,
                service=service,
            ),
            capture=_capture(capture),
            enabled=not _flag("FIREDOOR_DISABLED") if enabled is None else enabled,
            enforce=_flag("FIREDOOR_ENFORCE", default=True) if enforce is None else enforce,
            switches=Switchboard(
                store,
                clock=clock or SYSTEM_CLOCK,
                file=switches_file or os.environ.get("FIREDOOR_SWITCHES_FILE") or None,
                on_fault=lambda _, error: self._fault(error),
            ),
            prices=Prices(prices),
            loops=limits_of(loop_guard),
        )
        self._lease = _seconds("lease", lease)
        runtime = self._runtime
        if store is not None and store.shared and not redactor.keyed:
            try:
                redactor.share(shared_key(store, runtime.clock))
            except Exception as error:
                runtime.internal("redaction", error)
        self._signals = Signals(
            runtime.now,
            lambda: runtime.time_ns() / 1e9,
            on_fault=lambda error: runtime.internal("signals", error),
        )
        self._fleet: Fleet | None = None
        if store is not None and store.shared:
            self._fleet = Fleet(
                self._signals,
                store,
                service,
                clock=runtime.clock,
                on_fault=lambda error: runtime.internal("signals", error),
            )
            if runtime.clock is SYSTEM_CLOCK:  # on another clock, `flush` is when they meet
                self._signals.on_turn(self._fleet.arm)
        runtime.listeners.append(self._signals.record)
        runtime.request_listeners.append(self._signals.record_request)
        self._checks = Checks(runtime, self._signals)
        feedback = runtime.feedback = self._feedback = Feedback(runtime, self._signals)
        runtime.request_listeners.append(feedback.remember)
        self._desk = Desk(
            runtime,
            self._signals,
            store=store,
            ledger=ledger,
            runbooks=None if runbooks is None else several(runbooks, "runbooks"),
            notify=several(notify, "notify"),
            retention=retention,
        )
        self._thresholds: list[Callable[[Threshold], object]] = []
        self._rules = self._declare(budgets)
        self._presence = None
        if store is not None and not _looked_at.get():
            self._presence = Presence(runtime, store)

    def __repr__(self) -> str:
        return f"<Firedoor {self._runtime.service!r}>"

    def _not_redacted(self, error: BaseException) -> None:
        """A detector failed; its text was hidden whole."""
        self._runtime.internal("redaction", error)

    def _declare(self, budgets: Sequence[Budget], owner: str = "") -> tuple[Rule, ...]:
        """Budgets ready for use; the first ones bring the accounts they are kept in."""
        budgets = several(budgets, "budgets")
        if not budgets:
            return ()
        for budget in budgets:
            if not isinstance(budget, Budget):
                raise ConfigurationError(
                    f"budgets={budget!r}: use fd.Budget(usd=50, per='day') and the like"
                )
        runtime = self._runtime
        if runtime.budgets is None:
            runtime.budgets = Budgets(
                self._store or MemoryStore(runtime.clock),
                runtime.clock,
                runtime.prices,
                service=runtime.service,
                enforce=runtime.enforce,
                lease=self._lease,
                on_threshold=self._crossed,
                on_fault=self._unpaid,
            )
            runtime.recorder.prices(_age(runtime.prices))
        return runtime.budgets.declare(budgets, owner)

    def _unpaid(self, error: BaseException) -> None:
        """Something about budgets went wrong behind the calls' path."""
        self._runtime.internal("budget", error)

    def _crossed(self, threshold: Threshold) -> None:
        runtime = self._runtime
        runtime.recorder.threshold(threshold.budget, threshold.share)
        for listener in self._thresholds:
            try:
                listener(threshold)
            except Exception as error:
                runtime.internal("listener", error)

    def _fault(self, error: BaseException) -> None:
        """A source of switches went bad; what was on stays on."""
        self._runtime.internal("switches", error)

    # Guards --------------------------------------------------------------------------------

    def llm(
        self,
        name: str,
        *,
        model: str | None = None,
        tiers: Sequence[Tier | Canned] | None = None,
        budgets: Sequence[Budget] = (),
        breaker: Breaker | None = None,
        limiter: Limiter | None = None,
        policies: Sequence[Policy] = (),
        provider: str | None = None,
        prompt: str | None = None,
        on_stream_failure: StreamFailure = "surface",
        enforce_timeout: EnforceTimeout | None = None,
        hedge: Hedge | None = None,
        side_effect_free: bool = False,
    ) -> Guard:
        """A guard for a model call, as a decorator or a block.

        Args:
            name: The route is `llm:name`.
            model: The model the application asks for. A function that declares a `model`
                parameter has it filled in.
            tiers: A ladder of models instead, best first; a `Canned` response may be last. A
                tier that fails by the provider's fault gives way to the next.
            budgets: What the calls of this route may spend, beside the door's own budgets.
            breaker: When to stop calling a model that fails or drags; one circuit per model.
            limiter: How many calls may run at once; one limiter per model.
            policies: What may go in and come out, in order.
            provider: The provider in OpenTelemetry's words (`openai`, `anthropic`, ...), where
                the response does not tell.
            prompt: The name of the prompt used: its revision in force is recorded.
            on_stream_failure: What a stream does that breaks after the user has seen content:
                `surface` raises the provider's own exception, `close` ends it with the text of
                the `Canned` tier.
            enforce_timeout: `thread` runs a sync function in a worker thread, so that the time
                limits of its tier hold even if its client honours none. What runs out of time is
                left running there, and accounted.
            hedge: When to ask once more while the first answer is awaited.
            side_effect_free: Running the function twice does no harm, which a hedge needs.

        Raises:
            ConfigurationError: If a value cannot work; it names the value and the remedy.
        """
        ladder = ladder_of(name, model, tiers)
        rules = self._rules + self._declare(budgets, f"{RouteKind.LLM}:{name}")
        route = Route(
            self._runtime,
            RouteKind.LLM,
            name,
            model=model,
            provider=provider,
            prompt=prompt,
            plan=_plan(
                name,
                ladder,
                breaker,
                limiter,
                check_stream_failure(name, on_stream_failure, ladder),
                enforced=check_enforcement(name, enforce_timeout),
                hedge=check_hedge(name, hedge, side_effect_free=side_effect_free),
                budgets=bool(rules),
            ),
            rules=rules,
            screens=self._screens(RouteKind.LLM, name, policies),
        )
        return self._guard(route, breaker, limiter)

    def retrieval(
        self,
        name: str,
        *,
        depth: str | None = None,
        breaker: Breaker | None = None,
        limiter: Limiter | None = None,
        policies: Sequence[Policy] = (),
    ) -> Guard:
        """A guard for a search, as a decorator or a block.

        Args:
            name: The route is `retrieval:name`; name the data source.
            depth: The parameter that says how many documents to fetch; a depth switch caps it.
            breaker: As for `llm`.
            limiter: As for `llm`.
            policies: As for `llm`.

        Raises:
            ConfigurationError: As for `llm`.
        """
        plan = _plan(name, None, breaker, limiter)
        screens = self._screens(RouteKind.RETRIEVAL, name, policies)
        route = Route(
            self._runtime, RouteKind.RETRIEVAL, name, depth=depth, plan=plan, screens=screens
        )
        return self._guard(route, breaker, limiter)

    def tool(
        self,
        name: str,
        *,
        effect: Literal["read", "write", "network"] | None = None,
        max_calls: int | None = None,
        budgets: Sequence[Budget] = (),
        breaker: Breaker | None = None,
        limiter: Limiter | None = None,
        policies: Sequence[Policy] = (),
    ) -> Guard:
        """A guard for a tool call, as a decorator or a block.

        Args:
            name: The route is `tool:name`.
            effect: What the tool does to the world. In safe mode only `read` tools run.
            max_calls: How often one request may call it.
            budgets: How often it may be called in a window: `fd.Budget(calls=100, per="hour")`.
            breaker: As for `llm`.
            limiter: As for `llm`.
            policies: As for `llm`.

        Raises:
            ConfigurationError: As for `llm`.
        """
        if max_calls is not None and (type(max_calls) is not int or max_calls < 1):
            raise ConfigurationError(
                f"door.tool({name!r}, max_calls={max_calls!r}): give a whole number above zero"
            )
        owner = f"{RouteKind.TOOL}:{name}"
        budgets = several(budgets, "budgets")
        for budget in budgets:
            if getattr(budget, "calls", budget) is None:
                raise ConfigurationError(
                    f"door.tool({name!r}, budgets=...): a tool has no tokens; count its calls, as "
                    "in fd.Budget(calls=100, per='hour')"
                )
        rules = self._declare(budgets, owner)
        plan = _plan(name, None, breaker, limiter, budgets=bool(rules))
        route = Route(
            self._runtime,
            RouteKind.TOOL,
            name,
            effect=effect,
            plan=plan,
            screens=self._screens(RouteKind.TOOL, name, policies),
            rules=rules,
            max_calls=max_calls,
        )
        return self._guard(route, breaker, limiter)

    def _screens(self, kind: RouteKind, name: str, policies: Sequence[Policy]) -> Screens | None:
        policies = several(policies, "policies")
        if not policies:
            return None
        runtime = self._runtime
        chain = Chain(
            policies, shadow=not runtime.enforce, clock=runtime.clock, redactor=runtime.redactor
        )
        return Screens(chain, kind, name)

    def _guard(self, route: Route, breaker: Breaker | None, limiter: Limiter | None) -> Guard:
        for name, gate, kind in (("breaker", breaker, Breaker), ("limiter", limiter, Limiter)):
            if gate is not None and not isinstance(gate, kind):
                raise ConfigurationError(
                    f"door.{route.kind}({route.name!r}, {name}={gate!r}): use fd.{kind.__name__}(...)"
                )
        if breaker is not None:
            self._runtime.breakers.declare(route.id, breaker)
        if limiter is not None:
            self._runtime.limiters.declare(route.id, limiter)
        self._runtime.known(route)
        return Guard(route)

    def request(
        self,
        journey: str,
        *,
        id: str | None = None,  # noqa: A002 - the public name
        user: str | None = None,
        tenant: str | None = None,
        deadline: float | None = None,
        synthetic: bool = False,
        grants: Iterable[str] = (),
    ) -> Request:
        """One user-visible unit of work: `with door.request("checkout-help") as request:`.

        Also `async with`. Requests nest: the calls of an inner one count for the outer as well,
        and it inherits user, tenant and the nearer deadline.

        Args:
            journey: The critical path this is one walk of.
            id: The application's own id for the request. None: a random one.
            user: Who asked; leaves the process only as a keyed token.
            tenant: For whom; likewise.
            deadline: Seconds the whole request may take. 0 or less: its time is over already.
            synthetic: Probe traffic, kept out of every signal.
            grants: What the tools of this request may do.

        Raises:
            ConfigurationError: If the journey has no name, or the deadline is no number.
        """
        given: Any = journey
        if not given or not isinstance(given, str):
            raise ConfigurationError(
                f"door.request({given!r}): name the journey, as in door.request('checkout-help')"
            )
        if deadline is not None:
            deadline = _deadline(deadline)
        return Request(
            self._runtime,
            journey,
            id=id,
            user=user,
            tenant=tenant,
            deadline=deadline,
            synthetic=synthetic,
            grants=grants,
        )

    policy = staticmethod(policy)
    """`@door.policy(on="input")` makes a policy of a function; see `firedoor.policies.policy`."""

    # Operation -----------------------------------------------------------------------------

    @property
    def state_url(self) -> str:
        """Where its switches and counters live, as given or from the environment."""
        return self._state_url

    @property
    def ledger_url(self) -> str:
        """Where its incidents are kept, likewise."""
        return self._desk.ledger_url

    @property
    def switches(self) -> Switchboard:
        """Operators' overrides: aliases, routes off, depth, prompts, safe mode, tiers."""
        return self._runtime.switches

    @property
    def breakers(self) -> Breakers:
        """The circuits of this process: `force` one by hand, `reset` it, `listen` to all."""
        return self._runtime.breakers

    @property
    def prompts(self) -> Prompts:
        """Prompts by name, at the revision in force."""
        return self._runtime.prompts

    @property
    def signals(self) -> Signals:
        """What users meet, as windowed figures: read them, add some, tell what decisions cannot."""
        return self._signals

    def check(
        self,
        name: str,
        fn: Check | None = None,
        *,
        sample: float = 1.0,
        timeout: float = 5.0,
        budget: Budget | None = None,
        routes: Collection[str] | None = None,
        threshold: float = 0.5,
    ) -> None:
        """Score answers of model calls, off the user's path.

        The score goes to the signal of the check's name, and becomes an evaluation event. What
        raises or takes too long is counted as such, never as passed. A second check of the same
        name replaces the first.

        Args:
            name: Of the check and its signal. `groundedness` comes with firedoor.
            fn: Gets the answer and a `fd.CheckContext`; answers 0 (bad) to 1 (good), a bool,
                `fd.Score`, or None where it does not apply. Sync or async. None: the default
                check of that name.
            sample: Share of the calls that is checked; the same calls in every process.
            timeout: Seconds one run may take.
            budget: What it may run or cost: `fd.Budget(calls=500, per="hour")` or
                `fd.Budget(usd=2, per="day")`, in this process. None: no end.
            routes: Only answers of these, as in `["llm:answer"]`. None: of every model call.
            threshold: Score from which on an event is labelled `pass`.

        Raises:
            ConfigurationError: If a value cannot work, or a built-in signal has the name.
        """
        self._checks.add(
            name,
            fn,
            sample=sample,
            timeout=timeout,
            budget=budget,
            routes=routes,
            threshold=threshold,
        )

    @property
    def checks(self) -> dict[str, Any]:
        """By check: how many answers it scored, what became of the others, the last results."""
        return self._checks.snapshot()

    def feedback(self, request_id: str, score: float, comment: str | None = None) -> bool:
        """What a user thought of a request, told later and elsewhere than `request.feedback`.

        Args:
            request_id: `request.id`. The last 10,000 are known; others count for the whole door.
            score: 0 (bad) to 1 (good).
            comment: The user's words. They leave only with `capture="redacted"`, redacted.

        Returns:
            Whether the request was known.

        Raises:
            ConfigurationError: If the score is not within 0 to 1.
        """
        return self._feedback.late(request_id, score, comment)

    @property
    def incidents(self) -> Incidents:
        """What went wrong: the open ones, and what became of those before."""
        return self._desk.book

    def watch(self, alerts: Iterable[Alert], *, checks: bool = True) -> None:
        """Watch alerts: what fires becomes an incident, and its first action is taken.

        May be called again with more. From the first call on a thread looks once a second; on a
        clock of your own the end of a call looks, at most once a second, and `evaluate` does.

        Args:
            alerts: `fd.alerts.defaults(...)`, or alerts of your own.
            checks: Whether an alert on groundedness brings its check along, on a sample and within
                a budget (`docs/checks.md`), where no check of that name is declared. A clock of
                your own brings none: a thread's scores come at no set time of it.

        Raises:
            ConfigurationError: If a name is used twice, a signal does not exist, or a rule cannot
                judge it.
        """
        alerts = several(alerts, "alerts")
        self._desk.watch(alerts)
        runtime = self._runtime
        if checks and runtime.enabled and runtime.clock is SYSTEM_CLOCK:
            self._checks.bring({alert.signal for alert in alerts})

    def evaluate(self) -> tuple[Transition, ...]:
        """Look at every alert now, and act; answers those that changed their state."""
        return self._desk.evaluate()

    def snapshot(self) -> dict[str, Any]:
        """Every gate's state, as plain data."""
        runtime = self._runtime
        return {
            **gates(runtime),
            "switches": [asdict(switch) for switch in runtime.switches.active()],
            "budgets": {} if runtime.budgets is None else runtime.budgets.snapshot(),
            "signals": self._signals.snapshot(runtime.now()),
            "checks": self._checks.snapshot(),
            **self._desk.snapshot(),
        }

    # Extension -----------------------------------------------------------------------------

    @property
    def extractors(self) -> Extractors:
        """Register how to read response types that firedoor does not know."""
        return self._runtime.extractors

    def on_decision(self, listener: L) -> L:
        """Call `listener` with every finished decision, on the thread that finished it.

        Returns the listener, so that it can be used as a decorator. An exception in it is
        counted and goes no further.
        """
        self._runtime.listeners.append(_listener("on_decision", listener))
        return listener

    def on_threshold(self, listener: T) -> T:
        """Call `listener` with a `Threshold` as a budget passes a soft one, once a window.

        Returns the listener, so that it can be used as a decorator.
        """
        self._thresholds.append(_listener("on_threshold", listener))
        return listener

    # Life ----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Finish the calls whose streams were dropped, and have the providers send what they hold.

        Blocks until they have: for the end of a script or a test, not for a request's path.
        """
        self._runtime.settle()
        self._checks.drain()
        if self._fleet is not None:
            self._fleet.exchange()
        if self._runtime.budgets is not None:
            self._runtime.budgets.accounts.flush()
        self._desk.flush()
        spans, metrics, logs = self._providers
        for provider in (spans or get_tracer_provider(), metrics or get_meter_provider(), logs):
            force_flush = getattr(provider, "force_flush", None)
            if force_flush is not None:
                try:
                    force_flush()
                except Exception as error:
                    self._runtime.internal("flush", error)

    def close(self) -> None:
        """End the streams that are still open as abandoned. The guarded functions go on working."""
        self._runtime.settle()
        self._runtime.close_streams()
        self._checks.close()
        self._desk.close()
        if self._runtime.budgets is not None:
            self._runtime.budgets.accounts.close()
        self._runtime.switches.close()
        if self._presence is not None:
            self._presence.close()
        if self._fleet is not None:
            self._fleet.close()
        if self._store is not None:
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _plan(
    name: str,
    ladder: tuple[Tier | Canned, ...] | None,
    breaker: Breaker | None,
    limiter: Limiter | None,
    on_stream_failure: StreamFailure = "surface",
    *,
    enforced: bool = False,
    hedge: Hedge | None = None,
    budgets: bool = False,
) -> Plan | None:
    """How the route is guarded; None where nothing was declared, which costs nothing."""
    gates = (ladder, breaker, limiter, hedge)
    if all(gate is None for gate in gates) and not enforced and not budgets:
        return None
    return Plan(
        ladder or (Tier(name),),
        named=ladder is not None,
        breaker=breaker is not None,
        limiter=limiter is not None,
        on_stream_failure=on_stream_failure,
        enforced=enforced,
        hedge=hedge,
    )


def _capture(given: str | None) -> Literal["none", "redacted"]:
    value = given if given is not None else os.environ.get("FIREDOOR_CAPTURE") or "none"
    if value == "none":
        return "none"
    if value == "redacted":
        return "redacted"
    where = "capture" if given is not None else "FIREDOOR_CAPTURE"
    raise ConfigurationError(f"{where}={value!r}: use 'none' or 'redacted'")


def _store(given: str | None, clock: Clock) -> tuple[str, Store | None]:
    """The state's URL and the shared store there; None where it lives in this process only."""
    url = given if given is not None else os.environ.get("FIREDOOR_STATE") or "memory://"
    if url == "memory://":
        return url, None
    try:
        return url, open_store(url, clock)
    except ConfigurationError as error:
        where = "Firedoor" if given is not None else "FIREDOOR_STATE"
        raise ConfigurationError(f"{where}: {error}") from error.__cause__


def _listener(name: str, given: C) -> C:
    """Something that can be told; a coroutine function would never run."""
    found: Any = given
    if not callable(found) or is_async(found):
        raise ConfigurationError(
            f"door.{name}({given!r}): give a function that is not async; it is called on the "
            "thread that has something to tell, and may put that on a queue of your own"
        )
    return given


def _age(prices: Prices) -> Callable[[], float | None]:
    """The age of the table of prices; a provider of metrics does not keep it alive."""
    reference = weakref.ref(prices)

    def age() -> float | None:
        found = reference()
        return None if found is None else found.age

    return age


def _seconds(name: str, given: Any) -> float:
    if type(given) in (int, float) and 0 < given <= 86_400:
        return float(given)
    raise ConfigurationError(f"{name}={given!r}: give seconds, more than 0 and at most a day")


def _deadline(given: Any) -> float | None:
    """Seconds from now; None for one that never comes."""
    if not isinstance(given, numbers.Real | Decimal) or math.isnan(given):
        raise ConfigurationError(
            f"door.request(deadline={given!r}): give the seconds that the request may take, as a "
            "number: deadline=20.0"
        )
    seconds = float(given)
    return None if seconds == math.inf else seconds


def _flag(name: str, *, default: bool = False) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value not in _TRUE + _FALSE:
        raise ConfigurationError(f"{name}={value!r}: use 1 or 0")
    return value in _TRUE
