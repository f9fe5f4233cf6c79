"""Policies made of an application's own functions."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from firedoor.config import declarative, is_async
from firedoor.errors import ConfigurationError
from firedoor.policies.base import Action, Context, Policy, Stage, Strictness
from firedoor.types import Verdict, VerdictStatus

__all__ = ["Answer", "Function", "policy"]

Answer: TypeAlias = Verdict | bool | str | None
"""What a policy function may return.

* a `Verdict`: taken as it is, whatever the policy's `action`; its gate and stage are filled in.
  One that is `redacted` must have a `replacement`.
* None or True: the text is all right.
* False: it is not; the policy's `action` says what follows.
* a string: use this instead. The same text means that it is all right.
"""

PolicyFunction: TypeAlias = Callable[..., Answer | Awaitable[Answer]]


@declarative
class Function(Policy):
    """A function as a policy; it stays callable as the function it was.

    It judges a text as a whole, so on a stream of output the text is held until its end.

    Attributes:
        function: From the text, or from the text and a `Context`, to an `Answer`; sync or async.
        replacement: The text that `action="replace"` (or `redact`) puts in the place of one that
            the function answered False to.
    """

    kind: ClassVar[str] = "function"

    function: PolicyFunction
    replacement: str = Field(default="", kw_only=True)

    def check(self) -> None:
        """The function can be called with a text, or a text and a context."""
        super().check()
        if self.name is None:
            object.__setattr__(self, "name", getattr(self.function, "__name__", self.kind))
        object.__setattr__(self, "is_async", is_async(self.function))
        object.__setattr__(self, "_takes_context", _parameters(self.function) > 1)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself, as undecorated."""
        return self.function(*args, **kwargs)

    def judge(self, text: str, context: Context) -> Verdict | None:
        """The function's answer as a verdict."""
        answer = self._ask(text, context)
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            raise TypeError("a policy function that is not declared async returned an awaitable")
        return self._verdict(answer, text, context)

    async def ajudge(self, text: str, context: Context) -> Verdict | None:
        """As `judge`, awaited."""
        answer = self._ask(text, context)
        if inspect.isawaitable(answer):
            answer = await answer
        return self._verdict(answer, text, context)

    def _ask(self, text: str, context: Context) -> Any:
        return self.function(text, context) if self._takes_context else self.function(text)  # type: ignore[attr-defined]

    def _verdict(self, answer: Any, text: str, context: Context) -> Verdict | None:
        if answer is None or answer is True:
            return None
        if answer is False:
            return self.verdict(
                context, reason="the function said no", replacement=self.replacement
            )
        if isinstance(answer, str):
            if answer == text:
                return None
            return Verdict(
                self.gate, VerdictStatus.REDACTED, stage=context.stage, replacement=answer
            )
        if isinstance(answer, Verdict):
            status = VerdictStatus(answer.status)
            if status is VerdictStatus.REDACTED and answer.replacement is None:
                raise TypeError("a policy function redacted without a replacement")
            return replace(answer, gate=self.gate, stage=context.stage, status=status)
        raise TypeError(f"a policy function returned {type(answer).__name__}")


def policy(
    *,
    on: Stage | str | tuple[Stage | str, ...],
    action: Action | str = Action.BLOCK,
    name: str | None = None,
    on_error: Literal["block", "flag", "allow"] | None = None,
    timeout: float | None = None,
    shadow: bool = False,
    level: Strictness | str = Strictness.NORMAL,
    strict_action: Action | str | None = None,
    overlap: bool = False,
    reads: Literal["current", "raw"] = "current",
    replacement: str = "",
) -> Callable[[PolicyFunction], Function]:
    """A decorator that makes a policy of a function; the keywords are those of `Policy`.

    ::

        @door.policy(on="input")
        def no_orders_of_others(text: str) -> bool:
            return "order of" not in text

    Raises:
        ConfigurationError: If a keyword cannot work, or the function takes no text.
    """
    options: dict[str, Any] = {
        "on": on,
        "action": action,
        "name": name,
        "on_error": on_error,
        "timeout": timeout,
        "shadow": shadow,
        "level": level,
        "strict_action": strict_action,
        "overlap": overlap,
        "reads": reads,
        "replacement": replacement,
    }
    return lambda function: Function(function, **options)


def _parameters(function: Any) -> int:
    """How many arguments may be given by position; a callable that does not tell takes the text."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return 1
    positional = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    required = [parameter for parameter in positional if parameter.default is parameter.empty]
    try:
        signature.bind(*([""] * min(2, max(1, len(required)))))
    except TypeError as error:
        name = getattr(function, "__name__", repr(function))
        raise ConfigurationError(
            f"policy function {name}{signature} cannot be called with a text, or a text and a context: {error}"
        ) from None
    return max(1, len(required))
