"""A model provider on the loopback interface, for the real `openai` and `anthropic` clients.

It speaks the wire formats of OpenAI's Chat Completions, Responses and Embeddings and of Anthropic's
Messages, as JSON and as server-sent events, and says and breaks what a test tells it to:

    provider.script(Reply("Hello"), Failure(429, retry_after=3))     # in this order, then default
    provider.on("gpt-5", Failure(503))                               # for one model, always the last
    provider.script(Reply("One two three", after=2, then="cut"))     # a stream that dies

Nothing sleeps: stalls wait for an event the test holds (`Reply(then="stall", gate=event)`).
"""

import json
import re
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

__all__ = ["Failure", "ProviderServer", "Received", "Reply", "Tokens", "ToolUse"]

_PATIENCE = 30.0
"""Seconds a stall lasts at the most, so that a failed test does not hang the run."""

_PIECE = re.compile(r"\s*\S+\s*$|\s*\S+")


@dataclass(frozen=True)
class Tokens:
    """What the provider says it counted. `output` None: one for each piece of text."""

    input: int = 12
    output: int | None = None
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class ToolUse:
    """A tool call of the model; streamed arguments come in fragments of `fragment` characters."""

    name: str
    arguments: str = "{}"
    id: str = "call_1"
    fragment: int = 4


@dataclass(frozen=True)
class Reply:
    """One answer.

    Attributes:
        text: What the model says; streamed in pieces of a word each, or as `pieces`.
        finish: OpenAI's word for how it ended; Anthropic's is made from it. None: it never says.
        usage: None: none is reported.
        then: What happens to a stream after `after` pieces: `cut` closes the connection without
            the end of the body, `reset` resets it, `end` ends the body properly but early,
            `malformed` sends a chunk that is no JSON, `error` an error event and the end,
            `stall` waits for `gate` and goes on.
        hold: Waited for before anything is sent, the status line included.
        error_type: Of the error event.
        thinking: Hidden reasoning sent ahead of the text (Anthropic and Responses).
    """

    text: str | None = "Hello there, friend."
    pieces: tuple[str, ...] | None = None
    tools: tuple[ToolUse, ...] = ()
    refusal: str | None = None
    finish: str | None = "stop"
    usage: Tokens | None = Tokens()
    model: str | None = None
    id: str = "resp-1"
    thinking: str | None = None
    after: int = 0
    then: Literal["cut", "reset", "end", "malformed", "error", "stall"] | None = None
    gate: threading.Event | None = None
    hold: threading.Event | None = None
    error_type: str = "overloaded_error"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def cut(self) -> tuple[str, ...]:
        """The pieces of the text."""
        if self.pieces is not None:
            return self.pieces
        return tuple(_PIECE.findall(self.text or ""))

    @property
    def said(self) -> str | None:
        """The whole text."""
        return "".join(self.pieces) if self.pieces is not None else self.text

    @property
    def output_tokens(self) -> int:
        """Tokens of the answer."""
        assert self.usage is not None
        if self.usage.output is not None:
            return self.usage.output
        return max(1, len(self.cut) + self.usage.reasoning)


_ERRORS = {
    400: ("invalid_request_error", "invalid_value", "invalid_request_error"),
    401: ("invalid_request_error", "invalid_api_key", "authentication_error"),
    402: ("invalid_request_error", "billing_not_active", "billing_error"),
    403: ("invalid_request_error", "unsupported_country", "permission_error"),
    404: ("invalid_request_error", "model_not_found", "not_found_error"),
    413: ("invalid_request_error", None, "request_too_large"),
    422: ("invalid_request_error", None, "invalid_request_error"),
    429: ("requests", "rate_limit_exceeded", "rate_limit_error"),
    500: ("server_error", None, "api_error"),
    503: ("server_error", None, "api_error"),
    529: ("server_error", None, "overloaded_error"),
}


@dataclass(frozen=True)
class Failure:
    """An HTTP error with the body the provider sends for that status.

    Attributes:
        code: OpenAI's `code` and Anthropic's `type`, instead of the usual ones.
        body: The whole body instead: text, or anything to be sent as JSON.
        retry_after: Seconds, or an HTTP date, for the `Retry-After` header.
    """

    status: int
    code: str | None = None
    message: str = "Something went wrong."
    retry_after: float | str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    hold: threading.Event | None = None

    def sent(self, path: str) -> Any:
        """The body for a request to `path`."""
        if self.body is not None:
            return self.body
        kind, code, anthropic = _ERRORS.get(self.status, ("api_error", None, "api_error"))
        if path.endswith("/messages"):
            error = {"type": self.code or anthropic, "message": self.message}
            return {"type": "error", "error": error, "request_id": "req_1"}
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": None,
                "code": self.code or code,
            }
        }


@dataclass(frozen=True)
class Received:
    """A request the provider saw. Header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def model(self) -> str:
        return self.body.get("model", "")

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))


class ProviderServer:
    """The server: started at once, used as a context manager or closed with `close`."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self._lock = threading.Lock()
        self._script: deque[Reply | Failure] = deque()
        self._models: dict[str, deque[Reply | Failure]] = {}
        self.default: Reply | Failure = Reply()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.provider = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def script(self, *answers: Reply | Failure) -> None:
        """Answer the next requests with these, in order; then with `default`."""
        with self._lock:
            self._script.extend(answers)

    def on(self, model: str, *answers: Reply | Failure) -> None:
        """Answer requests for `model` with these, in order; the last one stays."""
        with self._lock:
            self._models[model] = deque(answers)

    def reset(self) -> None:
        """Forget every script and every request seen."""
        with self._lock:
            self._script.clear()
            self._models.clear()
            self.requests.clear()
            self.default = Reply()

    def answer(self, received: Received) -> Reply | Failure:
        """The answer whose turn it is."""
        with self._lock:
            self.requests.append(received)
            queue = self._models.get(received.model)
            if queue:
                return queue.popleft() if len(queue) > 1 else queue[0]
            return self._script.popleft() if self._script else self.default

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    provider: ProviderServer

    def handle_error(self, request, client_address):
        """Clients of tests leave in the middle: that is not worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format, *args):
        pass

    def do_POST(self):
        length = int(self.headers.get("content-length") or 0)
        received = Received(
            self.path.partition("?")[0],
            {name.lower(): value for name, value in self.headers.items()},
            json.loads(self.rfile.read(length) or b"{}"),
        )
        answer = self.server.provider.answer(received)
        if answer.hold is not None:
            answer.hold.wait(_PATIENCE)
        wire = _WIRES.get(received.path)
        if wire is None:
            self._send(404, {"error": {"message": f"no {received.path} here"}})
        elif isinstance(answer, Failure):
            headers = dict(answer.headers)
            if answer.retry_after is not None:
                headers["Retry-After"] = str(answer.retry_after)
            self._send(answer.status, answer.sent(received.path), headers)
        elif received.stream:
            self._stream(answer, wire[1](answer, received))
        else:
            self._send(200, wire[0](answer, received), answer.headers)

    def _send(self, status, body, headers=None):
        text = body if isinstance(body, str) else json.dumps(body)
        data = text.encode()
        self.send_response(status)
        kind = "application/json" if not isinstance(body, str) else "text/plain"
        given = {"content-type": kind, "x-request-id": "req_1", "request-id": "req_1"}
        for name, value in {**given, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, reply, events):
        self.send_response(200)
        given = {"content-type": "text/event-stream", "x-request-id": "req_1"}
        for name, value in {**given, **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        pieces = 0
        pending = reply.then
        for is_piece, event in events:
            if pending is not None and is_piece and pieces >= reply.after:
                if not self._fault(reply, pending):
                    return
                pending = None
            pieces += is_piece
            self._chunk(event)
        if pending is not None and not self._fault(reply, pending):
            return
        self.wfile.write(b"0\r\n\r\n")

    def _fault(self, reply, then):
        """Do what a test asked for; whether the stream goes on."""
        if then == "stall":
            assert reply.gate is not None, "a stall needs Reply(gate=threading.Event())"
            reply.gate.wait(_PATIENCE)
            return True
        if then == "malformed":
            self._chunk(self._wire_error('{"choices": [{"delta": {"conte', raw=True))
            return True
        if then == "error":
            self._chunk(self._wire_error(reply.error_type, raw=False))
            self.wfile.write(b"0\r\n\r\n")
            return False
        if then == "end":
            self.wfile.write(b"0\r\n\r\n")
            return False
        self.close_connection = True
        if then == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        return False

    def _wire_error(self, what, *, raw):
        if self.path.startswith("/v1/messages"):
            if raw:
                return f"event: content_block_delta\ndata: {what}\n\n".encode()
            error = {"type": what, "message": "Overloaded"}
            return _named({"type": "error", "error": error})
        if raw:
            return f"data: {what}\n\n".encode()
        if self.path.startswith("/v1/responses"):
            return _named(
                {"type": "error", "code": what, "message": "Overloaded", "sequence_number": 9}
            )
        return _data({"error": {"message": "Overloaded", "type": what, "code": None}})

    def _chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


def _data(value):
    return f"data: {json.dumps(value)}\n\n".encode()


def _named(value):
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()


def _model(reply, received):
    return reply.model or received.model


def _fragments(tool):
    size = tool.fragment
    return [tool.arguments[i : i + size] for i in range(0, len(tool.arguments), size)]


# Chat Completions ----------------------------------------------------------------------------


def _chat_finish(reply):
    return "tool_calls" if reply.tools and reply.finish == "stop" else reply.finish


def _chat_usage(reply):
    used = reply.usage
    return {
        "prompt_tokens": used.input,
        "completion_tokens": reply.output_tokens,
        "total_tokens": used.input + reply.output_tokens,
        "prompt_tokens_details": {"cached_tokens": used.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning, "audio_tokens": 0},
    }


def _chat(reply, received):
    message = {"role": "assistant", "content": reply.said, "refusal": reply.refusal}
    if reply.refusal is not None:
        message["content"] = None
    if reply.tools:
        message["tool_calls"] = [
            {
                "id": tool.id,
                "type": "function",
                "function": {"name": tool.name, "arguments": tool.arguments},
            }
            for tool in reply.tools
        ]
    body = {
        "id": reply.id,
        "object": "chat.completion",
        "created": 1,
        "model": _model(reply, received),
        "choices": [
            {
                "index": index,
                "message": message,
                "logprobs": None,
                "finish_reason": _chat_finish(reply),
            }
            for index in range(received.body.get("n") or 1)
        ],
    }
    if reply.usage is not None:
        body["usage"] = _chat_usage(reply)
    return body


def _chat_stream(reply, received):
    choices = range(received.body.get("n") or 1)
    counted = (received.body.get("stream_options") or {}).get("include_usage")

    def chunk(delta, index=0, finish=None):
        body = {
            "id": reply.id,
            "object": "chat.completion.chunk",
            "created": 1,
            "model": _model(reply, received),
            "choices": [
                {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            ],
        }
        if counted:
            body["usage"] = None
        return _data(body)

    for index in choices:
        yield False, chunk({"role": "assistant", "content": ""}, index)
    refused = reply.refusal is not None
    pieces = _PIECE.findall(reply.refusal) if refused else reply.cut
    for piece in pieces:
        for index in choices:
            yield True, chunk({"refusal" if refused else "content": piece}, index)
    for place, tool in enumerate(reply.tools):
        head = {"name": tool.name, "arguments": ""}
        call = {"index": place, "id": tool.id, "type": "function", "function": head}
        yield True, chunk({"tool_calls": [call]})
        for fragment in _fragments(tool):
            call = {"index": place, "function": {"arguments": fragment}}
            yield True, chunk({"tool_calls": [call]})
    if reply.finish is not None:
        for index in choices:
            yield False, chunk({}, index, _chat_finish(reply))
    if counted and reply.usage is not None and reply.finish is not None:
        last = {
            "id": reply.id,
            "object": "chat.completion.chunk",
            "created": 1,
            "model": _model(reply, received),
            "choices": [],
            "usage": _chat_usage(reply),
        }
        yield False, _data(last)
    yield False, b"data: [DONE]\n\n"


# Responses -----------------------------------------------------------------------------------


def _response(reply, received, status=None, output=None):
    incomplete = {"length": "max_output_tokens", "content_filter": "content_filter"}
    why = incomplete.get(reply.finish)
    if status is None:
        status = {None: "in_progress", "error": "failed"}.get(
            reply.finish, "incomplete" if why else "completed"
        )
    ended = status not in ("in_progress", "queued")
    used = reply.usage if ended else None
    return {
        "id": reply.id,
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": _model(reply, received),
        "output": _output(reply) if output is None else output,
        "error": {"code": "server_error", "message": "failed"} if status == "failed" else None,
        "incomplete_details": {"reason": why} if why and ended else None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": used
        and {
            "input_tokens": used.input,
            "input_tokens_details": {
                "cached_tokens": used.cached,
                "cache_write_tokens": used.cache_write,
            },
            "output_tokens": reply.output_tokens,
            "output_tokens_details": {"reasoning_tokens": used.reasoning},
            "total_tokens": used.input + reply.output_tokens,
        },
    }


def _part(reply):
    if reply.refusal is not None:
        return {"type": "refusal", "refusal": reply.refusal}
    return {"type": "output_text", "text": reply.said, "annotations": [], "logprobs": []}


def _output(reply):
    output = []
    if reply.thinking is not None:
        summary = [{"type": "summary_text", "text": reply.thinking}]
        output.append({"id": "rs_1", "type": "reasoning", "summary": summary})
    if reply.said is not None or reply.refusal is not None:
        output.append(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [_part(reply)],
            }
        )
    output.extend(_function_item(tool) for tool in reply.tools)
    return output


def _function_item(tool, arguments=None):
    return {
        "id": f"fc_{tool.id}",
        "type": "function_call",
        "status": "completed",
        "call_id": tool.id,
        "name": tool.name,
        "arguments": tool.arguments if arguments is None else arguments,
    }


def _response_stream(reply, received):
    number = iter(range(1_000_000))

    def event(kind, **fields):
        return _named({"type": kind, "sequence_number": next(number), **fields})

    begun = _response(reply, received, "in_progress", output=[])
    yield False, event("response.created", response=begun)
    yield False, event("response.in_progress", response=begun)
    place = 0
    for item in _output(reply):
        if item["type"] == "reasoning":
            yield False, event("response.output_item.added", output_index=place, item=item)
            at = {"item_id": item["id"], "output_index": place, "summary_index": 0}
            yield False, event("response.reasoning_summary_text.delta", delta=reply.thinking, **at)
            yield False, event("response.output_item.done", output_index=place, item=item)
        elif item["type"] == "message":
            yield from _message_item(reply, item, place, event)
        else:
            tool = reply.tools[place - (len(_output(reply)) - len(reply.tools))]
            yield (
                True,
                event(
                    "response.output_item.added", output_index=place, item=_function_item(tool, "")
                ),
            )
            at = {"item_id": item["id"], "output_index": place}
            for fragment in _fragments(tool):
                yield True, event("response.function_call_arguments.delta", delta=fragment, **at)
            yield (
                False,
                event(
                    "response.function_call_arguments.done",
                    arguments=tool.arguments,
                    name=tool.name,
                    **at,
                ),
            )
            yield False, event("response.output_item.done", output_index=place, item=item)
        place += 1
    if reply.finish is not None:
        done = _response(reply, received)
        yield False, event(f"response.{done['status']}", response=done)


def _message_item(reply, item, place, event):
    refused = reply.refusal is not None
    empty = {**_part(reply), "refusal" if refused else "text": ""}
    at = {"item_id": item["id"], "output_index": place, "content_index": 0}
    more = {} if refused else {"logprobs": []}
    kind = "refusal" if refused else "output_text"
    opened = {**item, "content": [], "status": "in_progress"}
    yield False, event("response.output_item.added", output_index=place, item=opened)
    yield False, event("response.content_part.added", part=empty, **at)
    for piece in _PIECE.findall(reply.refusal) if refused else reply.cut:
        yield True, event(f"response.{kind}.delta", delta=piece, **at, **more)
    whole = {"refusal": reply.refusal} if refused else {"text": reply.said}
    yield False, event(f"response.{kind}.done", **whole, **at, **more)
    yield False, event("response.content_part.done", part=_part(reply), **at)
    yield False, event("response.output_item.done", output_index=place, item=item)


# Messages ------------------------------------------------------------------------------------

_STOP = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def _message_stop(reply):
    word = _chat_finish(reply)
    return _STOP.get(word, word)


def _message_usage(reply, *, output=None):
    used = reply.usage or Tokens()
    return {
        "input_tokens": used.input - used.cached - used.cache_write,
        "cache_read_input_tokens": used.cached,
        "cache_creation_input_tokens": used.cache_write,
        "output_tokens": reply.output_tokens if output is None else output,
        "output_tokens_details": {"thinking_tokens": used.reasoning} if used.reasoning else None,
    }


def _message(reply, received):
    content = []
    if reply.thinking is not None:
        content.append({"type": "thinking", "thinking": reply.thinking, "signature": "sig"})
    if reply.said is not None:
        content.append({"type": "text", "text": reply.said, "citations": None})
    content.extend(
        {"type": "tool_use", "id": t.id, "name": t.name, "input": json.loads(t.arguments)}
        for t in reply.tools
    )
    return {
        "id": reply.id,
        "type": "message",
        "role": "assistant",
        "model": _model(reply, received),
        "content": content,
        "stop_reason": _message_stop(reply),
        "stop_sequence": None,
        "usage": _message_usage(reply),
    }


def _message_stream(reply, received):
    start = _message(reply, received)
    start.update(content=[], stop_reason=None, usage=_message_usage(reply, output=1))
    yield False, _named({"type": "message_start", "message": start})
    yield False, _named({"type": "ping"})
    place = 0

    def block(opened, deltas, *, are_pieces):
        yield (
            opened["type"] == "tool_use",
            _named({"type": "content_block_start", "index": place, "content_block": opened}),
        )
        for delta in deltas:
            yield (
                are_pieces,
                _named({"type": "content_block_delta", "index": place, "delta": delta}),
            )
        yield False, _named({"type": "content_block_stop", "index": place})

    if reply.thinking is not None:
        deltas = [
            {"type": "thinking_delta", "thinking": reply.thinking},
            {"type": "signature_delta", "signature": "sig"},
        ]
        opened = {"type": "thinking", "thinking": "", "signature": ""}
        yield from block(opened, deltas, are_pieces=False)
        place += 1
    if reply.said is not None:
        deltas = [{"type": "text_delta", "text": piece} for piece in reply.cut]
        yield from block({"type": "text", "text": ""}, deltas, are_pieces=True)
        place += 1
    for tool in reply.tools:
        deltas = [{"type": "input_json_delta", "partial_json": f} for f in _fragments(tool)]
        opened = {"type": "tool_use", "id": tool.id, "name": tool.name, "input": {}}
        yield from block(opened, deltas, are_pieces=True)
        place += 1
    if reply.finish is not None:
        delta = {"stop_reason": _message_stop(reply), "stop_sequence": None}
        used = {"output_tokens": reply.output_tokens}
        yield False, _named({"type": "message_delta", "delta": delta, "usage": used})
        yield False, _named({"type": "message_stop"})


# Embeddings ----------------------------------------------------------------------------------


def _embeddings(reply, received):
    given = received.body.get("input")
    texts = given if isinstance(given, list) else [given]
    return {
        "object": "list",
        "model": _model(reply, received),
        "data": [
            {"object": "embedding", "index": place, "embedding": [0.0, 0.5, 1.0]}
            for place, _ in enumerate(texts)
        ],
        "usage": {"prompt_tokens": len(texts), "total_tokens": len(texts)},
    }


_WIRES = {
    "/v1/chat/completions": (_chat, _chat_stream),
    "/v1/responses": (_response, _response_stream),
    "/v1/messages": (_message, _message_stream),
    "/v1/embeddings": (_embeddings, None),
}
