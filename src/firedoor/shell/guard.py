"""`door.llm(...)` and its kin: one object that decorates, opens a block, or hands out attempts."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import operator
import sys
from collections.abc import Awaitable, Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar, cast

import wrapt

from firedoor.errors import ConfigurationError
from firedoor.shell.attempt import Attempt
from firedoor.shell.attempts import Attempts, not_run
from firedoor.shell.call import Call
from firedoor.shell.deferred import DeferredStream
from firedoor.shell.hedging import Hedger
from firedoor.shell.route import Binding, Route
from firedoor.shell.scope import current_attempt
from firedoor.shell.waiting import within

__all__ = ["Guard", "GuardedFunction"]

F = TypeVar("F")
_NO_ARGUMENTS: dict[str, Any] = {}


class BoundFunction(wrapt.BoundFunctionWrapper[..., Any]):
    """A guarded method of an object, or of a class."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        bound_to = getattr(self.__wrapped__, "__self__", None)
        if bound_to is None:  # a static method, or a method looked up on its class
            return _named, (self.__module__, self.__qualname__)
        return getattr, (bound_to, self.__name__)

    def __copy__(self) -> BoundFunction:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        bound_to = getattr(self.__wrapped__, "__self__", None)
        if bound_to is None:
            return self
        return getattr(copy.deepcopy(bound_to, memo), self.__name__)


class GuardedFunction(wrapt.FunctionWrapper[..., Any]):
    """A guarded function. It answers for the function it wraps: name, signature, flavour.

    It is pickled and copied as functions are, by its name: for process pools and task queues.
    """

    __bound_function_wrapper__ = BoundFunction

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__qualname__

    def __copy__(self) -> GuardedFunction:
        return self

    def __deepcopy__(self, memo: Any) -> GuardedFunction:
        return self


def _named(module: str, qualname: str) -> Any:
    """What a module has by a name with dots in it."""
    return operator.attrgetter(qualname)(importlib.import_module(module))


class Guard:
    """A route, ready for use in any of its forms.

    As a decorator it keeps the function's own type. As a block, `with guard as call:` (or
    `async with`), the body runs once. `guard.attempts()` is the block form that can fall back. What
    a block sends is not seen: policies of input are `skipped`, those of output look at what it records.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._entered: list[tuple[Attempt, int]] = []

    def __repr__(self) -> str:
        return f"<Guard {self._route.id}>"

    # Decorator -----------------------------------------------------------------------------

    def __call__(self, function: F) -> F:
        """Guard `function`, in whichever of the four shapes and kinds of binding it comes.

        Sync, async, generator and async generator functions; methods, class methods, static
        methods and callable objects. The guarded function keeps name, signature and flavour.

        Raises:
            ConfigurationError: If it cannot be called, or is guarded already.
        """
        inner = function.__func__ if isinstance(function, classmethod | staticmethod) else function
        if not callable(inner):
            raise ConfigurationError(
                f"door.{self._route.kind}({self._route.name!r}) decorates functions, methods and "
                f"callable objects, not {type(inner).__name__}"
            )
        _refuse_double(inner, self._route)
        _refuse_depth(inner, self._route)
        made: Any = GuardedFunction(function, self._wrapper(_flavour_of(inner)))  # type: ignore[arg-type]
        return cast("F", made)

    def _wrapper(self, target: Any) -> Callable[..., Any]:
        route = self._route
        runtime = route.runtime
        screens = route.screens
        bindings: list[Binding | None] = [None, None]
        enforced = (
            route.plan is not None
            and route.plan.enforced
            and not inspect.isasyncgenfunction(target)
            and not inspect.isgeneratorfunction(target)
            and not inspect.iscoroutinefunction(target)
        )
        hedge = None if route.plan is None else route.plan.hedge
        hedger = None if hedge is None else Hedger(hedge, runtime)
        if hedger is not None and inspect.isasyncgenfunction(target):
            raise ConfigurationError(
                f"{route.id}: hedge= cannot run an async generator function twice before it is "
                "read: make it an async function that returns the stream"
            )
        asyncgen = inspect.isasyncgenfunction(target)
        streams = inspect.isgeneratorfunction(target) or asyncgen
        # Policies to be awaited are asked where the gates are: as its first chunk is.
        defers = asyncgen and screens is not None and screens.awaits

        def bind(wrapped: Any, instance: Any) -> Binding:
            # A bound method's signature lacks `self`, so the two are read apart.
            found = bindings[instance is not None] = Binding.of(wrapped)
            return found

        def bare(wrapped: Any, args: Any, kwargs: Any) -> Callable[[Attempt], Any]:
            def begin(attempt: Attempt) -> Any:
                bound, named = attempt.bind(args, kwargs)
                return wrapped(*bound, **named)

            return begin

        def run(wrapped: Any, args: Any, kwargs: Any, attempt: Attempt) -> Any:
            bound, named = attempt.bind(args, kwargs)
            if not enforced or (limit := attempt.answer_within) is None:
                return wrapped(*bound, **named)
            return runtime.workers.run(
                functools.partial(wrapped, *bound, **named), limit, late=attempt.came_late
            )

        def later(
            call: Call, wrapped: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Callable[[], Awaitable[Any]]:
            async def begin() -> Any:
                given = args, kwargs
                if screens is not None and screens.awaits:
                    given = call.given = await screens.aenter(call, *given)
                again = functools.partial(run, wrapped, *given)
                async for attempt in call:
                    with attempt:
                        return attempt.take(again(attempt), again)
                return call.respond(stream=True)

            return begin

        def sync(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            binding = bindings[instance is not None] or bind(wrapped, instance)
            if not runtime.enabled:
                return wrapped(*args, **binding.with_model(args, kwargs, route.alias))
            named = binding.named(args, kwargs) if args else kwargs
            call = Call.open(route, named, binding)
            if call is None:
                return wrapped(*args, **binding.with_model(args, kwargs, route.alias))
            if screens is not None and not defers:
                args, kwargs = screens.enter(call, args, kwargs)
            call.given = args, kwargs
            if asyncgen and (defers or call.may_wait):
                return DeferredStream(call, later(call, wrapped, args, kwargs))
            for attempt in call:
                if hedger is not None and call.ladder is not None:
                    begin = bare(wrapped, args, kwargs)
                    try:
                        winner, outcome = hedger.race(call.ladder, attempt, begin)
                    except BaseException as error:
                        call.fail(error)
                        raise
                    with winner:
                        return winner.take(winner.screened(outcome()), run, wrapped, args, kwargs)
                    continue
                with attempt:
                    if enforced:
                        result = run(wrapped, args, kwargs, attempt)
                    else:  # as `run`, with one frame less in every traceback
                        bound, given = attempt.bind(args, kwargs)
                        result = wrapped(*bound, **given)
                    if screens is not None:
                        result = attempt.screened(result)
                    return attempt.take(result, run, wrapped, args, kwargs)
            return call.respond(stream=streams)

        async def asynchronous(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            binding = bindings[instance is not None] or bind(wrapped, instance)
            if not runtime.enabled:
                return await wrapped(*args, **binding.with_model(args, kwargs, route.alias))
            named = binding.named(args, kwargs) if args else kwargs
            call = Call.open(route, named, binding)
            if call is None:
                return await wrapped(*args, **binding.with_model(args, kwargs, route.alias))
            if screens is not None:
                args, kwargs = await screens.aenter(call, args, kwargs)
            call.given = args, kwargs
            async for attempt in call:
                if hedger is not None and call.ladder is not None:
                    start = bare(wrapped, args, kwargs)
                    try:
                        winner, answer = await hedger.arace(call.ladder, attempt, start)
                    except BaseException as error:
                        call.fail(error)
                        raise
                    with winner:
                        return winner.take(
                            await winner.ascreened(answer.result()), run, wrapped, args, kwargs
                        )
                    continue
                with attempt:
                    bound, given = attempt.bind(args, kwargs)
                    work = wrapped(*bound, **given)
                    result = await within(runtime.clock, attempt.answer_within, work)
                    if screens is not None:
                        result = await attempt.ascreened(result)
                    return attempt.take(result, run, wrapped, args, kwargs)
            return call.respond()

        # A generator function returns at once, and what it returns is a stream like any other.
        if inspect.iscoroutinefunction(target):
            return asynchronous
        if screens is not None and not asyncgen:
            screens.refuse_async(route.id)
        return sync

    # Block ---------------------------------------------------------------------------------

    def __enter__(self) -> Attempt:
        call = self._open()
        return self._entered_with(call, next(call, None), sys._getframe(1))

    def _entered_with(
        self, call: Call, attempt: Attempt | None, where: FrameType | None
    ) -> Attempt:
        if attempt is None:
            raise not_run(call)
        self._entered.append((attempt, id(where)))
        return attempt.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(sys._getframe(1), kind, error, trace)

    def _leave(
        self,
        where: FrameType | None,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # One guard may be entered by many at once, and a generator's block may end in another
        # context than it began in: the block that ends is the one of the frame that leaves it.
        entered = tuple(self._entered)
        here = [one for one in entered if one[1] == id(where)]
        current = current_attempt()
        known = here or entered
        ended = next((one for one in known if one[0] is current), known[-1])
        self._entered.remove(ended)
        attempt = ended[0]
        if attempt.__exit__(kind, error, trace) and error is not None:
            # The ladder has more, but a block runs once: `attempts()` is the form that goes on.
            attempt.give_up(error)

    async def __aenter__(self) -> Attempt:
        call = self._open()
        where = sys._getframe(0).f_back
        return self._entered_with(call, await anext(call, None), where)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(sys._getframe(0).f_back, kind, error, trace)

    def attempts(self) -> Attempts:
        """The block form that can fall back: `for attempt in guard.attempts(): with attempt: ...`.

        `async for` likewise. What answers where a ladder has come down to its `Canned` tier is the
        `response` of what this returns.
        """
        return Attempts(self._open())

    def _open(self) -> Call:
        route = self._route
        call = Call.open(route, _NO_ARGUMENTS, None) if route.runtime.enabled else None
        if call is None:
            return Call.blank(route)
        if route.screens is not None:
            route.screens.unseen(call)
        return call


def _flavour_of(function: Any) -> Any:
    """The function whose flavour counts: through partials, and to `__call__` for objects."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return type(function).__call__


def _refuse_depth(function: Any, route: Route) -> None:
    """A depth that the function does not take would make every call fail once a switch caps it."""
    if route.depth is None:
        return
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if route.depth not in parameters and not takes_any:
        raise ConfigurationError(
            f"door.{route.kind}({route.name!r}, depth={route.depth!r}): "
            f"{getattr(function, '__qualname__', function)!s} has no parameter {route.depth!r}; "
            f"it has {', '.join(parameters) or 'none'}"
        )


def _refuse_double(function: Any, route: Route) -> None:
    seen: Any = function
    for _ in range(64):
        if isinstance(seen, wrapt.BoundFunctionWrapper | GuardedFunction) and isinstance(
            getattr(seen, "_self_parent", None) or seen, GuardedFunction
        ):
            raise ConfigurationError(
                f"{getattr(function, '__qualname__', function)!s} is guarded already; "
                f"door.{route.kind}({route.name!r}) would record every call twice: "
                f"remove one of the two decorators"
            )
        seen = next(
            (
                inner
                for way in ("__wrapped__", "__func__", "func")  # the last one is a partial's
                if (inner := getattr(seen, way, None)) is not None
            ),
            None,
        )
        if seen is None:
            return
