"""A loopback HTTP proxy that can be told to fail the way providers fail.

It stands between the real client and the endpoint. Healthy requests pass unchanged, streams event
by event as they come. Faults are told in the process through `board`, or by any process over HTTP:

    GET    /_drill/faults         what is in force, and how many requests each fault has struck
    POST   /_drill/faults         put one in force: the fields of `Fault` as JSON
    DELETE /_drill/faults[/ID]    take one off the board, or all

It uses the standard library only: an asynchronous server would hide the sockets that the faults
break, and would make the drill heavier than what it shows.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from firedoor.drill.faults import Fault, FaultBoard, FaultKind, Injection
from firedoor.drill.loopback import LoopbackHandler, LoopbackServer
from firedoor.drill.wire import Reply, count_tokens, error_body, piece_of, read_events, saying
from firedoor.errors import ConfigurationError

__all__ = ["ROUTE_HEADER", "Exchange", "FaultProxy"]

ROUTE_HEADER = "x-drill-route"
"""The request header by which a client says which of its routes is asking."""

CONTROL_PATH = "/_drill/faults"
UPSTREAM_TIMEOUT = 120.0
"""Seconds of silence after which the endpoint itself is given up."""

EXCHANGES_KEPT = 10_000

# Hop by hop (RFC 9110, section 7.6.1), or decided anew for the other side. Compression is not
# asked for: a stream has to be read to be struck.
_NOT_PASSED_ON = re.compile(
    "accept-encoding|connection|content-length|date|host|keep-alive|proxy-.*|server|te|trailer|"
    "transfer-encoding|upgrade",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that passed the proxy.

    Attributes:
        route: The client's route.
        model: The model asked for.
        fault: What struck it; None for a healthy one.
    """

    route: str
    model: str
    fault: FaultKind | None


class FaultProxy(LoopbackServer):
    """Passes `base_url` on to an OpenAI-compatible endpoint, failing as its board says.

    Args:
        upstream: The endpoint's base URL, `/v1` included where it has one.
        seed: Of the generator that draws which requests a fault with a `share` strikes.
        deployments: Further names for models of the endpoint, each the model's own name by it. A
            fault can strike one deployment and leave the other.

    Attributes:
        board: The faults in force.
        exchanges: The last requests, oldest first.
    """

    def __init__(
        self,
        upstream: str,
        *,
        seed: int = 0,
        deployments: Mapping[str, str] | None = None,
        remember: bool = False,
    ) -> None:
        parts = urlsplit(upstream)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"base URL {upstream!r} is not one: write http(s)://host[:port]/path, "
                "as in http://127.0.0.1:8080/v1"
            )
        self.board = FaultBoard(seed)
        self.exchanges: deque[Exchange] = deque(maxlen=EXCHANGES_KEPT)
        self.upstream = parts
        self.deployments = dict(deployments or {})
        self.remembered: dict[bytes, tuple[bytes, dict[str, str]]] | None = {} if remember else None
        super().__init__(_Handler)

    def connect(self) -> http.client.HTTPConnection:
        """A fresh connection to the endpoint."""
        kind = (
            http.client.HTTPSConnection
            if self.upstream.scheme == "https"
            else http.client.HTTPConnection
        )
        return kind(self.upstream.hostname or "", self.upstream.port, timeout=UPSTREAM_TIMEOUT)

    def close(self) -> None:
        """Stop, ending every stall and every open connection. Idempotent."""
        self.board.clear()
        super().close()


class _Dropped(Exception):
    """The connection is to break here."""


class _Handler(LoopbackHandler):
    server: FaultProxy

    def do_GET(self) -> None:  # noqa: N802 - the name http.server calls
        if self.path == CONTROL_PATH:
            self.send_json(200, [_shown(one) for one in self.server.board.active()])
        else:
            self._proxy(b"")

    def do_POST(self) -> None:  # noqa: N802 - the name http.server calls
        body = self.read_body()
        if self.path == CONTROL_PATH:
            self._inject(body)
        else:
            self._proxy(body)

    def do_DELETE(self) -> None:  # noqa: N802 - the name http.server calls
        told = re.fullmatch(f"{CONTROL_PATH}(?:/([0-9]+))?", self.path)
        if told is None:
            self.send_json(404, {"error": f"no route {self.path}"})
        else:
            number = int(told[1]) if told[1] else None
            self.send_json(200, {"cleared": self.server.board.clear(number)})

    def _inject(self, body: bytes) -> None:
        # A browser's page may post forms to the loopback unasked, but not this content type.
        if self.headers.get_content_type() != "application/json":
            self.send_json(415, {"error": "say Content-Type: application/json"})
            return
        try:
            fields = json.loads(body)
            if not isinstance(fields, dict):
                raise ConfigurationError('a fault is a JSON object, as in {"kind": "cut"}')
            injection = self.server.board.inject(Fault(**fields))
        except ValueError as error:  # ConfigurationError is one too
            self.send_json(422, {"error": str(error)})
        else:
            self.send_json(201, _shown(injection))

    def _proxy(self, body: bytes) -> None:
        request = _parsed(body)
        route = self.headers.get(ROUTE_HEADER, "")
        model = str(request.get("model", ""))
        injection = self.server.board.strike(route=route, model=model)
        fault = injection.fault.kind if injection else None
        self.server.exchanges.append(Exchange(route, model, fault))
        if model in self.server.deployments:
            body = json.dumps({**request, "model": self.server.deployments[model]}).encode()
        try:
            self._answer(body, request, injection)
        except _Dropped:
            self.break_connection()

    def _answer(self, body: bytes, request: dict[str, Any], injection: Injection | None) -> None:
        if injection is None:
            self._forward(body, None)
            return
        fault = injection.fault
        match fault.kind:
            case FaultKind.ERROR:
                self.send_json(fault.status, error_body(fault.text, "server_error"))
            case FaultKind.RATE_LIMIT:
                self.send_json(
                    429,
                    error_body(fault.text, "rate_limit_error", "rate_limit_exceeded"),
                    {"Retry-After": str(fault.retry_after)},
                )
            case FaultKind.REFUSAL | FaultKind.WRONG_ANSWER:
                self._say(_instead(fault, body, request), request)
            case FaultKind.STALL:
                injection.stall()
                self._forward(body, None)
            case _:
                self._forward(body, injection)

    def _say(self, reply: Reply, request: dict[str, Any]) -> None:
        if request.get("stream"):
            include_usage = bool((request.get("stream_options") or {}).get("include_usage"))
            self.begin_chunked(200, {"Content-Type": "text/event-stream"})
            for each in reply.events(include_usage=include_usage):
                self.write_chunk(each)
            self.end_chunked()
        else:
            self.send_json(200, reply.body())

    def _forward(self, body: bytes, injection: Injection | None) -> None:
        known = (self.server.remembered or {}).get(body)
        if known is not None:
            self._finish(200, *known, injection)
            return
        with contextlib.closing(self.server.connect()) as upstream:
            try:
                upstream.request(
                    self.command, self._upstream_path(), body, _passed_on(self.headers)
                )
                response = upstream.getresponse()
            except (OSError, http.client.HTTPException) as error:
                self.send_json(502, error_body(f"the endpoint did not answer: {error!r}", "proxy"))
                return
            if response.headers.get_content_type() == "text/event-stream":
                self._stream(response, injection)
            else:
                self._whole(body, response, injection)

    def _upstream_path(self) -> str:
        return self.server.upstream.path.rstrip("/") + self.path.removeprefix("/v1")

    def _stream(self, response: http.client.HTTPResponse, injection: Injection | None) -> None:
        events = read_events(response)
        self.begin_chunked(response.status, _passed_on(response.headers))
        for each in _struck(events, injection) if injection else events:
            self.write_chunk(each)
        self.end_chunked()

    def _whole(
        self, asked: bytes, response: http.client.HTTPResponse, injection: Injection | None
    ) -> None:
        body, headers = response.read(), _passed_on(response.headers)
        if self.server.remembered is not None and asked and response.status == 200:
            self.server.remembered[asked] = (body, headers)
        self._finish(response.status, body, headers, injection)

    def _finish(
        self, status: int, body: bytes, headers: dict[str, str], injection: Injection | None
    ) -> None:
        match injection and injection.fault.kind:
            case FaultKind.STALL_INSIDE if injection:
                injection.stall()
            case FaultKind.MALFORMED:
                body = body[: len(body) // 2]
            case FaultKind.LEAK if injection:
                body = _leaking(body, injection.fault.text)
            case FaultKind.CUT | FaultKind.DROP:
                self.begin_chunked(status, headers)
                self.write_chunk(body[: len(body) // 2])
                raise _Dropped
        self.send_body(status, body, headers)


def _struck(events: Iterator[bytes], injection: Injection) -> Iterator[bytes]:
    """`events` with the fault acting once `after` pieces of content are out, or before the end."""
    fault, pieces, struck = injection.fault, 0, False
    for each in events:
        text, finishes = piece_of(each)
        if not struck and (pieces >= fault.after or finishes):
            struck = True
            match fault.kind:
                case FaultKind.STALL_INSIDE:
                    injection.stall()
                case FaultKind.CUT:
                    return
                case FaultKind.DROP:
                    raise _Dropped
                case FaultKind.MALFORMED:
                    yield each[: len(each) // 2] + b"\n\n"
                    continue
                case FaultKind.LEAK:
                    yield saying(each, f" {fault.text}")
        yield each
        pieces += bool(text)


def _instead(fault: Fault, body: bytes, request: dict[str, Any]) -> Reply:
    refuses = fault.kind is FaultKind.REFUSAL
    return Reply(
        text=None if refuses else fault.text,
        refusal=fault.text if refuses else None,
        model=str(request.get("model", "")),
        prompt_tokens=count_tokens(body.decode(errors="replace")),
    )


def _leaking(body: bytes, text: str) -> bytes:
    completion = _parsed(body)
    for choice in completion.get("choices", ()):
        choice["message"]["content"] = f"{choice['message'].get('content') or ''} {text}"
    return json.dumps(completion).encode()


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _passed_on(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if not _NOT_PASSED_ON.fullmatch(name)}


def _shown(injection: Injection) -> dict[str, Any]:
    return {"id": injection.id, "struck": injection.struck, **asdict(injection.fault)}
