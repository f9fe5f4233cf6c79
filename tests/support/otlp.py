"""A real OTLP/HTTP receiver on loopback, and a real collector to put in front of it."""

import contextlib
import gzip
import http.server
import importlib.util
import os
import pathlib
import socket
import subprocess
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

_SIGNALS = {
    "/v1/traces": (ExportTraceServiceRequest, ExportTraceServiceResponse),
    "/v1/metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse),
    "/v1/logs": (ExportLogsServiceRequest, ExportLogsServiceResponse),
}


def plain(value):
    """A protobuf `AnyValue` as the Python value it stands for."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(v) for v in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def attributes(pairs):
    """A protobuf list of `KeyValue` as a dict; a key that comes twice is an error."""
    found = {}
    for pair in pairs:
        assert pair.key not in found, f"attribute {pair.key} was sent twice"
        found[pair.key] = plain(pair.value)
    return found


@dataclass
class Receiver:
    """What arrived, decoded; `raw` holds the bodies as they came, for searching."""

    endpoint: str = ""
    raw: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, found, timeout=20.0):
        """What `found()` gives once it gives something."""
        with self.arrived:
            assert self.arrived.wait_for(found, timeout), "nothing of the kind arrived"
            return found()

    @property
    def spans(self):
        """`(span, scope, resource)` of every span."""
        return [
            (span, scope, resource)
            for request in self.requests
            if isinstance(request, ExportTraceServiceRequest)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def metrics(self):
        """The newest state of every metric, by name."""
        return {
            metric.name: metric
            for request in self.requests
            if isinstance(request, ExportMetricsServiceRequest)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def logs(self):
        """Every log record."""
        return [
            record
            for request in self.requests
            if isinstance(request, ExportLogsServiceRequest)
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]


@contextlib.contextmanager
def receiver():
    """A running `Receiver`; exporters send to `endpoint + "/v1/traces"` and so on."""
    inbox = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            asked, answered = _SIGNALS[self.path]
            request = asked.FromString(body)
            reply = answered().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)
            with inbox.arrived:
                inbox.raw.append(body)
                inbox.requests.append(request)
                inbox.arrived.notify_all()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    inbox.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def collector_binary():
    """Path of the collector in the `rotel` wheel, or None where there is no wheel."""
    found = importlib.util.find_spec("rotel")
    if found is None or found.origin is None:
        return None
    binary = pathlib.Path(found.origin).with_name("rotel-agent")
    return binary if binary.exists() else None


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment():
    """The wheel's binary links the interpreter's shared library, wherever that was put."""
    places = [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(p for p in places if p)}


@contextlib.contextmanager
def collector(target):
    """A running collector that decodes what it gets and sends it on; gives its endpoint."""
    port = _free_port()
    process = subprocess.Popen(
        [
            str(collector_binary()),
            "start",
            f"--otlp-http-endpoint=127.0.0.1:{port}",
            f"--otlp-grpc-endpoint=127.0.0.1:{_free_port()}",
            "--exporter=otlp",
            "--otlp-exporter-protocol=http",
            f"--otlp-exporter-endpoint={target}",
            "--batch-timeout=50ms",
        ],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _until_listening(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _until_listening(process, port):
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        if process.poll() == 127:
            # An interpreter built without a shared library cannot host the wheel's binary.
            pytest.skip("rotel's binary needs a shared libpython, which this interpreter lacks")
        assert process.poll() is None, process.communicate()[0]
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1)
        except urllib.error.HTTPError:
            return
        except OSError:
            threading.Event().wait(0.02)
        else:
            return
    raise AssertionError("the collector did not start")
