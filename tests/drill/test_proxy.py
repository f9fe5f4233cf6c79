"""Every fault of the proxy, as the real client meets it over real HTTP."""

import http.client
import json
import threading

import openai
import pytest

from firedoor.drill.faults import Fault, FaultBoard, FaultKind
from firedoor.drill.loopback import LoopbackHandler, LoopbackServer
from firedoor.drill.proxy import Exchange, FaultProxy
from firedoor.drill.wire import Reply
from firedoor.errors import ConfigurationError

PROMPT = """Documentation:
[heapq.heappush] Push item onto heap, maintaining the heap invariant.

Question: How do I push an item?"""
WHOLE = "heapq.heappush: Push item onto heap, maintaining the heap invariant."
HARMLESS = 30.0
"""Seconds no test waits: stalls of this length are ended by clearing them."""


def ask(client, *, model="m", **more):
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": PROMPT}], **more
    )


def stream(client, **more):
    """Text, finish reason, usage and refusal of a streamed answer."""
    text, finish, usage, refusal = "", None, None, ""
    for chunk in ask(client, stream=True, stream_options={"include_usage": True}, **more):
        usage = usage or chunk.usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            refusal += choice.delta.refusal or ""
            finish = finish or choice.finish_reason
    return text, finish, usage, refusal


def test_healthy_requests_pass_unchanged(client, proxy):
    assert ask(client).choices[0].message.content == WHOLE
    text, finish, usage, _ = stream(client)
    assert (text, finish, usage.completion_tokens) == (WHOLE, "stop", 14)
    assert list(proxy.exchanges) == [Exchange("answer", "m", None)] * 2


def test_a_second_deployment_is_the_same_model_by_another_name(extractive):
    """A fault strikes one of the two only, and the endpoint is asked for the name that it knows."""
    with (
        FaultProxy(extractive.base_url, deployments={"m-backup": "m"}) as proxy,
        openai.OpenAI(base_url=proxy.base_url, api_key="none", max_retries=0) as client,
    ):
        proxy.board.inject(Fault(FaultKind.ERROR, model="m"))
        with pytest.raises(openai.InternalServerError):
            ask(client, model="m")
        backup = ask(client, model="m-backup")
    assert (backup.model, backup.choices[0].message.content) == ("m", WHOLE)
    assert [one.model for one in proxy.exchanges] == ["m", "m-backup"]


def test_what_was_answered_once_is_remembered_and_still_struck():
    """The endpoint is asked once for each request; a fault acts on what is remembered as well."""
    asked = []

    class Endpoint(LoopbackHandler):
        def do_POST(self):
            asked.append(self.read_body())
            self.send_json(200, Reply("Said.", "m", 1).body())

    with (
        LoopbackServer(Endpoint) as endpoint,
        FaultProxy(endpoint.base_url, remember=True) as proxy,
        openai.OpenAI(base_url=proxy.base_url, api_key="none", max_retries=0) as client,
    ):
        said = [ask(client).choices[0].message.content for _ in range(2)]
        proxy.board.inject(Fault(FaultKind.LEAK, text="A secret."))
        said.append(ask(client).choices[0].message.content)
        ask(client, temperature=0.5)
    assert said == ["Said.", "Said.", "Said. A secret."]
    assert len(asked) == 2


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
class TestBothShapes:
    def ask(self, client, streamed, **more):
        return stream(client, **more) if streamed else ask(client, **more)

    def test_error(self, client, proxy, streamed):
        """The status and the message asked for."""
        proxy.board.inject(Fault(FaultKind.ERROR, status=500, text="out of order"))
        with pytest.raises(openai.InternalServerError, match="out of order") as caught:
            self.ask(client, streamed)
        assert caught.value.status_code == 500

    def test_rate_limit(self, client, proxy, streamed):
        """429 with its header and code."""
        proxy.board.inject(Fault(FaultKind.RATE_LIMIT, retry_after=21))
        with pytest.raises(openai.RateLimitError) as caught:
            self.ask(client, streamed)
        assert caught.value.response.headers["retry-after"] == "21"
        assert caught.value.code == "rate_limit_exceeded"

    def test_stall(self, client, proxy, streamed):
        """Silence until the client gives up."""
        proxy.board.inject(Fault(FaultKind.STALL, seconds=HARMLESS))
        with pytest.raises(openai.APITimeoutError):
            self.ask(client, streamed, timeout=0.05)

    def test_drop(self, client, proxy, streamed):
        """A connection that breaks inside the answer."""
        proxy.board.inject(Fault(FaultKind.DROP))
        with pytest.raises(openai.APIConnectionError):
            self.ask(client, streamed)

    def test_malformed(self, client, proxy, streamed):
        """Broken JSON leaves the client as it is: this is what an application meets."""
        proxy.board.inject(Fault(FaultKind.MALFORMED))
        with pytest.raises(json.JSONDecodeError):
            self.ask(client, streamed)

    def test_wrong_answer(self, client, proxy, streamed):
        """Well-formed in every respect."""
        proxy.board.inject(Fault(FaultKind.WRONG_ANSWER, text="Call os.abort()."))
        if streamed:
            assert stream(client)[:2] == ("Call os.abort().", "stop")
        else:
            completion = ask(client)
            assert completion.choices[0].message.content == "Call os.abort()."
            assert completion.usage.total_tokens > 0

    def test_refusal(self, client, proxy, streamed):
        """In the field the API has for it."""
        proxy.board.inject(Fault(FaultKind.REFUSAL, text="No, sorry."))
        if streamed:
            text, finish, _, refusal = stream(client)
            assert (text, finish, refusal) == ("", "stop", "No, sorry.")
        else:
            message = ask(client).choices[0].message
            assert (message.content, message.refusal) == (None, "No, sorry.")

    def test_leak(self, client, proxy, streamed):
        """The answer of the endpoint, with something in it that does not belong."""
        proxy.board.inject(Fault(FaultKind.LEAK, text="hunter2", after=2))
        if streamed:
            text, finish, usage, _ = stream(client)
            assert text == WHOLE.replace("Push ", "Push hunter2 ")
            assert (finish, usage.completion_tokens) == ("stop", 14)
        else:
            assert ask(client).choices[0].message.content == f"{WHOLE} hunter2"

    def test_a_fault_strikes_as_often_as_it_is_told(self, client, proxy, streamed):
        injection = proxy.board.inject(Fault(FaultKind.ERROR, times=2))
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                self.ask(client, streamed)
        self.ask(client, streamed)
        assert injection.struck == 2
        assert proxy.board.active() == ()


class TestStreams:
    def test_cut(self, client, proxy):
        """The client raises nothing: the answer merely lacks its end."""
        proxy.board.inject(Fault(FaultKind.CUT, after=3))
        assert stream(client) == ("heapq.heappush: Push item", None, None, "")

    def test_cut_of_a_stream_too_short_for_it(self, client, proxy):
        """A fault always acts before the answer is complete."""
        proxy.board.inject(Fault(FaultKind.CUT, after=1000))
        assert stream(client) == (WHOLE, None, None, "")

    def test_stall_inside(self, client, proxy):
        """What came before the stall is delivered before it."""
        proxy.board.inject(Fault(FaultKind.STALL_INSIDE, seconds=HARMLESS, after=2))
        text = ""
        with pytest.raises(openai.APITimeoutError):
            for chunk in ask(client, stream=True, timeout=0.2):
                text += chunk.choices[0].delta.content or ""
        assert text == "heapq.heappush: Push"

    def test_a_stall_ends_when_it_is_cleared(self, client, proxy):
        """The stream then goes on where it stopped, and nothing is lost."""
        injection = proxy.board.inject(Fault(FaultKind.STALL_INSIDE, seconds=HARMLESS, after=2))
        text = ""
        for chunk in ask(client, stream=True):
            text += chunk.choices[0].delta.content or ""
            if text == "heapq.heappush: Push":
                proxy.board.clear(injection.id)
        assert text == WHOLE

    def test_a_reader_who_leaves_is_no_error(self, client, proxy):
        chunks = ask(client, stream=True)
        next(chunks)
        chunks.close()
        assert ask(client).choices[0].message.content == WHOLE


def test_events_pass_one_by_one():
    """The proxy holds nothing back: each piece arrives before the endpoint makes the next."""
    read = threading.Event()

    class Handler(LoopbackHandler):
        def do_POST(self):
            self.read_body()
            self.begin_chunked(200, {"Content-Type": "text/event-stream"})
            for each in Reply("one two three", "m", 1).events(include_usage=False):
                self.write_chunk(each)
                assert read.wait(HARMLESS)
                read.clear()
            self.end_chunked()

    with (
        LoopbackServer(Handler) as server,
        FaultProxy(server.base_url) as proxy,
        openai.OpenAI(base_url=proxy.base_url, api_key="none", max_retries=0) as client,
    ):
        seen = []
        for chunk in ask(client, stream=True):
            seen.append(chunk.choices[0].delta.content)
            read.set()
        read.set()
    assert seen == ["", "one", " two", " three", None]


class TestAim:
    def test_by_route(self, client, proxy):
        proxy.board.inject(Fault(FaultKind.ERROR, route="summar*"))
        ask(client)
        with pytest.raises(openai.InternalServerError):
            ask(client, extra_headers={"x-drill-route": "summarise"})

    def test_by_model(self, client, proxy):
        proxy.board.inject(Fault(FaultKind.ERROR, model="large-*", times=None))
        ask(client, model="small")
        with pytest.raises(openai.InternalServerError):
            ask(client, model="large-2")

    def test_by_share(self):
        """A share is drawn from the seed: the same requests are struck each time."""

        def struck(seed):
            board = FaultBoard(seed)
            board.inject(Fault(FaultKind.ERROR, share=0.3, times=None))
            return [board.strike(route="answer", model="m") is not None for _ in range(1000)]

        assert struck(1) == struck(1) != struck(2)
        assert 250 < sum(struck(1)) < 350

    def test_the_oldest_fault_strikes_first(self):
        board = FaultBoard()
        board.inject(Fault(FaultKind.ERROR))
        board.inject(Fault(FaultKind.RATE_LIMIT))
        kinds = [board.strike(route="", model="").fault.kind for _ in range(2)]
        assert kinds == [FaultKind.ERROR, FaultKind.RATE_LIMIT]
        assert board.strike(route="", model="") is None

    def test_threads_never_strike_too_often(self):
        board = FaultBoard()
        board.inject(Fault(FaultKind.ERROR, times=100))
        hits = []

        def strike():
            hits.extend(board.strike(route="", model="") is not None for _ in range(200))

        threads = [threading.Thread(target=strike) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(hits) == 100


class TestControl:
    """Another process flips faults over HTTP."""

    @pytest.fixture
    def control(self, proxy):
        def send(method, path="/_drill/faults", body=None, kind="application/json"):
            connection = http.client.HTTPConnection(*proxy.server_address, timeout=HARMLESS)
            try:
                connection.request(method, path, body, {"Content-Type": kind})
                response = connection.getresponse()
                return response.status, json.loads(response.read())
            finally:
                connection.close()

        return send

    def test_inject_list_and_clear(self, client, control):
        status, made = control("POST", body='{"kind": "error", "times": null, "status": 500}')
        assert (status, made["kind"], made["struck"]) == (201, "error", 0)
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                ask(client)
        assert [one["struck"] for one in control("GET")[1]] == [2]
        assert control("DELETE", f"/_drill/faults/{made['id']}") == (200, {"cleared": 1})
        assert ask(client).choices[0].message.content == WHOLE

    def test_clear_all(self, client, control):
        for kind in ("error", "cut"):
            control("POST", body=json.dumps({"kind": kind}))
        assert control("DELETE") == (200, {"cleared": 2})
        assert control("GET") == (200, [])

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ('{"kind": "explode"}', "kind"),
            ('{"kind": "error", "status": 200}', "status"),
            ('{"kind": "cut", "tiems": 3}', "tiems"),
            ("{}", "kind"),
            ("[]", "object"),
            ("nonsense", ""),
        ],
    )
    def test_a_fault_that_cannot_be_is_refused_by_name(self, control, body, says):
        status, answer = control("POST", body=body)
        assert status == 422
        assert says in answer["error"]
        assert control("GET") == (200, [])

    def test_a_web_page_cannot_post_faults(self, control):
        """Browsers send forms and plain text across origins unasked, JSON they do not."""
        assert control("POST", body='{"kind": "error"}', kind="text/plain")[0] == 415
        assert control("GET") == (200, [])

    def test_another_path_is_not_control(self, control):
        assert control("DELETE", "/_drill/faults/x")[0] == 404


def test_an_endpoint_that_is_gone_is_a_bad_gateway(extractive, client):
    extractive.close()
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client)
    assert caught.value.status_code == 502


def test_closing_twice_is_closing_once(proxy):
    proxy.close()
    proxy.close()


def test_a_base_url_that_is_none_is_refused_with_the_remedy():
    with pytest.raises(ConfigurationError, match=r"http\(s\)://host"):
        FaultProxy("localhost:8080/v1")
