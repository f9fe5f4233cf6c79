"""What one guarded call costs: beside the bare function, OpenTelemetry by hand, and its peers.

    python benchmarks/instrumentation.py                      firedoor and OpenTelemetry
    python benchmarks/instrumentation.py --peers all          also every peer
    python benchmarks/instrumentation.py --peers logfire,utilgenai --rounds 9

The guarded function returns a chat completion (or yields 200 chunks) at once. Every span goes
through a `BatchSpanProcessor` to an exporter that discards it, every metric to an in-memory reader.
The bar is `span + attributes + metrics`: a span by the OpenTelemetry API that carries exactly the
attributes firedoor's span carries, and the same histogram records.

A peer runs in an environment of its own, made on first use under `FIREDOOR_BENCH_VENVS` (default:
`firedoor-bench` in the user's cache folder), into which firedoor is installed too: the peer, firedoor
and OpenTelemetry are measured in one process, in the same shuffled rounds.

Peers' decorators record input and output as JSON and no model and no tokens unless the application
adds them; the cases with `+ model, tokens` do. util-genai takes them through its own interface.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import pathlib
import subprocess
import sys
import time
import tracemalloc

from _harness import (
    async_loop,
    in_threads,
    interleave,
    loop,
    ratios,
    spread,
    table,
    versions,
)
from _peers import environment

CHUNKS = 200
MESSAGES = [
    {"role": "system", "content": "Answer from the given context, briefly, and name the source."},
    {"role": "user", "content": "How do I tell a weak reference that its object is gone?"},
]
RESPONSE = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "model": "gpt-5-2026-08-07",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {
                "role": "assistant",
                "content": "Pass a callback to weakref.ref; it is called as the object goes.",
            },
        }
    ],
    "usage": {"prompt_tokens": 61, "completion_tokens": 48, "total_tokens": 109},
}
PIECE = {
    "id": "chatcmpl-bench",
    "object": "chat.completion.chunk",
    "model": "gpt-5-2026-08-07",
    "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}],
}
LAST_PIECE = {**PIECE, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
ADDED = {
    "gen_ai.request.model": "gpt-5",
    "gen_ai.response.model": "gpt-5-2026-08-07",
    "gen_ai.usage.input_tokens": 61,
    "gen_ai.usage.output_tokens": 48,
}


def chat(messages, *, model="gpt-5", temperature=0.2, max_tokens=512):
    return RESPONSE


async def achat(messages, *, model="gpt-5", temperature=0.2, max_tokens=512):
    return RESPONSE


def pieces(messages, *, model="gpt-5"):
    for _ in range(CHUNKS - 1):
        yield PIECE
    yield LAST_PIECE


async def apieces(messages, *, model="gpt-5"):
    for _ in range(CHUNKS - 1):
        yield PIECE
    yield LAST_PIECE


# Where spans and metrics go ---------------------------------------------------------------------

ARRIVED: list = []


def discarding(keep=1):
    """An exporter that keeps nothing but the last span."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Discard(SpanExporter):
        count = 0

        def export(self, spans):
            self.count += len(spans)
            ARRIVED[:] = spans[-keep:]
            return SpanExportResult.SUCCESS

        def shutdown(self):
            pass

        def force_flush(self, timeout_millis=30000):
            return True

    return Discard()


def providers():
    """A tracer provider and a meter provider, as an application has them."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    spans = TracerProvider(shutdown_on_exit=False)
    spans.add_span_processor(BatchSpanProcessor(discarding()))
    return spans, MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False)


# The cases of every process ---------------------------------------------------------------------


def ours():
    """Guarded functions: a door with providers, one without, one that is disabled."""
    import firedoor as fd

    spans, meters = providers()
    door = fd.Firedoor("bench", tracer_provider=spans, meter_provider=meters)
    silent = fd.Firedoor("bench")
    disabled = fd.Firedoor("bench", enabled=False)

    def guard(a_door, function):
        return a_door.llm("answer", model="gpt-5", provider="openai")(function)

    cases = {
        "firedoor": guard(door, chat),
        "firedoor, no SDK": guard(silent, chat),
        "firedoor, disabled": guard(disabled, chat),
        "firedoor async": guard(door, achat),
        "firedoor stream": guard(door, pieces),
        "firedoor async stream": guard(door, apieces),
    }
    return cases, spans


def by_hand(attributes):
    """A careful application's own code on the OpenTelemetry API, with `attributes` on the span."""
    from opentelemetry.trace import SpanKind

    from firedoor.telemetry import names

    spans, meters = providers()
    tracer = spans.get_tracer("bench")
    meter = meters.get_meter("bench")
    duration = meter.create_histogram(
        "gen_ai.client.operation.duration", "s",
        explicit_bucket_boundaries_advisory=names.SECONDS_BUCKETS,
    )  # fmt: skip
    tokens = meter.create_histogram(
        "gen_ai.client.token.usage", "{token}",
        explicit_bucket_boundaries_advisory=names.TOKEN_BUCKETS,
    )  # fmt: skip
    early = (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, names.ROUTE)
    start = {key: attributes[key] for key in early if key in attributes}
    rest = {key: value for key, value in attributes.items() if key not in start}
    shared = {
        key: attributes[key] for key in (*early[:3], names.RESPONSE_MODEL) if key in attributes
    }
    timed = {**shared, names.ROUTE: attributes[names.ROUTE]}
    given, made = ({**shared, names.TOKEN_TYPE: kind} for kind in ("input", "output"))

    def span(messages):
        with tracer.start_as_current_span("chat gpt-5"):
            return chat(messages)

    def span_attributes(messages):
        with tracer.start_as_current_span(
            "chat gpt-5", kind=SpanKind.CLIENT, attributes=start
        ) as s:
            response = chat(messages)
            s.set_attributes(rest)
            return response

    def span_attributes_metrics(messages):
        began = time.perf_counter()
        with tracer.start_as_current_span(
            "chat gpt-5", kind=SpanKind.CLIENT, attributes=start
        ) as s:
            response = chat(messages)
            s.set_attributes(rest)
        duration.record(time.perf_counter() - began, timed)
        tokens.record(61, given)
        tokens.record(48, made)
        return response

    async def async_span_attributes_metrics(messages):
        began = time.perf_counter()
        with tracer.start_as_current_span(
            "chat gpt-5", kind=SpanKind.CLIENT, attributes=start
        ) as s:
            response = await achat(messages)
            s.set_attributes(rest)
        duration.record(time.perf_counter() - began, timed)
        tokens.record(61, given)
        tokens.record(48, made)
        return response

    return {
        "span": span,
        "span + attributes": span_attributes,
        "span + attributes + metrics": span_attributes_metrics,
        "span + attributes + metrics async": async_span_attributes_metrics,
    }


BAR = "span + attributes + metrics"


def everything():
    """The cases every process runs: bare, ours, and OpenTelemetry by hand."""
    mine, spans = ours()
    mine["firedoor"](MESSAGES)
    spans.force_flush()
    (span,) = ARRIVED
    assert span.name == "chat gpt-5", span.name
    reference = by_hand(dict(span.attributes))
    bare = {"bare": chat, "bare async": achat, "bare stream": pieces, "bare async stream": apieces}
    return {**bare, **reference, **mine}


def case_of(function):
    """How a function is run n times: called, awaited, or read to its end."""
    if inspect.isasyncgenfunction(function):

        async def read():
            async for _ in function(MESSAGES):
                pass

        return async_loop(read)
    if inspect.iscoroutinefunction(function):
        return async_loop(lambda: function(MESSAGES))
    if inspect.isgeneratorfunction(function):

        def drain():
            for _ in function(MESSAGES):
                pass

        return loop(drain)
    return loop(lambda: function(MESSAGES))


# Peers --------------------------------------------------------------------------------------------

PEERS: dict = {}


def peer(*packages, **environment):
    def register(make):
        PEERS[make.__name__] = (make, packages, environment)
        return make

    return register


def with_model_and_tokens(messages, **kwargs):
    """The guarded function of an application that adds what the decorator leaves out."""
    from opentelemetry.trace import get_current_span

    get_current_span().set_attributes(ADDED)
    return RESPONSE


@peer("opentelemetry-util-genai", "opentelemetry-sdk")
def utilgenai():
    from opentelemetry.util.genai.handler import TelemetryHandler

    spans, meters = providers()
    handler = TelemetryHandler(
        tracer_provider=spans, meter_provider=meters, instrumentation_scope_name="bench"
    )

    def call(messages):
        with handler.inference("openai", request_model="gpt-5") as invocation:
            invocation.temperature, invocation.max_tokens = 0.2, 512
            response = chat(messages)
            invocation.response_id = response["id"]
            invocation.response_model_name = response["model"]
            invocation.finish_reasons = ["stop"]
            invocation.input_tokens, invocation.output_tokens = 61, 48
            return response

    return {"handler.inference": call}


@peer("openinference-instrumentation", "opentelemetry-sdk")
def openinference():
    from openinference.instrumentation import OITracer, TraceConfig

    spans, _ = providers()
    tracer = OITracer(spans.get_tracer("bench"), config=TraceConfig())
    hidden = OITracer(
        spans.get_tracer("bench"), config=TraceConfig(hide_inputs=True, hide_outputs=True)
    )
    return {
        "@tracer.llm": tracer.llm(chat),
        "@tracer.llm, texts hidden, + model, tokens": hidden.llm(with_model_and_tokens),
    }


@peer("traceloop-sdk", "httpx", TRACELOOP_TELEMETRY="false")
def traceloop():
    from traceloop.sdk import Traceloop
    from traceloop.sdk.decorators import task

    Traceloop.init(
        app_name="bench",
        exporter=discarding(),
        disable_batch=False,
        telemetry_enabled=False,
        instruments=set(),
        traceloop_sync_enabled=False,
    )
    return {
        "@task": task(name="chat")(chat),
        "@task + model, tokens": task(name="chat")(with_model_and_tokens),
    }


@peer("langfuse")
def langfuse():
    from langfuse import Langfuse, get_client, observe

    Langfuse(
        public_key="pk-lf-bench",
        secret_key="sk-lf-bench",
        base_url="http://127.0.0.1:9",
        span_exporter=discarding(),
    )
    client = get_client()

    def told(messages):
        client.update_current_generation(model="gpt-5", usage_details={"input": 61, "output": 48})
        return RESPONSE

    plain = {
        "name": "chat",
        "as_type": "generation",
        "capture_input": False,
        "capture_output": False,
    }
    return {
        "@observe": observe(name="chat", as_type="generation")(chat),
        "@observe, no texts": observe(**plain)(chat),
        "@observe, no texts, + model, tokens": observe(**plain)(told),
    }


@peer("logfire")
def logfire():
    import logfire as peer_logfire
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    peer_logfire.configure(
        send_to_logfire=False,
        console=False,
        metrics=False,
        inspect_arguments=False,
        additional_span_processors=[BatchSpanProcessor(discarding())],
    )
    return {
        "@instrument, no arguments": peer_logfire.instrument("chat", extract_args=False)(chat),
        "@instrument, no arguments, + model, tokens": peer_logfire.instrument(
            "chat", extract_args=False
        )(with_model_and_tokens),
        "@instrument": peer_logfire.instrument("chat")(chat),
    }


@peer(
    "mlflow-tracing",
    "opentelemetry-exporter-otlp-proto-http",
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://127.0.0.1:9/v1/traces",
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/protobuf",
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_TRACKING_URI="http://127.0.0.1:9",
)
def mlflow():
    import mlflow as peer_mlflow
    from mlflow.tracing import provider

    traced = peer_mlflow.trace(name="chat", span_type="LLM")(chat)
    traced(MESSAGES)  # makes the provider, whose exporter is then replaced
    for processor in provider.provider.get()._active_span_processor._span_processors:
        processor._batch_processor._exporter = discarding()
    return {"@mlflow.trace": traced}


@peer("openlit")
def openlit():
    import tempfile

    from opentelemetry import trace

    trace.set_tracer_provider(providers()[0])
    import openlit as peer_openlit

    prices = pathlib.Path(tempfile.mkdtemp()) / "prices.json"  # so that none are fetched
    prices.write_text("{}")
    peer_openlit.init(pricing_json=str(prices), disable_metrics=True, disable_events=True)
    return {
        "@openlit.trace": peer_openlit.trace(chat),
        "@openlit.trace + model, tokens": peer_openlit.trace(with_model_and_tokens),
    }


@peer("langsmith", LANGSMITH_TRACING="true", LANGSMITH_API_KEY="lsv2_bench")
def langsmith():
    import logging

    logging.disable(logging.CRITICAL)
    os.environ["LANGSMITH_ENDPOINT"] = f"http://127.0.0.1:{sink()}"
    from langsmith import traceable

    return {"@traceable": traceable(run_type="llm", name="chat")(chat)}


SINK = """
import http.server, json, sys, threading

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        if length := int(self.headers.get("content-length") or 0):
            self.rfile.read(length)
        elif self.headers.get("transfer-encoding"):
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        body = json.dumps({"version": "0.12.0", "batch_ingest_config": {
            "use_multipart_endpoint": True, "size_limit": 100, "size_limit_bytes": 20971520,
            "scale_up_nthreads_limit": 16, "scale_up_qsize_trigger": 1000}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
server.serve_forever()
"""


def sink():
    """The port of an HTTP server in a process of its own that takes and forgets; ends with this one."""
    process = subprocess.Popen(
        [sys.executable, "-c", SINK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process.stdout.readline().strip()


def work(name, rounds):
    """In a peer's environment: measure its cases beside ours and OpenTelemetry's."""
    make, packages, _ = PEERS[name]
    shared = everything()
    kept = {key: shared[key] for key in ("bare", "span + attributes", BAR, "firedoor")}
    cases = {**kept, **make()}
    figures = interleave({key: case_of(case) for key, case in cases.items()}, rounds=rounds)
    print(
        json.dumps({"figures": figures, "versions": versions(*packages[:1], "opentelemetry-sdk")})
    )
    sys.stdout.flush()
    os._exit(0)  # peers' exit handlers wait for servers that are not there


# Reports -------------------------------------------------------------------------------------------


def percentiles(function, calls=20_000):
    """Microseconds of single calls: the median and the 99th percentile."""
    clock = time.perf_counter_ns
    took = []
    for _ in range(calls):
        began = clock()
        function(MESSAGES)
        took.append(clock() - began)
    took.sort()
    return took[calls // 2] / 1e3, took[calls * 99 // 100] / 1e3


def allocated(function, calls=300):
    """Bytes: the peak of one call, and what a call leaves behind (its queued span)."""
    for _ in range(200):
        function(MESSAGES)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    peaks = []
    for _ in range(calls):
        tracemalloc.reset_peak()
        base = tracemalloc.get_traced_memory()[0]
        function(MESSAGES)
        peaks.append(tracemalloc.get_traced_memory()[1] - base)
    left = (tracemalloc.get_traced_memory()[0] - before) / calls
    tracemalloc.stop()
    return spread(peaks).median, left


def report_ours(rounds):
    cases = everything()
    figures = interleave({name: case_of(case) for name, case in cases.items()}, rounds=rounds)
    rows = []
    for name, took in figures.items():
        kind = next((k for k in (" async stream", " stream", " async") if name.endswith(k)), "")
        bar = figures.get(BAR + kind, figures[BAR])
        each = (
            spread(
                (a - b) / CHUNKS for a, b in zip(took, figures["bare" + kind], strict=True)
            ).median
            if "stream" in kind
            else None
        )
        rows.append([name, *spread(took), ratios(took, bar).median if not each else None, each])
    print(f"\nOne call, microseconds over {rounds} rounds. {versions('opentelemetry-sdk')}\n")
    print(
        table(
            ["case", "least", "median", "greatest", f"x {BAR}", f"added a chunk (of {CHUNKS})"],
            rows,
        )
    )
    chosen = ("bare", "span + attributes", BAR, "firedoor", "firedoor, no SDK")
    threaded = {
        (name, count): in_threads(lambda f=cases[name]: f(MESSAGES), count)
        for name in chosen
        for count in (1, 8)
    }
    rates = interleave(threaded, rounds=rounds, seconds=0.2)
    rows = [
        [
            name,
            *percentiles(cases[name]),
            *(1e3 / spread(rates[name, count]).median for count in (1, 8)),
            *allocated(cases[name]),
        ]
        for name in chosen
    ]
    print("\nSingle calls, throughput and allocation\n")
    print(
        table(
            [
                "case",
                "p50 µs",
                "p99 µs",
                "k calls/s, 1 thread",
                "8 threads",
                "peak bytes",
                "left bytes",
            ],
            rows,
        )
    )
    return ratios(figures["firedoor"], figures[BAR]).median


def report_peers(chosen, rounds):
    rows = []
    for name in chosen:
        python = environment(name, PEERS[name][1])
        if python is None:
            continue
        done = subprocess.run(
            [str(python), __file__, "--worker", name, "--rounds", str(rounds)],
            env={**os.environ, **PEERS[name][2], "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        try:
            result = json.loads(done.stdout.strip().splitlines()[-1])
        except (IndexError, ValueError):
            print(f"{name}: {done.stderr.strip()[-300:]}", file=sys.stderr)
            continue
        figures = result["figures"]
        print(f"{name}: {result['versions']}")
        theirs = [c for c in figures if c not in ("bare", "span + attributes", BAR, "firedoor")]
        rows += [
            [
                f"{name} {case}",
                *spread(figures[case]),
                ratios(figures[case], figures[BAR]).median,
                spread(figures["firedoor"]).median,
                ratios(figures[case], figures["firedoor"]).median,
            ]
            for case in theirs
        ]
    print(f"\nPeers, each beside firedoor in one process; microseconds over {rounds} rounds\n")
    print(
        table(
            ["case", "least", "median", "greatest", f"x {BAR}", "firedoor there", "x firedoor"],
            rows,
        )
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default="", help=f"'all', or some of {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.rounds)
        return
    chosen = (
        list(PEERS) if arguments.peers == "all" else [p for p in arguments.peers.split(",") if p]
    )
    if unknown := set(chosen) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    ratio = report_ours(arguments.rounds)
    print(f"\nfiredoor costs {ratio:.2f} x {BAR}.")
    if chosen:
        report_peers(chosen, arguments.rounds)


if __name__ == "__main__":
    main()
