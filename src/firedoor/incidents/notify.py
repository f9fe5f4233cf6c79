"""Messages about incidents to people: the log, a webhook, and everything apprise reaches.

`fd.notify` in applications. Sinks are declared values; what sends is one daemon thread behind a
bounded queue, so that no call and no action ever waits for a chat server. A message that cannot be
delivered is tried again, then counted and given up: the ledger has the incident in any case.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import Field

from firedoor._version import __version__
from firedoor.clock import SYSTEM_CLOCK, Clock
from firedoor.config import Count, Seconds, declarative
from firedoor.errors import ConfigurationError

__all__ = ["Apprise", "Log", "Message", "Notifier", "Sink", "Webhook"]

logger = logging.getLogger("firedoor.incidents")

CAPACITY = 256
"""Messages that may wait. One more drops the oldest, which is counted."""

_PAUSES = (0.5, 2.0, 8.0, 30.0)
"""Seconds before each further attempt; the last one for all that follow."""

_LEVELS = {"SEV1": logging.CRITICAL, "SEV2": logging.ERROR, "SEV3": logging.WARNING}


@dataclass(frozen=True, slots=True)
class Message:
    """What people are told. Every text has passed the redactor.

    Attributes:
        event: What happened: `opened`, `severity`, `approval`, `contained`, ...
        title: One line.
        body: What to do first, and how; empty where there is nothing to do.
        incident: The incident's id.
        severity: SEV1 to SEV4.
        data: The rest, for programs.
    """

    event: str
    title: str
    body: str = ""
    incident: str | None = None
    severity: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "event": self.event,
            "title": self.title,
            "body": self.body,
            "incident": self.incident,
            "severity": self.severity,
            **self.data,
        }

    @property
    def text(self) -> str:
        """Title and body."""
        return f"{self.title}\n{self.body}".strip()


class Undeliverable(Exception):
    """A sink has refused a message, and would again."""


class Sink(Protocol):
    """Where messages go. Called from one thread, off the path of every call."""

    @property
    def kind(self) -> str:
        """How metrics name it."""
        ...

    @property
    def attempts(self) -> int:
        """How often one message is tried."""
        ...

    def send(self, message: Message) -> None:
        """Deliver it, or raise."""
        ...


@declarative
class Log:
    """The `firedoor.incidents` logger: CRITICAL for SEV1, ERROR for SEV2, WARNING for the rest."""

    kind: ClassVar[str] = "log"
    attempts: ClassVar[int] = 1

    def send(self, message: Message) -> None:
        """Log it."""
        level = _LEVELS.get(message.severity or "", logging.WARNING)
        logger.log(level, "%s", message.text, extra={"firedoor": message.to_dict()})


@declarative
class Webhook:
    """A POST of the message as JSON; also with a `text`, which Slack and Mattermost show.

    Attributes:
        url: `https://...`; `http://...` is for hosts nobody else reaches.
        headers: Sent along, as in `{"Authorization": "Bearer ..."}`. Never shown.
        timeout: Seconds for one attempt.
        attempts: How often it is tried: again after a time-out, a broken connection, 408, 429 and
            5xx; any other refusal would be repeated.
    """

    url: str = Field(min_length=1, repr=False)
    headers: Mapping[str, str] = Field(default_factory=dict, kw_only=True, repr=False)
    timeout: Seconds = Field(default=5.0, kw_only=True)
    attempts: Count = Field(default=4, kw_only=True)

    kind: ClassVar[str] = "webhook"

    def check(self) -> None:
        """A URL that can be posted to. It may hold a secret, and is not repeated."""
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError:
            raise ValueError("url: not a URL: give https://host/path") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"url={parts.scheme or 'without a scheme'}: give https://host/path")

    def send(self, message: Message) -> None:
        """Post it.

        Raises:
            Undeliverable: If the answer says that it is no use.
            OSError: If there was none.
        """
        payload = json.dumps({"text": message.text, **message.to_dict()}, default=str).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"firedoor/{__version__}",
            **self.headers,
        }
        request = urllib.request.Request(  # noqa: S310 - checked at construction
            self.url, data=payload, headers=headers, method="POST"
        )
        try:
            with _opener.open(request, timeout=self.timeout) as response:
                response.read(65_536)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in {408, 429} or error.code >= 500:
                    raise OSError(f"HTTP {error.code}") from None
                raise Undeliverable(f"HTTP {error.code}") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A POST that is redirected would arrive elsewhere as a GET without its body."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


@declarative
class Apprise:
    """Everything apprise reaches: mail, Slack, Teams, PagerDuty, Telegram, ... Extra `notify`.

    Attributes:
        urls: In apprise's form, as in `slack://token_a/token_b/token_c/#oncall`. Never shown.
        attempts: How often each message is tried.
    """

    urls: tuple[str, ...] = Field(min_length=1, repr=False)
    attempts: Count = Field(default=3, kw_only=True)

    kind: ClassVar[str] = "apprise"

    def check(self) -> None:
        """Apprise is installed and knows every one of the URLs."""
        self._made()

    def send(self, message: Message) -> None:
        """Send it to every URL.

        Raises:
            OSError: If it did not reach all of them.
        """
        kind = "failure" if message.severity in {"SEV1", "SEV2"} else "warning"
        body = message.body or message.title
        if not self._made().notify(title=message.title, body=body, notify_type=kind):
            raise OSError("not every service took it")

    def _made(self) -> Any:
        try:
            apprise = importlib.import_module("apprise")
        except ImportError:
            raise ValueError(
                "urls need apprise: pip install 'firedoor[notify]', or use fd.notify.Webhook"
            ) from None
        made = apprise.Apprise()
        for index, url in enumerate(self.urls):
            if not made.add(url):
                scheme = url.partition("://")[0][:20]
                raise ValueError(
                    f"urls[{index}]={scheme}://...: apprise does not know it: see "
                    "https://github.com/caronc/apprise/wiki for the form of each service"
                )
        return made


class Notifier:
    """Sends messages from one daemon thread. Thread-safe and fork-safe; never raises.

    Args:
        sinks: Where every message goes.
        clean: What every text passes before it leaves.
        capacity: Messages that may wait.
        clock: Whose time the pauses between attempts are.
        on_result: Told of each message and sink: `sent`, `failed` or `dropped`.
        on_fault: Told why a sink failed.
    """

    def __init__(
        self,
        sinks: Sequence[Sink] = (),
        *,
        clean: Callable[[str], str] | None = None,
        capacity: int = CAPACITY,
        clock: Clock = SYSTEM_CLOCK,
        on_result: Callable[[str, str], object] | None = None,
        on_fault: Callable[[BaseException], object] | None = None,
    ) -> None:
        for sink in sinks:
            if not callable(getattr(sink, "send", None)) or not hasattr(sink, "kind"):
                raise ConfigurationError(
                    f"notify={sink!r}: use fd.notify.Log(), fd.notify.Webhook(url) or "
                    "fd.notify.Apprise(urls), or an object with kind, attempts and send(message)"
                )
        self.sinks = tuple(sinks)
        self._clean = clean
        self._capacity = capacity
        self._clock = clock
        self._on_result = on_result
        self._on_fault = on_fault
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[Message] = deque()
        self._busy = False
        self._closed = False
        self._pause = threading.Event()
        self._thread: threading.Thread | None = None
        self._counts = {"sent": 0, "failed": 0, "dropped": 0}

    def say(self, text: str) -> None:
        """Send one line."""
        self.send(Message("note", text))

    def send(self, message: Message) -> None:
        """Put a message in the queue; returns at once."""
        if not self.sinks:
            return
        if self._process != os.getpid():  # threads do not survive a fork; the parent sends its own
            self._reset()
        message = self._cleaned(message)
        dropped = False
        with self._changed:
            if self._closed:
                dropped = True
            else:
                if len(self._waiting) >= self._capacity:
                    self._waiting.popleft()
                    dropped = True
                self._waiting.append(message)
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._run, name="firedoor-notify", daemon=True
                    )
                    self._thread.start()
                self._changed.notify_all()
        if dropped:
            for sink in self.sinks:
                self._count(sink, "dropped")

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until every message was sent or given up; whether that was within `timeout` s."""
        if self._process != os.getpid():
            return True
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def close(self, timeout: float = 2.0) -> None:
        """Send what waits, for at most `timeout` seconds, and end the thread."""
        if self._process != os.getpid():
            return
        self.flush(timeout)
        with self._changed:
            self._closed = True
            self._pause.set()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def snapshot(self) -> dict[str, int]:
        """Messages that wait, and what became of the others, once for each sink."""
        with self._changed:
            return {"waiting": len(self._waiting) + self._busy, **self._counts}

    def _cleaned(self, message: Message) -> Message:
        clean = self._clean
        if clean is None:
            return message
        return Message(
            message.event,
            clean(message.title),
            clean(message.body) if message.body else "",
            message.incident,
            message.severity,
            {
                key: clean(value) if isinstance(value, str) else value
                for key, value in message.data.items()
            },
        )

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting or self._closed:
                    return
                message = self._waiting.popleft()
                self._busy = True
            for sink in self.sinks:
                self._deliver(sink, message)

    def _deliver(self, sink: Sink, message: Message) -> None:
        attempts = max(1, getattr(sink, "attempts", 1))
        for attempt in range(attempts):
            try:
                sink.send(message)
            except Exception as error:
                self._fault(error)
                if isinstance(error, Undeliverable) or attempt + 1 >= attempts:
                    break
                self._rest(_PAUSES[min(attempt, len(_PAUSES) - 1)])
                if self._closed:
                    break
            else:
                self._count(sink, "sent")
                return
        self._count(sink, "failed")

    def _rest(self, seconds: float) -> None:
        with self._changed:
            self._pause = threading.Event()
            if self._closed:
                return
        self._clock.wait(self._pause, seconds)

    def _count(self, sink: Sink, result: Literal["sent", "failed", "dropped"]) -> None:
        with self._changed:
            self._counts[result] += 1
        if self._on_result is not None:
            with contextlib.suppress(Exception):
                self._on_result(sink.kind, result)

    def _fault(self, error: BaseException) -> None:
        if self._on_fault is not None:
            with contextlib.suppress(Exception):
                self._on_fault(error)
