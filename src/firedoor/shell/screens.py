"""A route's content policies, at the two places where a call has content: before and after.

What the application sends is looked at once per call, before a tier is chosen; a block ends the
call with nothing sent. What comes back is looked at before anyone sees it. Policies declared with
`overlap=True` look at the input while the model already works, and whatever it says is held back
until they have spoken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from firedoor.errors import ConfigurationError, PolicyBlocked
from firedoor.policies import Chain, ContentScreening, Stage, Strictness
from firedoor.shell.outflow import Outflow
from firedoor.types import RouteKind, Verdict, VerdictStatus

if TYPE_CHECKING:
    from firedoor.shell.call import Call

__all__ = ["Screens"]

_STAGES = {
    RouteKind.LLM: (Stage.INPUT, Stage.OUTPUT),
    RouteKind.RETRIEVAL: (Stage.INPUT, Stage.RETRIEVAL),
    RouteKind.TOOL: (Stage.TOOL_ARGUMENTS, Stage.TOOL_RESULT),
}
# Names a function's own parameters have that hold no content.
_NO_CONTENT = frozenset({"model", "timeout", "stream", "self", "cls"})
_THREADS = 8


class Screens:
    """The policies of one route.

    Raises:
        ConfigurationError: If a policy is for a stage that the route's kind never has.
    """

    def __init__(self, chain: Chain, kind: RouteKind, name: str) -> None:
        self.chain = chain
        self.inward, self.outward = _STAGES[kind]
        for policy in chain.policies:
            if policy.stages.isdisjoint((self.inward, self.outward)):
                raise ConfigurationError(
                    f"door.{kind}({name!r}): {policy.gate} looks at "
                    f"{', '.join(sorted(policy.stages))}, which a {kind} route never has: use "
                    f"on={str(self.inward)!r} or on={str(self.outward)!r}"
                )
        self._before, self._beside = chain.split(self.inward)
        self.looks_in = self._before.applies(self.inward)
        self.looks_beside = self._beside.applies(self.inward)
        self.overlapping = self._beside.gates(self.inward)
        self.looks_out = chain.applies(self.outward)
        self._pool: ThreadPoolExecutor | None = None

    def refuse_async(self, route: str) -> None:
        """A sync function cannot wait for async policies.

        Raises:
            ConfigurationError: If one of them is.
        """
        if self.chain.needs_async():
            slow = next(p.gate for p in self.chain.policies if p.is_async)
            raise ConfigurationError(
                f"{route} is a sync function and {slow} is an async policy: make the function "
                "async, or the policy sync"
            )

    @property
    def awaits(self) -> bool:
        """Whether one of the policies is async."""
        return self.chain.needs_async()

    def unseen(self, call: Call) -> None:
        """A block has no arguments that could be looked at."""
        if self.looks_in or self.looks_beside:
            self._skipped(call, self.chain, "what a block sends is not seen")

    def _skipped(self, call: Call, chain: Chain, why: str) -> None:
        call.judged(
            [
                Verdict(gate, VerdictStatus.SKIPPED, self.inward, why)
                for gate in chain.gates(self.inward)
            ]
        )

    # Before --------------------------------------------------------------------------------

    def enter(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the policies let them through.

        Raises:
            PolicyBlocked: If they do not; nothing was run.
        """
        if self.looks_in:
            try:
                value = self._before.screen_content(
                    _content(args, kwargs), self.inward, level(call), call.request
                )
            except BaseException as error:  # interrupted: policies' own errors are verdicts
                call.fail(error)
                raise
            args, kwargs = self._entered(call, value, args, kwargs)
        if self.looks_beside:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_THREADS, "firedoor-policy")
            call.beside = self._pool.submit(
                self._beside.screen_content,
                _content(args, kwargs),
                self.inward,
                level(call),
                call.request,
            )
        return args, kwargs

    async def aenter(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """As `enter`, for async functions."""
        if self.looks_in:
            try:
                value = await self._before.ascreen_content(
                    _content(args, kwargs), self.inward, level(call), call.request
                )
            except BaseException as error:  # cancelled
                call.fail(error)
                raise
            args, kwargs = self._entered(call, value, args, kwargs)
        if self.looks_beside:
            call.beside = asyncio.ensure_future(
                self._beside.ascreen_content(
                    _content(args, kwargs), self.inward, level(call), call.request
                )
            )
        return args, kwargs

    def _entered(
        self,
        call: Call,
        screening: ContentScreening,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        call.judged(screening.verdicts)
        if screening.blocked_by is not None:
            denied = blocked(screening, ran=False)
            call.fail(denied)
            raise denied
        values = list(screening.value)
        named = [name for name in kwargs if name not in _NO_CONTENT]
        return (
            tuple(values[: len(args)]),
            {**kwargs, **dict(zip(named, values[len(args) :], strict=True))},
        )

    # Beside --------------------------------------------------------------------------------

    def join(self, call: Call) -> None:
        """Wait for the policies that ran beside the call.

        Raises:
            PolicyBlocked: If one of them refused the input; the call had run.
        """
        if isinstance(call.beside, Future):
            self._joined(call, call.beside.result())

    async def ajoin(self, call: Call) -> None:
        """As `join`, for whatever is awaited."""
        if isinstance(call.beside, asyncio.Future):
            self._joined(call, await call.beside)
        elif isinstance(call.beside, Future):  # a plain function gave what is awaited here
            self._joined(call, await asyncio.wrap_future(call.beside))

    def _joined(self, call: Call, screening: ContentScreening) -> None:
        call.beside = None
        call.judged(screening.verdicts)
        if screening.blocked_by is not None:
            raise blocked(screening, ran=True)

    def drop(self, call: Call) -> None:
        """The call has ended before the policies beside it: nobody waits for them any more."""
        beside, call.beside = call.beside, None
        if beside.done() and not beside.cancelled():
            call.judged(beside.result().verdicts)
            return
        if isinstance(beside, asyncio.Future):
            # A stream may be ended by another thread than the loop's.
            beside.get_loop().call_soon_threadsafe(beside.cancel)
        else:
            beside.cancel()
        self._skipped(call, self._beside, "the call had ended")

    # After ---------------------------------------------------------------------------------

    def leave(self, call: Call, result: Any) -> Any:
        """The result as the policies let it through.

        Raises:
            PolicyBlocked: If they do not; it was paid for.
        """
        self.join(call)
        if not self.looks_out:
            return result
        return self._left(
            call, self.chain.screen_content(result, self.outward, level(call), call.request)
        )

    async def aleave(self, call: Call, result: Any) -> Any:
        """As `leave`, for async functions."""
        await self.ajoin(call)
        if not self.looks_out:
            return result
        return self._left(
            call, await self.chain.ascreen_content(result, self.outward, level(call), call.request)
        )

    def _left(self, call: Call, screening: ContentScreening) -> Any:
        call.judged(screening.verdicts)
        if screening.blocked_by is not None:
            raise blocked(screening, ran=True)
        return screening.value

    def outflow(self, call: Call) -> Outflow | None:
        """The filter of a stream; None if nothing that comes out has to wait for a policy."""
        if not self.looks_out and not self.looks_beside:
            return None
        return Outflow(self.chain, self.outward, level(call), call.request)


def level(call: Call) -> Strictness | str:
    """The strictness the call began with."""
    switched = call.switched
    return (switched.strictness if switched is not None else None) or Strictness.NORMAL


def blocked(screening: Any, *, ran: bool) -> PolicyBlocked:
    """The exception of a screening that refused."""
    return PolicyBlocked(screening.explain(), gate=str(screening.blocked_by), ran=ran)


def _content(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    return [*args, *(value for name, value in kwargs.items() if name not in _NO_CONTENT)]
