"""Messages to people: over real HTTP, tried again, bounded, redacted, never in anybody's way."""

import json
import logging
import os
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import firedoor as fd
from firedoor.incidents.notify import Apprise, Log, Message, Notifier, Webhook
from firedoor.testing import FakeClock

# Of modules that apprise imports, when it first needs them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MESSAGE = Message("opened", "SEV2 INC-1", "Do first: x", "INC-1", "SEV2", {"journey": "help"})


class Hook:
    """A real server that answers with the codes it is given, then with 200."""

    def __init__(self):
        self.codes = deque()
        self.got = []
        self.gate = threading.Event()
        self.gate.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append((self.path, dict(self.headers), json.loads(body)))
                hook.gate.wait()
                code = hook.codes.popleft() if hook.codes else 200
                if code is None:
                    self.connection.close()
                    return
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *args: None
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}/hook"

    def stop(self):
        self.gate.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hook():
    made = Hook()
    yield made
    made.stop()


@pytest.fixture
def notifiers():
    made = []

    def make(*sinks, **kwargs):
        notifier = Notifier(sinks, **{"clock": FakeClock(auto=True), **kwargs})
        made.append(notifier)
        return notifier

    yield make
    for notifier in made:
        notifier.close()


def test_a_webhook_gets_the_message_as_json(hook, notifiers):
    results = []
    notifier = notifiers(
        Webhook(hook.url, headers={"X-Token": "t"}), on_result=lambda *r: results.append(r)
    )
    notifier.send(MESSAGE)
    assert notifier.flush()
    ((path, headers, body),) = hook.got
    assert path == "/hook"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Token"] == "t"
    assert body == {
        "text": "SEV2 INC-1\nDo first: x",
        "event": "opened",
        "title": "SEV2 INC-1",
        "body": "Do first: x",
        "incident": "INC-1",
        "severity": "SEV2",
        "journey": "help",
    }
    assert results == [("webhook", "sent")]


@pytest.mark.parametrize("code", [500, 503, 429, 408, None])
def test_what_may_pass_is_tried_again(hook, notifiers, code):
    hook.codes.extend([code, code])
    notifier = notifiers(Webhook(hook.url))
    notifier.send(MESSAGE)
    assert notifier.flush()
    assert len(hook.got) == 3
    assert notifier.snapshot() == {"waiting": 0, "sent": 1, "failed": 0, "dropped": 0}


@pytest.mark.parametrize("code", [400, 401, 404, 302])
def test_what_would_be_refused_again_is_not(hook, notifiers, code):
    hook.codes.append(code)
    faults = []
    notifier = notifiers(Webhook(hook.url), on_fault=faults.append)
    notifier.send(MESSAGE)
    assert notifier.flush()
    assert len(hook.got) == 1
    assert notifier.snapshot()["failed"] == 1
    assert str(faults[0]) == f"HTTP {code}"


def test_it_gives_up_and_goes_on(hook, notifiers):
    hook.codes.extend([500] * 4)
    notifier = notifiers(Webhook(hook.url))
    notifier.send(MESSAGE)
    notifier.say("after it")
    assert notifier.flush()
    assert [body["title"] for _, _, body in hook.got] == ["SEV2 INC-1"] * 4 + ["after it"]
    assert notifier.snapshot()["failed"] == 1


def test_a_host_that_is_not_there_hurts_nobody(notifiers):
    notifier = notifiers(Webhook("http://127.0.0.1:9/x", attempts=2))
    notifier.send(MESSAGE)
    assert notifier.flush()
    assert notifier.snapshot()["failed"] == 1


def test_sending_never_waits_and_the_queue_is_bounded(hook, notifiers):
    hook.gate.clear()
    results = []
    notifier = notifiers(
        Webhook(hook.url), capacity=3, on_result=lambda _, result: results.append(result)
    )
    for number in range(10):
        notifier.say(f"line {number}")  # returns, though the server answers nobody
    assert results.count("dropped") >= 6
    hook.gate.set()
    assert notifier.flush()
    titles = [body["title"] for _, _, body in hook.got]
    assert titles[-3:] == ["line 7", "line 8", "line 9"]
    assert len(titles) + results.count("dropped") == 10


def test_every_text_is_redacted(hook, notifiers):
    secret = "ana.lopez@example.com"
    notifier = notifiers(Webhook(hook.url), clean=fd.Redactor().redact_text)
    notifier.send(
        Message("opened", f"to {secret}", f"see {secret}", "INC-1", "SEV1", {"journey": secret})
    )
    assert notifier.flush()
    assert secret not in json.dumps(hook.got[0][2])
    assert "<email:" in hook.got[0][2]["title"]


def test_a_command_to_paste_is_left_whole():
    line = "firedoor incidents approve INC-7f3a91c2 0123456789ab"
    assert fd.Redactor().redact_text(line) == line


def test_the_log_says_it_by_severity(caplog, notifiers):
    caplog.set_level(logging.INFO, logger="firedoor.incidents")
    notifier = notifiers(Log())
    for severity in ("SEV1", "SEV2", "SEV3", None):
        notifier.send(Message("opened", f"title {severity}", severity=severity))
    assert notifier.flush()
    told = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "firedoor.incidents"]
    assert told == [
        ("CRITICAL", "title SEV1"),
        ("ERROR", "title SEV2"),
        ("WARNING", "title SEV3"),
        ("WARNING", "title None"),
    ]


def test_apprise_reaches_what_it_knows(hook, notifiers):
    notifier = notifiers(Apprise([f"json://{hook.host}/apprise"]))
    notifier.send(MESSAGE)
    assert notifier.flush()
    ((path, _, body),) = hook.got
    assert path.startswith("/apprise")
    assert (body["title"], body["message"], body["type"]) == (
        "SEV2 INC-1",
        "Do first: x",
        "failure",
    )


def test_one_bad_sink_does_not_keep_the_others(hook, notifiers):
    class Broken:
        kind = "own"
        attempts = 1

        def send(self, message):
            raise RuntimeError("mine")

    results = []
    notifier = notifiers(
        Broken(), Webhook(hook.url), on_result=lambda *result: results.append(result)
    )
    notifier.send(MESSAGE)
    assert notifier.flush()
    assert results == [("own", "failed"), ("webhook", "sent")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_sends_its_own_messages(hook, notifiers):
    notifier = notifiers(Webhook(hook.url))
    notifier.say("parent")
    assert notifier.flush()
    child = os.fork()
    if child == 0:
        notifier.say("child")
        os._exit(0 if notifier.flush(20) and notifier.snapshot()["sent"] == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [body["title"] for _, _, body in hook.got] == ["parent", "child"]


def test_closing_does_not_wait_for_a_dead_server(hook):
    hook.codes.extend([500] * 9)
    clock = FakeClock()  # nobody moves it: the pause between attempts would never end
    notifier = Notifier([Webhook(hook.url)], clock=clock)
    notifier.send(MESSAGE)
    notifier.close(timeout=0.2)
    notifier._thread.join(10)
    assert not notifier._thread.is_alive()
    notifier.send(MESSAGE)
    assert notifier.snapshot()["dropped"] == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Webhook("ftp://u:hunter2@h/x"), "https://host/path"),
        (lambda: Webhook("hunter2"), "https://host/path"),
        (lambda: Webhook("https://h:hunter2/x"), "https://host/path"),
        (lambda: Apprise(["nothing://hunter2"]), r"urls\[0\]=nothing://\.\.\."),
        (lambda: Apprise([]), "urls"),
        (lambda: Notifier([object()]), "fd.notify.Webhook"),
    ],
)
def test_a_sink_that_cannot_work_is_said_at_once_without_its_secret(make, said):
    with pytest.raises(fd.ConfigurationError, match=said) as caught:
        make()
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown():
    shown = repr(Webhook("https://h/hunter2", headers={"A": "hunter2"})) + repr(
        Apprise(["json://hunter2"])
    )
    assert "hunter2" not in shown
