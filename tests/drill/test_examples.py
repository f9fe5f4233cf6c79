"""Every example runs as it stands, in a process of its own, with no key and no network."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

SAYS = {
    "quickstart": ["llm:answer", "gpt-5-mini", "answered", "'journey': 'checkout-help'"],
    "streaming": ["answered, truncated: False", "failed, truncated: True"],
    "async_calls": ["tool:carrier answered", "llm:answer answered gpt-5-mini"],
    "containment": [
        "answered  tier 0",
        "canned    tier 2  $0.0144  budget:llm:answer/request",
        "degraded  tier 1  $0.0001  breaker:llm:answer/gpt-5 ",
        "4 requests reached it",
        "canned    tier 2  $0.0000  switch:sw-",
    ],
    "incident_loop": [
        "quality_regression, contained: refusal rate",
        "applied: gpt-5 → gpt-5-mini on checkout-help, for 30 min; touches llm:answer on checkout",
        "a quarter of an hour later: stabilised, the action is verified",
        "ana       closed: 1 finding",
    ],
    "opentelemetry_wiring": ['"name": "chat gpt-5-mini"', '"name": "handle POST /chat"'],
}


def run(name: str, *more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *more, str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        timeout=50,
        env={key: value for key, value in os.environ.items() if not key.startswith("OPENAI_")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_every_example_is_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_an_example_does_what_it_says(name):
    out = run(name)
    for line in SAYS[name]:
        assert line in out
    assert "ana@example.com" not in out


@pytest.mark.parametrize(
    ("page", "name"), [("containment", "containment"), ("actions", "incident_loop")]
)
def test_a_page_shows_what_its_example_prints(page, name):
    text = (EXAMPLES.parent / f"docs/{page}.md").read_text()
    assert f"../examples/{name}.py" in text
    shown = re.search(r"^It prints:\n\n```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    pattern = re.escape(re.sub(r"sw-[0-9a-f]{8}", "sw-#", shown))
    pattern = pattern.replace(re.escape("  …\n"), "(?:  .*\n)*").replace(r"\#", "[0-9a-f]{8}")
    assert re.fullmatch(pattern, re.sub(r" +$", "", run(name), flags=re.MULTILINE))


def test_the_wiring_example_nests_the_call_in_the_applications_own_span():
    decoder, text, spans = json.JSONDecoder(), run("opentelemetry_wiring").lstrip(), {}
    while text:
        span, end = decoder.raw_decode(text)
        spans[span["name"]] = span
        text = text[end:].lstrip()
    root = spans["handle POST /chat"]
    assert {span["context"]["trace_id"] for span in spans.values()} == {root["context"]["trace_id"]}
    assert root["parent_id"] is None
    assert spans["chat gpt-5-mini"]["parent_id"] is not None
