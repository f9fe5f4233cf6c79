"""`firedoor demo` as a person or a program starts it."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from typer.testing import CliRunner

from firedoor import cli
from firedoor.cli.app import COMMANDS, app

runner = CliRunner()


def firedoor(*arguments, cwd=None, **environment):
    code = "import sys; sys.argv[0] = 'firedoor'; from firedoor.cli import main; main()"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=cwd,
        env={**inherited, **environment},
        check=False,
    )


def test_help_names_every_command():
    shown = runner.invoke(app, ["--help"])
    assert shown.exit_code == 0
    for command in COMMANDS:
        assert command in shown.output


def test_help_loads_no_drill():
    """It is quick: neither the client nor the index is imported to print a page."""
    code = (
        "import sys; from firedoor.cli.app import app\n"
        "try: app(['demo', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('openai', 'bm25s', 'numpy', 'firedoor.drill') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_the_demo_runs_and_says_so(tmp_path):
    """Plain text where there is no terminal, exit code 0, and the spans where it says they are."""
    done = firedoor("demo", "--endpoint", "extractive", "--act", "faults", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "firedoor-demo/spans.jsonl" in done.stdout
    assert (tmp_path / "firedoor-demo" / "spans.jsonl").stat().st_size > 10_000


def test_json_is_one_document(tmp_path):
    done = firedoor(
        "demo", "--endpoint", "extractive", "--act", "faults", "--json",
        "--capture", "none", "--spans", str(tmp_path / "s.jsonl"),
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert (done.returncode, report["passed"], report["capture"]) == (0, True, "none")
    assert report["endpoint"]["kind"] == "extractive"


def test_spans_also_go_over_otlp_where_the_environment_says_so(tmp_path):
    """The standard variable is enough; what arrives is what the file holds."""
    received = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers.get("Content-Encoding"), body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = firedoor(
            "demo", "--endpoint", "extractive", "--act", "faults", "--json",
            "--spans", str(tmp_path / "s.jsonl"),
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{server.server_address[1]}",
            OTEL_EXPORTER_OTLP_COMPRESSION="none",
        )  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    report = json.loads(done.stdout)
    spans = [
        span
        for path, _, body in received
        if path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert len(spans) == report["spans"]["count"]
    assert any(path == "/v1/metrics" for path, _, _ in received)
    assert report["spans"]["otlp"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--base-url", "http://127.0.0.1:9/v1"], "needs --model"),
        (["--model", "m"], "go with --base-url"),
        (["--base-url", "127.0.0.1", "--model", "m"], "is not one"),
        (["--base-url", "http://h/v1", "--model", "m", "--api-key-env", "NO_SUCH_KEY"], "export"),
    ],
)
def test_options_that_cannot_work_end_with_the_remedy(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = runner.invoke(app, ["demo", *arguments])
    assert done.exit_code == 2
    assert says in done.output


def test_an_unknown_command_is_refused():
    assert runner.invoke(app, ["dmeo"]).exit_code == 2


def missing(*names):
    """A `find_spec` that does not find these."""
    import importlib.util

    find = importlib.util.find_spec
    return lambda name, *rest: None if name in names else find(name, *rest)


def test_without_the_cli_extra_the_command_names_it(monkeypatch):
    monkeypatch.setattr(cli.importlib.util, "find_spec", missing("typer"))
    with pytest.raises(SystemExit, match=r"needs typer: pip install 'firedoor\[cli\]'"):
        cli.main()


def test_without_the_demo_extra_the_demo_names_it(monkeypatch):
    monkeypatch.setattr(cli.importlib.util, "find_spec", missing("bm25s", "openai"))
    done = runner.invoke(app, ["demo"])
    assert done.exit_code == 2
    assert "bm25s and openai: pip install 'firedoor[demo]'" in done.output
