"""What policies cost: a call's screening, and a stream in small pieces against its whole.

Run: python benchmarks/policies.py [--pieces 200000]
Ratios count, not times: everything compared runs interleaved in one process.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time

from firedoor.policies import Chain, MaxLength, Regex, StreamFilter

WORDS = (
    "the order was shipped on monday and should arrive within three days please check the tracking page for "
    "details or contact support with reference 48213 if nothing has come by then thank you for your patience "
).split()


def text_of(size, *, secrets):
    """Prose of `size` characters, with or without something to find every few hundred."""
    generator = random.Random(7)
    parts = []
    length = 0
    while length < size:
        word = generator.choice(WORDS)
        if secrets and generator.random() < 0.02:
            word = generator.choice(
                ["zeta-482133", "sk-" + "a1B2" * 8, "ana@example.com", "4111 1111 1111 1111"]
            )
        parts.append(word)
        length += len(word) + 1
    return " ".join(parts)[:size]


def chains():
    """The chains measured, by name."""
    found = {
        "Regex, literal head": Chain([Regex("zeta-[0-9]{6}", on="output", action="redact")]),
        "Regex, word boundary and class": Chain(
            [
                Regex(
                    r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,255}\.[A-Za-z]{2,24}\b",
                    on="output",
                    action="redact",
                )
            ]
        ),
        "four Regex and MaxLength": Chain(
            [
                Regex("zeta-[0-9]{6}", on="output", action="redact"),
                Regex(r"\bsk-[A-Za-z0-9]{20,48}\b", on="output", action="redact"),
                Regex(r"(?<!\d)(?:\d{4}[ -]?){3}\d{4}(?!\d)", on="output", action="redact"),
                Regex("internal use only", on="output", action="flag"),
                MaxLength(10_000_000, on="output"),
            ]
        ),
    }
    try:
        from firedoor.policies import PersonalData, Secrets
    except ImportError:
        return found
    found["Secrets"] = Chain([Secrets(on="output", action="redact")])
    found["PersonalData"] = Chain([PersonalData(on="output", action="redact")])
    found["Secrets and PersonalData"] = Chain(
        [Secrets(on="output", action="redact"), PersonalData(on="output", action="redact")]
    )
    return found


def streamed(chain, pieces):
    stream = StreamFilter(chain)
    feed = stream.feed
    shown = [feed(piece) for piece in pieces]
    shown.append(stream.finish())
    return "".join(shown)


class Collector:
    """What any filter has to do with a piece at the least: keep it and see whether it is enough."""

    def __init__(self):
        self.pieces = []
        self.room = 1 << 60

    def feed(self, piece):
        self.pieces.append(piece)
        self.room -= len(piece)
        return "" if self.room >= 0 else None


def collected(pieces):
    collector = Collector()
    shown = [collector.feed(piece) for piece in pieces]
    shown.append("".join(collector.pieces))
    return "".join(shown)


def timed(work, *arguments):
    began = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - began, result


def streams(size, count, rounds):
    print(f"{size / 1e6:g} MB in {count} pieces, median of {rounds} interleaved rounds")
    print("calls: the pieces taken by as many Python calls, which is all that a bare append costs")
    print(
        f"{'chain':34} {'text':8} {'whole ms':>9} {'stream ms':>10} {'ratio':>6} {'calls ms':>9} {'without':>8}"
    )
    for name, chain in chains().items():
        for secrets in (False, True):
            text = text_of(size, secrets=secrets)
            step = size / count
            pieces = [text[round(i * step) : round((i + 1) * step)] for i in range(count)]
            wholes, parts, floors = [], [], []
            for _ in range(rounds):
                whole_s, screening = timed(chain.screen, text, "output")
                stream_s, shown = timed(streamed, chain, pieces)
                assert shown == screening.text
                wholes.append(whole_s)
                parts.append(stream_s)
                floors.append(timed(collected, pieces)[0])
            ratio = statistics.median(b / a for a, b in zip(wholes, parts))
            rest = statistics.median((b - c) / a for a, b, c in zip(wholes, parts, floors))
            kind = "seeded" if secrets else "clean"
            print(
                f"{name:34} {kind:8} {statistics.median(wholes) * 1e3:9.1f} {statistics.median(parts) * 1e3:10.1f} {ratio:6.2f} {statistics.median(floors) * 1e3:9.1f} {rest:8.2f}"
            )


def calls():
    print("\none screening of one text, µs (the search itself in brackets)")
    for size in (100, 1000, 10_000):
        text = text_of(size, secrets=False)
        policy = Regex("zeta-[0-9]{6}", on="input")
        for name, chain in (
            ("no policy", Chain()),
            ("one Regex", Chain([policy])),
            ("four Regex", Chain([policy] * 4)),
        ):
            number = 20_000 if size < 5000 else 2000
            took = min(_each(chain.screen, text, "input", number=number) for _ in range(5))
            bare = min(_each(policy.find, text, number=number) for _ in range(5)) * len(
                chain.policies
            )
            print(f"{size:6} characters, {name:12} {took * 1e6:8.2f}  ({bare * 1e6:.2f})")


def _each(work, *arguments, number):
    began = time.perf_counter()
    for _ in range(number):
        work(*arguments)
    return (time.perf_counter() - began) / number


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--pieces", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    streams(options.size, options.pieces, options.rounds)
    calls()
