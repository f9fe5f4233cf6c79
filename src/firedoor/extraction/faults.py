"""Whose fault an exception is, what it is called, and whether trying again can help.

Read from classes' names and modules, HTTP statuses and providers' error codes; nothing of `openai`,
`anthropic` or `httpx` is imported. The order of the questions is the order of the functions called
in `attribute`.

| what was raised | fault |
|---|---|
| a denial of firedoor's, also as the cause of a client's connection error | policy |
| status 408, 409, 425, 429, 5xx (529 too) | target |
| status 429 with `insufficient_quota` or another billing code | caller |
| any other status of 4xx | caller |
| an error inside a stream, by its type: `overloaded_error`, `server_error`, … | target |
| the same with `invalid_request_error`, `authentication_error`, … | caller |
| a connection, a time-out, a broken body: of the SDKs, or bare from httpx, h11, ssl, sockets | target |
| a request that could not be sent: bad URL, illegal header, own connection pool full | caller |
| a body that is no JSON, inside a stream or inside a provider's SDK | target |
| the provider's content filter, as an exception of the SDK | policy |
| several at once, as an `ExceptionGroup` | target if each is the target's |
| everything else: bugs, bad arguments, `OSError` of files | caller |

`insufficient_quota` is the caller's: the account is empty, the provider is well, and a breaker
shared by every key would be wrong to open. Waiting does not help either, so it is not retryable;
another tier may well answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from firedoor.errors import ConfigurationError, Denied, FiredoorError
from firedoor.extraction.fields import field, path, text
from firedoor.extraction.retry_after import retry_after
from firedoor.types import Fault

__all__ = [
    "adds_nothing",
    "attribute",
    "error_type",
    "fault_of_code",
    "is_context_overflow",
    "is_plain",
    "is_retryable",
    "retry_after",
    "was_rejected",
]

_SDKS = frozenset({"openai", "anthropic", "mistralai", "groq", "cohere", "together", "google",
                   "botocore", "ibm_watsonx_ai", "xai_sdk"})  # fmt: skip
_TRANSPORTS = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "h11", "h2", "requests",
                         "urllib3", "aiohttp", "anyio", "websockets", "grpc"})  # fmt: skip
# Their exceptions carry the status the application is about to answer with.
_FRAMEWORKS = frozenset({"starlette", "fastapi", "django", "werkzeug", "flask", "aiohttp.web",
                         "litestar", "sanic", "tornado"})  # fmt: skip
_UNSENT = frozenset({"UnsupportedProtocol", "InvalidURL", "LocalProtocolError", "CookieConflict",
                     "PoolTimeout", "StreamConsumed", "StreamClosed", "ResponseNotRead",
                     "RequestNotRead", "InvalidSchema", "MissingSchema",
                     "InvalidHeader"})  # fmt: skip
_BILLING = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active",
                      "billing_error", "quota_exceeded", "access_terminated"})  # fmt: skip
_CALLERS_TYPES = frozenset({"invalid_request_error", "authentication_error", "permission_error",
                            "not_found_error", "request_too_large", "invalid_prompt",
                            "context_length_exceeded", "invalid_api_key",
                            "model_not_found"}) | _BILLING  # fmt: skip
# Bodies that could not be read: whose fault that is depends on who was reading.
_UNREADABLE = frozenset({"JSONDecodeError", "UnicodeDecodeError"})
# What is read of an exception; a class that has one of these speaks for itself.
_TELLING = ("status_code", "response", "status", "http_status", "code", "error_code", "body",
            "type", "headers", "message", "__getattr__")  # fmt: skip
_RETRYABLE_STATUS = frozenset({408, 409, 425, 429})
_OVERFLOW = re.compile(
    r"context[ _-](?:length|window|size)|maximum context|prompt is too long|too many tokens"
    r"|input is too long|exceeds? the (?:model'?s )?(?:maximum|max|available) (?:\w+ )?(?:context|tokens)"
    r"|input length and `?max_tokens`? exceed",
    re.IGNORECASE,
)
_OVERFLOW_CODES = frozenset({"context_length_exceeded", "string_above_max_length",
                             "exceed_context_size_error", "request_too_large"})  # fmt: skip
_CODE = re.compile(r"[a-z]+(?:[_.-][a-z0-9]+)*")
_LONGEST_CODE = 48
# OpenAI's types of a 429: which limit was hit, not what went wrong.
_NO_NAMES = frozenset({"error", "requests", "tokens", "none", "null"})


def attribute(error: BaseException, *, streaming: bool = False) -> Fault:
    """Whose fault `error` is.

    Args:
        error: What left the guarded function or its stream.
        streaming: It left while a stream of a model was read: text that cannot be decoded is
            then the provider's.
    """
    kind = _kind_of(type(error))
    if not is_plain(error):
        return _fault_of(error, kind, streaming=streaming)
    if kind.fault is None:
        kind.fault = _fault_of(error, kind, streaming=streaming)
    return kind.fault


def is_plain(error: BaseException) -> bool:
    """Whether the class of `error` says all that can be read of it.

    `attribute` and `error_type` answer the same for every such error of the class.
    """
    return _kind_of(type(error)).silent and adds_nothing(error)


def adds_nothing(error: BaseException) -> bool:
    """Whether `error` holds nothing of its own, and was raised for no other."""
    return not error.__dict__ and error.__cause__ is None and error.__context__ is None


def _fault_of(error: BaseException, kind: _Kind, *, streaming: bool) -> Fault:
    if isinstance(error, FiredoorError):
        if isinstance(error, Denied):
            return Fault.POLICY
        return Fault.CALLER if isinstance(error, ConfigurationError) else Fault.FIREDOOR
    if isinstance(error, BaseExceptionGroup):
        return _fault_of_group(error, streaming=streaming)
    roots, names = kind.roots, kind.names
    if roots & _FRAMEWORKS:
        return Fault.CALLER
    if any(isinstance(cause, Denied) for cause in _causes(error)):
        return Fault.POLICY
    status = _status(error)
    if status is not None and status >= 400:
        return _fault_of_status(status, error)
    if roots & _SDKS:
        return _fault_of_sdk(names, error)
    if roots & _TRANSPORTS:
        return Fault.CALLER if names & _UNSENT else Fault.TARGET
    if _is_network(error, names):
        return Fault.TARGET
    if names & _UNREADABLE and (streaming or _inside_sdk(error)):
        return Fault.TARGET
    return Fault.CALLER


def _fault_of_group(group: BaseExceptionGroup[Any], *, streaming: bool) -> Fault:
    """Of several at once, as task groups raise them: the target's only where it is of each."""
    faults = {attribute(error, streaming=streaming) for error in group.exceptions}
    for fault in (Fault.CALLER, Fault.FIREDOOR, Fault.POLICY):
        if fault in faults:
            return fault
    return Fault.TARGET


def _fault_of_status(status: int, error: BaseException) -> Fault:
    if status >= 500:
        return Fault.TARGET
    if status in _RETRYABLE_STATUS:
        return Fault.CALLER if not _BILLING.isdisjoint(_codes(error)) else Fault.TARGET
    return Fault.CALLER


def _fault_of_sdk(names: frozenset[str], error: BaseException) -> Fault:
    if "APIConnectionError" in names:
        unsent = any(
            not _UNSENT.isdisjoint(_kind_of(type(cause)).names) for cause in _causes(error)
        )
        return Fault.CALLER if unsent else Fault.TARGET
    if "ContentFilterFinishReasonError" in names:
        return Fault.POLICY
    if names & {"APIError", "RetryableError"}:
        return Fault.CALLER if not _CALLERS_TYPES.isdisjoint(_codes(error)) else Fault.TARGET
    return Fault.CALLER


def fault_of_code(code: str) -> Fault:
    """Whose fault an error is that came as an event of a stream (`StreamReader.error`)."""
    return Fault.CALLER if code in _CALLERS_TYPES else Fault.TARGET


def error_type(error: BaseException) -> str:
    """A name for `error` of which there are few: for span attributes and grouping.

    The provider's own code (`rate_limit_exceeded`, `overloaded_error`), else the HTTP status
    (`503`), else the class: bare for built-in ones, with the package for libraries
    (`openai.APITimeoutError`), with the module for the application's.
    """
    kind = type(error)
    if isinstance(error, FiredoorError) and kind.__module__.startswith("firedoor."):
        return f"firedoor.{kind.__name__}"
    if kind.__module__ == "builtins":
        return kind.__name__
    known = _kind_of(kind)
    if not known.roots & _FRAMEWORKS and not is_plain(error):
        for code in _codes(error):
            if code not in _NO_NAMES:
                return code
        status = _status(error)
        if status is not None and status >= 400:
            return str(status)
    root = kind.__module__.partition(".")[0]
    if root in _SDKS or root in _TRANSPORTS or root in ("json", "asyncio", "concurrent", "ssl"):
        return f"{root}.{kind.__name__}"
    return f"{kind.__module__}.{kind.__qualname__}".replace("<locals>.", "")


def is_context_overflow(error: BaseException) -> bool:
    """Whether the request was refused because it does not fit the model's context window."""
    if not _OVERFLOW_CODES.isdisjoint(_codes(error)):
        return True
    if _status(error) not in (400, 413, 422):
        return False
    said = text(field(error, "message")) or text(path(error, "body", "message"))
    try:
        return _OVERFLOW.search(said if said is not None else str(error)) is not None
    except Exception:
        return False


def was_rejected(error: BaseException) -> bool:
    """Whether the provider answered with an error status: it did nothing that it bills."""
    found = _status(error)
    return found is not None and found >= 400


def is_retryable(error: BaseException) -> bool:
    """Whether the same request may succeed on the same model a little later.

    True for faults of the target, unless the provider says `x-should-retry: false`.
    """
    if attribute(error, streaming=True) is not Fault.TARGET:
        return False
    headers = path(error, "response", "headers")
    try:
        return headers is None or headers.get("x-should-retry") != "false"
    except Exception:
        return True


class _Kind:
    """What the class of an exception says of every one of them, found out once.

    Attributes:
        roots: The packages of the class and its ancestors.
        names: Their names; the built-in roots are left out of both.
        silent: An instance that holds nothing of its own has nothing to add.
        fault: Whose fault such an instance is, once the question has come up.
    """

    __slots__ = ("fault", "names", "roots", "silent")

    def __init__(self, kind: type[BaseException]) -> None:
        line = [k for k in kind.__mro__ if k not in (object, BaseException, Exception)]
        self.roots = frozenset([k.__module__.partition(".")[0] for k in line])
        self.names = frozenset([k.__name__ for k in line])
        self.silent = not (
            any(hasattr(kind, name) for name in _TELLING) or self.names & _UNREADABLE
        )
        self.fault: Fault | None = None


_kinds: dict[type[BaseException], _Kind] = {}
_KINDS_KEPT = 512


def _kind_of(kind: type[BaseException]) -> _Kind:
    found = _kinds.get(kind)
    if found is None:
        if len(_kinds) >= _KINDS_KEPT:  # classes made at run time must not pile up
            _kinds.clear()
        found = _kinds[kind] = _Kind(kind)
    return found


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}
    cause = error.__cause__ or error.__context__
    while cause is not None and id(cause) not in seen and len(seen) < 20:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__


def _status(error: BaseException) -> int | None:
    for found in (
        field(error, "status_code"),
        path(error, "response", "status_code"),
        field(error, "status"),
        field(error, "http_status"),
        field(error, "code"),
        _botocore_status(error),
    ):
        if type(found) is int and 100 <= found <= 599:
            return found
    return None


def _botocore_status(error: BaseException) -> Any:
    answer = field(error, "response")
    return path(answer, "ResponseMetadata", "HTTPStatusCode") if type(answer) is dict else None


def _codes(error: BaseException) -> list[str]:
    """The provider's own words for the error, most specific first."""
    body = field(error, "body")
    inner = field(body, "error") if type(body) is dict else None
    answer = field(error, "response")
    found = (
        field(error, "code"),
        field(error, "error_code"),
        field(inner, "code"),
        field(error, "type"),
        field(inner, "type"),
        path(answer, "Error", "Code") if type(answer) is dict else None,
    )
    return [
        code
        for code in found
        if type(code) is str and len(code) <= _LONGEST_CODE and _CODE.fullmatch(code)
    ]


def _is_network(error: BaseException, names: frozenset[str]) -> bool:
    return isinstance(error, ConnectionError | TimeoutError) or bool(
        names & {"SSLError", "gaierror", "herror", "IncompleteRead", "HTTPException"}
    )


def _inside_sdk(error: BaseException) -> bool:
    """Whether the exception passed through code of a provider's SDK or an HTTP client."""
    frame = error.__traceback__
    steps = 0
    while frame is not None and steps < 200:
        module = frame.tb_frame.f_globals.get("__name__")
        if type(module) is str and module.partition(".")[0] in (_SDKS | _TRANSPORTS):
            return True
        frame = frame.tb_next
        steps += 1
    return False
