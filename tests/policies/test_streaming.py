"""A stream shows what the whole would show, however it is cut; and never a part of what is forbidden."""

import gc
import re
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firedoor.config import declarative
from firedoor.policies import (
    Chain,
    Finding,
    JsonSchema,
    MaxLength,
    Regex,
    SpanPolicy,
    StreamFilter,
    policy,
)
from firedoor.testing import FakeClock

ALPHABET = "ab1 \n-"

PATTERNS = [
    r"ab",
    r"a{2,4}",
    r"a{1,9}?b|b{3}",
    r"\bab\b",
    r"^a.",
    r"(?m)^a.",
    r"b$",
    r"(?m)b$",
    r"a\Z",
    r"\Aab",
    r"(?<=b)a",
    r"(?<!a)b{1,9}",
    r"(?<=(?<=a)b)1",
    r"a(?=b)",
    r"a(?!b)",
    r"a(?=b{1,3}1)b",
    r"(?<!1)1{2,3}(?!1)",
    r"(a|b)\1",
    r"(a)?b(?(1)1|-)",
    r"(?>a{1,3})b",
    r"a{1,3}+b",
    r"(?:ab|a1){1,2}-?",
    r"\Ba\B",
    r"[^a\s]{2}",
    r"(?i)A.B",
    r"(?s)a.{0,3}b",
    r"a{1,2}(?:$|1)",
    r"b(?=\n|\Z)",
    r"(?<=\Aa)b",
    r"a(?!.{0,2}b)",
    r"1\s{0,2}$",
    r"(?m)(?:(?=b{0,2}$)b|ab1)",
    r"(?:(?!.{0,2}a) |ab1)",
]

texts = st.text(ALPHABET, max_size=40)


@st.composite
def patterns(draw):
    """Random bounded patterns over the alphabet, with assertions anywhere."""
    atom = st.sampled_from(
        [
            "a",
            "b",
            "1",
            " ",
            r"\n",
            "-",
            ".",
            r"\w",
            r"\s",
            "[ab]",
            "[^a]",
            "(?:ab)",
            "(?:a|b1)",
            "(?:a|)",
        ]
    )
    times = st.sampled_from(["", "", "", "?", "{1,3}", "{2}", "{0,2}?", "{1,2}+"])
    assertion = st.sampled_from(
        [
            r"\b",
            r"\B",
            "^",
            "$",
            r"\Z",
            "(?=a)",
            "(?!b1)",
            "(?<=b)",
            "(?<!1a)",
            "(?=b{0,2}$)",
            "(?!.{0,2}a)",
        ]
    )
    parts = draw(
        st.lists(
            st.one_of(
                st.tuples(atom, times).map("".join), st.tuples(atom, times).map("".join), assertion
            ),
            min_size=1,
            max_size=5,
        )
    )
    body = "".join(parts)
    return draw(st.sampled_from(["", "(?m)", "(?s)", "(?i)"])) + draw(
        st.sampled_from([body, f"(?:{body}|ab1)", f"(?:{body}){{1,2}}"])
    )


@st.composite
def cut(draw, source=texts):
    """A text and one way of cutting it."""
    text = draw(source)
    points = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    ends = [0, *points, len(text)]
    return text, [text[a:b] for a, b in zip(ends, ends[1:])]


def run(chain, pieces, *, impatient=True):
    """What a stream releases, and the filter afterwards. Impatient: nothing is collected first."""
    stream = StreamFilter(chain)
    shown = []
    for piece in pieces:
        shown.append(stream.feed(piece))
        if impatient:
            shown.append(stream.drain())
    shown.append(stream.finish())
    return "".join(shown), stream


def regex(pattern, **options):
    """The policy; None for a pattern it rightly refuses."""
    try:
        return Regex(pattern, on="output", **options)
    except ValueError:
        return None


def reference(pattern, text, marker):
    """`re` itself, on the whole."""
    return re.sub(pattern, marker, text)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(cut())
@settings(max_examples=60, deadline=None)
def test_redacted_stream_equals_redacted_whole(pattern, case):
    """Boundaries, anchors and looks around do not see the edge of the window."""
    text, pieces = case
    shown, _ = run(Chain([Regex(pattern, on="output", action="redact")]), pieces)
    assert shown == reference(pattern, text, "<regex>")


@given(patterns(), cut())
@settings(max_examples=600, deadline=None)
def test_any_pattern_any_cut(pattern, case):
    """Also for patterns nobody thought of."""
    text, pieces = case
    found = regex(pattern, action="redact")
    if found is not None:
        shown, _ = run(Chain([found]), pieces)
        assert shown == reference(pattern, text, "<regex>")


@given(patterns(), texts)
@settings(max_examples=200, deadline=None)
def test_one_character_at_a_time(pattern, text):
    """The finest cut there is."""
    found = regex(pattern, action="redact")
    if found is not None:
        shown, _ = run(Chain([found]), list(text))
        assert shown == reference(pattern, text, "<regex>")


@given(patterns(), cut())
@settings(max_examples=300, deadline=None)
def test_block_ends_the_stream_where_the_finding_begins(pattern, case):
    """Everything before the first finding is shown, and nothing of it."""
    text, pieces = case
    found = regex(pattern)
    if found is None:
        return
    shown, stream = run(Chain([found]), pieces)
    first = re.search(pattern, text)
    assert shown == (text if first is None else text[: first.start()])
    assert stream.blocked is (first is not None)
    assert stream.verdicts[0].status == ("passed" if first is None else "blocked")


@given(
    st.lists(
        st.tuples(patterns(), st.sampled_from(["redact", "replace", "block", "flag"])),
        min_size=2,
        max_size=4,
    ),
    cut(),
)
@settings(max_examples=300, deadline=None)
def test_several_policies_do_not_depend_on_the_cut(rules, case):
    """A chain is a pipeline of stages that do not depend on it."""
    text, pieces = case
    policies = [
        p
        for pattern, action in rules
        if (p := regex(pattern, action=action, replacement="a-")) is not None
    ]
    at_once, whole = run(Chain(policies), [text], impatient=False)
    shown, stream = run(Chain(policies), pieces)
    assert shown == at_once
    assert stream.blocked_by == whole.blocked_by
    if not stream.blocked:
        screening = Chain(policies).screen(text, "output")
        assert shown == screening.text
        assert [(v.gate, v.status, v.labels) for v in stream.verdicts] == [
            (v.gate, v.status, v.labels) for v in screening.verdicts
        ]
        assert stream.flagged == screening.flagged
    else:
        assert Chain(policies).screen(text, "output").blocked_by is not None


@given(st.lists(patterns(), min_size=1, max_size=4), cut())
@settings(max_examples=300, deadline=None)
def test_no_part_of_any_forbidden_span_is_shown(several, case):
    """Also where two findings of different policies overlap: what is shown ends before both."""
    text, pieces = case
    policies = [p for pattern in several if (p := regex(pattern)) is not None]
    shown, _ = run(Chain(policies), pieces)
    starts = [first.start() for p in policies if (first := re.search(p.pattern, text))]
    assert text.startswith(shown)
    assert len(shown) <= min(starts, default=len(text))


@given(cut(st.text("ab1 ", min_size=600, max_size=3000)))
@settings(max_examples=30, deadline=None)
def test_collecting_pieces_changes_nothing(case):
    """What is collected before a scan is only a delay."""
    text, pieces = case
    pattern = r"\ba{2,3}b|1{2}(?! )"
    shown, _ = run(Chain([Regex(pattern, on="output", action="redact")]), pieces, impatient=False)
    assert shown == reference(pattern, text, "<regex>")


@given(st.integers(0, 45), st.sampled_from(["block", "redact", "replace", "flag"]), cut())
@settings(max_examples=200, deadline=None)
def test_length_is_cut_exactly(limit, action, case):
    """The text is shown to its last allowed character, and not beyond."""
    text, pieces = case
    shown, stream = run(
        Chain([MaxLength(limit, on="output", action=action, replacement="~")]), pieces
    )
    longer = len(text) > limit
    expected = {
        "block": text[:limit],
        "redact": text[:limit],
        "replace": text[:limit] + "~" * longer,
        "flag": text,
    }
    assert shown == expected[action]
    status = {"block": "blocked", "redact": "redacted", "replace": "redacted", "flag": "flagged"}[
        action
    ]
    assert stream.verdicts[0].status == (status if longer else "passed")
    assert stream.blocked is (longer and action == "block")


def test_text_is_held_only_while_it_may_become_a_finding():
    """Prose flows at once; the beginning of a key waits; a false alarm is let go."""
    stream = StreamFilter(Chain([Regex("sk-[a-z]{8,40}", on="output", action="redact")]))
    assert stream.feed("Key i") == "Key i"
    assert stream.feed("s") == ""
    assert stream.feed("k-abc") == ""
    assert stream.feed("d and") == "sk-abcd and"
    assert stream.feed(" sk-") == " "
    assert stream.feed("abcdefgh") == ""
    assert stream.feed(".") == "<regex>."
    assert stream.finish() == ""


@pytest.mark.parametrize("position", range(1, 20))
def test_secret_split_at_every_position(position):
    """Wherever the pieces meet, nothing of the secret comes out."""
    secret = "sk-live-0123456789ab"
    stream = StreamFilter(Chain([Regex("sk-live-[0-9a-f]{12}", on="output")]))
    shown = (
        stream.feed("It is " + secret[:position])
        + stream.feed(secret[position:] + " ok")
        + stream.finish()
    )
    assert shown == "It is "
    assert stream.blocked_by == "policy:regex"


def test_after_a_block_nothing_comes():
    """The stream is over, and so is its filter."""
    stream = StreamFilter(Chain([Regex("bad", on="output")]))
    assert stream.feed("good bad") == "good "
    assert stream.feed("more") == ""
    assert stream.finish() == ""


@pytest.mark.parametrize("action", ["block", "redact", "flag"])
def test_after_the_end_nothing_comes(action):
    """What is fed too late was judged by nobody."""
    stream = StreamFilter(Chain([Regex("bad", on="output", action=action)]))
    assert stream.feed("good ") + stream.finish() == "good "
    assert [stream.feed(piece) for piece in ("", "more", "bad" * 3000)] == ["", "", ""]


def test_a_stream_that_is_left_goes_at_once():
    """With the text in it: it does not wait for the collector of cycles."""

    class Request:
        pass

    gc.disable()
    try:
        request = Request()
        gone = weakref.ref(request)
        stream = StreamFilter(Chain([Regex("bad", on="output")]), context=request)
        stream.feed("good")
        del request, stream
        assert gone() is None
    finally:
        gc.enable()


def test_whole_text_policy_holds_everything():
    """A policy that needs the whole is not asked about parts."""
    asked = []

    @policy(on="output")
    def look(text):
        asked.append(text)
        return True

    stream = StreamFilter(Chain([look]))
    assert stream.feed("one ") + stream.feed("two") == ""
    assert stream.verdicts[0].status == "skipped"
    assert stream.finish() == "one two"
    assert asked == ["one two"]
    assert stream.verdicts[0].status == "passed"


def test_refused_whole_shows_nothing():
    """Held text that is refused is never seen."""
    stream = StreamFilter(Chain([JsonSchema(dict[str, int], on="output")]))
    shown = stream.feed('{"a": ') + stream.feed('"x"}') + stream.finish()
    assert shown == ""
    assert stream.verdicts[0].labels == ("int_type",)


def test_whole_text_policy_between_windows():
    """Each stage gets what the one before released, as on the whole text."""
    chain = Chain(
        [
            Regex("a+", on="output", action="replace", replacement="1", max_length=9, name="first"),
            policy(on="output", name="upper")(str.upper),
            Regex("B", on="output", action="redact", name="second"),
        ]
    )
    shown, stream = run(chain, list("aab ab"))
    assert shown == chain.screen("aab ab", "output").text == "1<second> 1<second>"
    assert [v.status for v in stream.verdicts] == ["redacted"] * 3


def test_block_before_a_whole_text_policy_shows_nothing():
    """What the whole-text policy did not get to judge is not shown, and it did not pass."""
    chain = Chain([Regex("bad", on="output"), policy(on="output", name="look")(lambda text: True)])
    shown, stream = run(chain, ["good ", "bad"])
    assert shown == ""
    assert [v.status for v in stream.verdicts] == ["blocked", "skipped"]


async def test_async_policy_is_awaited_at_the_end():
    """Only the end waits."""

    @policy(on="output")
    async def look(text):
        return text.replace("a", "b")

    stream = StreamFilter(Chain([look]))
    assert stream.needs_async
    assert stream.feed("aa") == ""
    assert await stream.afinish() == "bb"


def test_async_policy_in_a_sync_stream_is_errored_not_passed():
    """Nobody awaited it, so it judged nothing."""

    @policy(on="output")
    async def look(text):
        return True

    shown, stream = run(Chain([look]), ["text"])
    assert shown == ""
    assert stream.verdicts[0].status == "errored"
    assert stream.blocked_by == "policy:look"


@pytest.mark.parametrize("options", [{"shadow": True}, {"action": "flag"}, {"action": "allow"}])
def test_what_changes_nothing_delays_nothing(options):
    """A policy that only watches does not hold text back."""
    stream = StreamFilter(Chain([Regex("sk-[a-z]{8}", on="output", **options)]))
    assert [stream.feed(piece) for piece in ("sk-abcd", "efgh!")] == ["sk-abcd", "efgh!"]
    assert stream.finish() == ""
    verdict = stream.verdicts[0]
    assert verdict.labels == ("regex",)
    assert verdict.shadow is ("shadow" in options)
    assert (
        verdict.status
        == {"flag": "flagged", "allow": "passed", None: "blocked"}[options.get("action")]
    )
    assert stream.flagged is (options.get("action") == "flag")


def test_watchers_alone_delay_nothing_however_long_the_stream():
    """Pieces are collected only where something may have to be held back."""
    stream = StreamFilter(Chain([Regex("sk-[a-z]{8}", on="output", action="flag")]))
    assert all(stream.feed("word ") == "word " for _ in range(500))


@given(cut(st.text("ab1 ", max_size=6000)))
@settings(max_examples=30, deadline=None)
def test_watchers_alone_see_what_they_would_see_of_the_whole(case):
    """Text that was shown before it was looked at is looked at all the same."""
    text, pieces = case
    chain = Chain([Regex(r"\ba{2,3}b", on="output", action="flag")])
    stream = StreamFilter(chain)
    assert [stream.feed(piece) for piece in pieces] == pieces
    assert stream.finish() == ""
    assert stream.verdicts == chain.screen(text, "output").verdicts


def test_shadowed_whole_text_policy_delays_nothing():
    """It reads along and is asked at the end."""
    stream = StreamFilter(Chain([policy(on="output", shadow=True, name="no")(lambda text: False)]))
    assert stream.feed("text") == "text"
    assert stream.finish() == ""
    assert (stream.verdicts[0].status, stream.verdicts[0].shadow, stream.blocked) == (
        "blocked",
        True,
        False,
    )


def test_raw_reader_sees_what_a_redactor_removed():
    """Whatever its place in the chain."""
    chain = Chain(
        [
            Regex("key", on="output", action="redact", name="hide"),
            Regex("key", on="output", action="flag", reads="raw", name="watch"),
        ]
    )
    shown, stream = run(chain, list("a key"))
    assert shown == "a <hide>"
    assert [v.gate for v in stream.verdicts] == ["policy:hide", "policy:watch"]
    assert [v.status for v in stream.verdicts] == ["redacted", "flagged"]
    assert [v.status for v in chain.screen("a key", "output").verdicts] == ["redacted", "flagged"]


@declarative
class Broken(SpanPolicy):
    """Fails at the sight of an x."""

    def advance(self, text, start=0, *, offset=0, final=True):
        if "x" in text:
            raise RuntimeError("sk-secret")
        return [Finding("b", i, i + 1) for i in range(start, len(text)) if text[i] == "b"], len(
            text
        )


@pytest.mark.parametrize(
    ("on_error", "shown", "blocked"),
    [("block", "a<b>", True), ("flag", "a<b>xb", False), ("allow", "a<b>xb", False)],
)
def test_failure_in_mid_stream(on_error, shown, blocked):
    """Ends the stream or lets the rest go, as told; the verdict says `errored` and nothing of the text."""
    released, stream = run(
        Chain([Broken(on="output", action="redact", on_error=on_error)]), list("abxb")
    )
    assert released == shown
    assert stream.blocked is blocked
    assert stream.flagged is (on_error == "flag")
    verdict = stream.verdicts[0]
    assert verdict.status == "errored"
    assert "RuntimeError" in verdict.reason
    assert "secret" not in verdict.reason


def test_watcher_that_fails_ends_the_stream_for_good():
    """If it is to block when it cannot judge: also where pieces are shown as they come."""
    stream = StreamFilter(Chain([Broken(on="output", action="flag", on_error="block")]))
    pieces = ["a" * 3000, "x" * 3000, "a" * 3000, "a" * 3000]
    shown = [stream.feed(piece) for piece in pieces]
    assert shown[0] == pieces[0]
    assert shown[2:] == ["", ""]
    assert stream.blocked
    assert stream.drain() + stream.finish() == ""


def test_scan_over_its_time_budget():
    """A scan that took too long and found nothing is a failure, and decided as one."""
    clock = FakeClock()

    @declarative
    class Slow(SpanPolicy):
        def advance(self, text, start=0, *, offset=0, final=True):
            clock.advance(1.0)
            return (), len(text)

    released, stream = run(Chain([Slow(on="output", timeout=0.5)], clock=clock), ["text"])
    assert (released, stream.blocked_by) == ("", "policy:policy")
    assert stream.verdicts[0].reason == "took longer than 0.5 s; blocked"


def test_below_its_strictness_a_policy_is_not_applicable():
    """It is not asked, and did not pass."""
    chain = Chain([Regex("bad", on="output", level="strict")])
    stream = StreamFilter(chain)
    assert stream.feed("bad") + stream.finish() == "bad"
    assert stream.verdicts[0].status == "not_applicable"
    strict = StreamFilter(chain, strictness="strict")
    assert strict.feed("bad") + strict.finish() == ""


def test_work_is_linear_in_the_length():
    """However small the pieces, the characters that a policy is shown stay within three times the text."""
    shown = 0

    @declarative
    class Counting(Regex):
        def advance(self, text, start=0, *, offset=0, final=True):
            nonlocal shown
            shown += len(text) - start
            return super().advance(text, start, offset=offset, final=final)

    text = ("word " * 50 + "sk-" + "a" * 900 + "! ") * 100
    counting = Counting("sk-[a-z]{990,1000}", on="output", action="redact")
    released, _ = run(
        Chain([counting]), [text[i : i + 5] for i in range(0, len(text), 5)], impatient=False
    )
    assert released == text
    assert shown <= 3 * len(text)
