"""What the SDKs' stream helpers are made of, as far as watching them depends on it.

`text_stream`, `until_done` and `get_final_*` do not pass through `__next__` of a proxy around the
helper. All of them read `_raw_stream`, lazily: a watch put there sees every chunk once, and a text
changed there is changed in everything the helper derives from it.
"""

import pytest

from firedoor.extraction import Extractors, replace_text, text_of
from support.provider_server import Reply, ToolUse

ASK = [{"role": "user", "content": "Hi"}]
TEXT = "One two three"

OPEN = {
    "chat": ("openai", lambda c: c.chat.completions.stream(model="m", messages=ASK)),
    "responses": ("openai", lambda c: c.responses.stream(model="m", input="x")),
    "messages": (
        "anthropic",
        lambda c: c.messages.stream(model="m", max_tokens=9, messages=ASK),
    ),
}


class Watched:
    """A raw stream whose chunks are fed to a reader, and whose text is made louder."""

    def __init__(self, raw, reader):
        self._raw = raw
        self._reader = reader

    def __getattr__(self, name):
        return getattr(self._raw, name)

    def _seen(self, chunk):
        self._reader.feed(chunk)
        said = text_of(chunk)
        return replace_text(chunk, said.upper()) if said else chunk

    def __iter__(self):
        return map(self._seen, self._raw)

    async def __aiter__(self):
        async for chunk in self._raw:
            yield self._seen(chunk)


def final(shape, stream):
    name = {"chat": "completion", "responses": "response", "messages": "message"}[shape]
    return getattr(stream, f"get_final_{name}")()


@pytest.mark.parametrize("shape", OPEN)
def test_a_watch_under_a_sync_helper_sees_what_the_final_object_was_made_of(provider, shape):
    sdk, opened = OPEN[shape]
    provider.script(Reply(TEXT, tools=(ToolUse("f", '{"a": 1}'),)))
    reader = Extractors().reader()
    with opened(getattr(provider, sdk)()) as stream:
        stream._raw_stream = Watched(stream._raw_stream, reader)
        made = Extractors().extract(final(shape, stream))
    found = reader.result()

    assert (found.text, found.complete) == (TEXT, True)
    assert found.tool_calls[0].name == "f"
    if shape != "responses":  # its final object is the last event's, not put together from deltas
        assert made.text == TEXT.upper()


@pytest.mark.parametrize("shape", OPEN)
async def test_a_watch_under_an_async_helper_sees_it_too(provider, shape):
    sdk, opened = OPEN[shape]
    provider.script(Reply(TEXT))
    reader = Extractors().reader()
    async with opened(getattr(provider, f"async_{sdk}")()) as stream:
        stream._raw_stream = Watched(stream._raw_stream, reader)
        await stream.until_done()
    assert (reader.result().text, reader.result().complete) == (TEXT, True)


def test_a_watch_under_the_helper_sees_its_text_stream(provider):
    provider.script(Reply(TEXT))
    reader = Extractors().reader()
    with OPEN["messages"][1](provider.anthropic()) as stream:
        stream._raw_stream = Watched(stream._raw_stream, reader)
        assert "".join(stream.text_stream) == TEXT.upper()
        assert stream.get_final_text() == TEXT.upper()
        assert stream.current_message_snapshot.content[0].text == TEXT.upper()
    assert reader.result().text == TEXT
