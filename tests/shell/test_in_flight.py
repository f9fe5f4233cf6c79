"""Switches set while a stream runs: kept, drained to the end of the sentence, or cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

import firedoor as fd
from firedoor.core.sentence import LONGEST, Sentence
from support.provider_server import Reply

QUESTION = [{"role": "user", "content": "Where is my order?"}]
TEXT = "It is on its way. It comes on Monday. Or on Tuesday."


def said(chunk):
    return chunk.choices[0].delta.content or "" if chunk.choices else ""


@pytest.fixture
def answer(door, provider):
    provider.on("big", Reply(TEXT))
    client = provider.openai()

    @door.llm("answer", model="big")
    def answer(*, model):
        return client.chat.completions.create(model=model, messages=QUESTION, stream=True)

    return answer


@pytest.fixture
def async_answer(door, provider):
    provider.on("big", Reply(TEXT))
    client = provider.async_openai()

    @door.llm("answer", tiers=[fd.Tier("big"), fd.Tier("small")])
    async def answer(*, model):
        return await client.chat.completions.create(model=model, messages=QUESTION, stream=True)

    return answer


def reading(stream, switch, after="It is"):
    """What a reader sees who sets a switch in the middle."""
    text = ""
    for chunk in stream:
        text += said(chunk)
        if switch is not None and text == after:
            switch, made = None, switch()
            assert made.reason == "wrong"
    return text


async def areading(stream, switch, after="It is"):
    text = ""
    async for chunk in stream:
        text += said(chunk)
        if switch is not None and text == after:
            switch = switch() and None
    return text


class TestWishes:
    @pytest.mark.parametrize(
        ("in_flight", "text"),
        [("keep", TEXT), ("drain", "It is on its way."), ("cut", "It is")],
    )
    def test_a_sync_stream_ends_as_the_switch_wants(self, door, answer, in_flight, text):
        def off():
            return door.switches.disable(
                "llm:answer", reason="wrong", actor="me", in_flight=in_flight
            )

        assert reading(answer(), off).strip() == text

    @pytest.mark.parametrize(
        ("in_flight", "text"),
        [("keep", TEXT), ("drain", "It is on its way."), ("cut", "It is")],
    )
    async def test_an_async_stream_too(self, door, async_answer, in_flight, text):
        def off():
            return door.switches.disable(
                "model:big", reason="wrong", actor="me", in_flight=in_flight
            )

        assert (await areading(await async_answer(), off)).strip() == text

    def test_the_record_says_which_switch(self, door, answer, seen):
        made = []

        def off():
            made.append(door.switches.disable("llm:*", reason="wrong", actor="me", in_flight="cut"))
            return made[0]

        reading(answer(), off)
        (decision,) = seen.decisions
        assert decision.outcome == "degraded"
        assert decision.error_type == "switched_off"
        assert decision.truncated
        assert decision.fault is None
        assert decision.switches == (made[0].id,)
        assert [v.gate for v in decision.verdicts] == [f"switch:{made[0].id}"]

    def test_one_that_is_none_of_the_calls_business_does_nothing(self, door, answer, seen):
        def off():
            return door.switches.disable("tool:refund", reason="wrong", actor="me", in_flight="cut")

        assert reading(answer(), off) == TEXT
        assert seen.decisions[0].outcome == "answered"

    def test_one_that_was_on_before_does_nothing(self, door, answer):
        terms = {"reason": "wrong", "actor": "me"}
        door.switches.strictness("strict", in_flight="cut", **terms)
        assert reading(answer(), lambda: door.switches.depth("retrieval:kb", 3, **terms)) == TEXT

    def test_an_alias_that_moves_ends_what_ran_on_the_old_model(self, door, answer):
        def move():
            return door.switches.alias("big", "other", reason="wrong", actor="me", in_flight="cut")

        assert reading(answer(), move) == "It is"

    def test_a_cut_overtakes_a_drain(self, door, answer):
        terms = {"reason": "wrong", "actor": "me"}
        text = ""
        for chunk in answer():
            text += said(chunk)
            if text == "It is":
                door.switches.disable("llm:answer", in_flight="drain", **terms)
            if text == "It is on":
                door.switches.disable("llm:*", in_flight="cut", **terms)
        assert text == "It is on"

    def test_the_end_stays_the_end(self, door, answer):
        stream = answer()
        next(stream)
        door.switches.disable("llm:answer", reason="wrong", actor="me", in_flight="cut")
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(stream)

    def test_a_generator_is_closed(self, door):
        closed = []

        @door.llm("answer", model="big")
        def answer(*, model):
            try:
                yield from ["One", " two."]
            finally:
                closed.append(model)

        stream = answer()
        next(stream)
        door.switches.disable("llm:answer", reason="wrong", actor="me", in_flight="cut")
        assert list(stream) == []
        assert closed == ["big"]


class TestBeforeTheFirstContent:
    """Nothing was shown yet: the user gets the safe response, not an empty answer."""

    OFF = {"reason": "wrong", "actor": "me"}  # noqa: RUF012

    def guard(self, door, **options):
        tiers = [fd.Tier("big"), fd.Tier("small"), fd.Canned("Sorry.", shape="openai.chat")]
        return door.llm("answer", tiers=tiers, **options)

    def chunk(self, text):
        return ChatCompletionChunk.model_validate(
            {
                "id": "c",
                "created": 0,
                "model": "big",
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
            }
        )

    def silent(self, door, target="llm:answer", wish="cut"):
        """Chunks without content, between which a switch is set."""
        yield self.chunk("")
        door.switches.disable(target, in_flight=wish, **self.OFF)
        yield self.chunk("")
        yield self.chunk(TEXT)

    @pytest.mark.parametrize("wish", ["cut", "drain"])
    def test_the_safe_response_comes_instead(self, door, seen, wish):
        @self.guard(door)
        def answer(*, model):
            return self.silent(door, wish=wish)

        assert reading(answer(), None) == "Sorry."
        (decision,) = seen.decisions
        assert (decision.outcome, decision.tier) == ("canned", 2)
        assert decision.switches == tuple(switch.id for switch in door.switches.active())
        cut, canned = decision.attempts
        assert (cut.outcome, cut.error_type) == ("cancelled", "switched_off")
        assert canned.outcome == "canned"

    async def test_of_an_async_stream_too(self, door, seen):
        @self.guard(door)
        async def answer(*, model):
            async def chunks():
                for chunk in self.silent(door, "model:big"):
                    yield chunk

            return chunks()

        assert await areading(await answer(), None) == "Sorry."
        assert seen.decisions[0].outcome == "canned"

    def test_through_the_output_policies(self, door, seen):
        """What is prepared is screened like anything else that goes out."""

        @self.guard(door, policies=[fd.policies.Regex("[Ss]orry", on="output", action="redact")])
        def answer(*, model):
            return self.silent(door)

        assert "Sorry" not in reading(answer(), None)
        assert seen.decisions[0].outcome == "canned"

    def test_the_end_stays_the_end(self, door):
        @self.guard(door)
        def answer(*, model):
            return self.silent(door)

        stream = answer()
        assert reading(stream, None) == "Sorry."
        door.switches.disable("llm:*", in_flight="cut", **self.OFF)
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(stream)

    def test_without_a_safe_response_it_ends_without_one(self, door, seen):
        @door.llm("answer", tiers=[fd.Tier("big"), fd.Tier("small")])
        def answer(*, model):
            return self.silent(door)

        assert reading(answer(), None) == ""
        assert seen.decisions[0].error_type == "switched_off"


def drained(pieces):
    sentence = Sentence()
    out = ""
    for piece in pieces:
        kept = sentence.feed(piece)
        if kept is not None:
            return out + piece[:kept]
        out += piece
    return out


class TestSentences:
    @pytest.mark.parametrize(
        ("text", "first"),
        [
            ("on its way. Next", "on its way."),
            ("costs 3.14 euros. Next", "costs 3.14 euros."),
            ('said "no." Next', 'said "no."'),
            ("really?! Yes", "really?!"),
            ("好的。下一", "好的。"),
            ("- one\n- two", "- one\n"),
            ("no end", "no end"),
        ],
    )
    def test_where_it_ends(self, text, first):
        assert drained([text]) == first

    @given(st.text(alphabet="ab .!?\n\"'", max_size=60), st.data())
    def test_the_cutting_of_the_text_changes_nothing(self, text, data):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
        edges = [0, *cuts, len(text)]
        pieces = [text[a:b] for a, b in zip(edges, edges[1:], strict=False)]
        assert drained(pieces) == drained([text])

    def test_a_text_without_an_end_is_cut(self):
        assert len(drained(["x" * 7] * 1000)) == LONGEST
