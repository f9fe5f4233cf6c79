"""A threaded HTTP/1.1 server on a free port of the loopback interface."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["LoopbackHandler", "LoopbackServer"]


class LoopbackServer(ThreadingHTTPServer):
    """Serves from a thread of its own until `close`, which also ends its open connections.

    `with server:` starts and closes it.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler: type[LoopbackHandler]) -> None:
        self._open: set[Any] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        """Where it listens, as in `http://127.0.0.1:43211`."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client is given as its base URL."""
        return f"{self.url}/v1"

    def start(self) -> Self:
        """Begin to serve."""
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), name=type(self).__name__, daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop listening and break every open connection. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self.shutdown()
            thread.join()
        self.server_close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # Kept-alive connections outlive `server_close`; they are remembered to be ended with it.

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, then serve it."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection, then end it."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over clients that went away, the drill's daily business; show everything else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class LoopbackHandler(BaseHTTPRequestHandler):
    """JSON and chunked answers for `LoopbackServer`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    """A small SSE event is sent when it is written, not when the next one fills the packet."""

    def log_message(self, *_: object) -> None:
        """Nothing: the screen belongs to the drill."""

    def read_body(self) -> bytes:
        """The request's body."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def send_json(
        self, status: int, payload: object, headers: dict[str, str] | None = None
    ) -> None:
        """Answer with `payload` as JSON."""
        self.send_body(
            status,
            json.dumps(payload).encode(),
            {"Content-Type": "application/json"} | (headers or {}),
        )

    def send_body(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Answer with `body`, its length declared."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin_chunked(self, status: int, headers: dict[str, str]) -> None:
        """Open an answer whose length is not known; each `write_chunk` reaches the client at once."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def write_chunk(self, data: bytes) -> None:
        """Send one chunk."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end_chunked(self) -> None:
        """Say that the answer is complete."""
        self.wfile.write(b"0\r\n\r\n")

    def break_connection(self) -> None:
        """End the connection here, with whatever was promised left unsent."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
