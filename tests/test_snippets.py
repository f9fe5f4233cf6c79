"""What the pages show runs as it stands, beside an application that has what they speak of."""

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import openai
import pytest

import firedoor as fd
from firedoor.drill.extractive import ExtractiveServer
from firedoor.testing import FakeClock

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
    if "```python" in page.read_text()
]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
REFUSED = re.compile(r"#\s*(\w+Error):")
ELSEWHERE = {
    '"redis://..."': '"memory://"',  # what a page says of a server, without one
    '"https://hooks.example.com/…"': '"https://hooks.example.com/x"',
    '"pagerduty://…", "mailto://…"': '"json://localhost"',
    'fd.runbooks.load("runbooks")': "fd.runbooks.defaults()",
    'key=b"..."': "key=b'0123456789abcdef'",
    'probe="refunds-1")])': 'probe="refunds-1")], recovered="asked them")',  # no alert opened it
}


@pytest.fixture
def endpoint(monkeypatch):
    with ExtractiveServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        yield server


@pytest.fixture
def namespace(endpoint):
    """What the pages take for granted: a door, a client, a request, what their names stand for."""
    clock = FakeClock(auto=True)
    door = fd.Firedoor("support-copilot", clock=clock)
    with openai.OpenAI(base_url=endpoint.base_url, api_key="none") as client:

        @door.llm("said", model="gpt-5")
        def said(messages, *, model=fd.ROUTED):
            return client.chat.completions.create(model=model, messages=messages)

        messages = [{"role": "user", "content": "Where is my order?"}]
        with door.request("checkout-help") as request:
            said(messages)
        door.incidents.declare("wrong language", journey="checkout-help")
        yield {
            "fd": fd,
            "door": door,
            "client": client,
            "messages": messages,
            "request": request,
            "request_id": request.id,
            "search": door.retrieval("kb")(lambda query: [{"id": "a", "text": query}]),
            "answer": lambda *_: said(messages),
            "judge": lambda answer, context: 1.0,
            "flags": SimpleNamespace(get={"reranker": True}.get, set=lambda name, value: None),
        }
    door.close()


def run(block, namespace):
    """Run a block, one statement after the other; one may raise if its own comment says so."""
    lines = block.splitlines()
    for statement in ast.parse(block).body:
        code = compile(ast.Module([statement], []), "snippet", "exec")
        refused = REFUSED.search(lines[statement.end_lineno - 1])
        if refused is None:
            exec(code, namespace)
        else:
            with pytest.raises(getattr(fd, refused[1])):
                exec(code, namespace)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what apprise imports
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_runs(page, namespace):
    for block in BLOCK.findall(page.read_text()):
        for words, stand_in in ELSEWHERE.items():
            block = block.replace(words, stand_in)
        run(block, namespace)
    namespace["door"].close()
