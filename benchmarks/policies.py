"""What policies cost: a call's screening, and a stream in small pieces against its whole.

Run: python benchmarks/policies.py [--pieces 200000]
Ratios count, not times: everything compared runs interleaved in one process, in CPU time.

The bar for a stream is three times the filtering of its whole. Below it lies a floor, by the pieces and
not by the policies:

* reading: `for piece in stream: shown.append(piece)`, which goes on whatever filters the pieces;
* a call a piece: reading, and a Python function for each piece that does nothing. No filter that is fed
  pieces is below this, so "floor" is this over the whole, in the unit of the bar.

Where the floor alone is above the bar (a literal: searching a megabyte takes 0.3 ms, calling 200,000 times
nothing 6), the ratio says nothing about the filter: there what a piece costs beyond the floor counts, in ns.
`--profile` shows where a stream's time goes: in the scans, or in being called.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
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


def called(pieces):
    def feed(piece):
        return ""

    shown = [feed(piece) for piece in pieces]
    return "".join(shown)


def read(pieces):
    shown = []
    for piece in pieces:
        shown.append(piece)  # noqa: PERF402 - the loop is what is measured
    return "".join(shown)


def timed(work, *arguments):
    began = time.process_time()
    result = work(*arguments)
    return time.process_time() - began, result


def streams(size, count, rounds):
    print(f"{size / 1e6:g} MB in {count} pieces, minima of {rounds} interleaved rounds, ms")
    print(
        f"{'chain':31} {'text':6} {'whole':>6} {'reading':>8} {'a call':>7} {'stream':>7}"
        f" {'floor':>6} {'stream':>7} {'beyond reading':>15} {'ns a piece':>11}"
    )
    print(
        f"{'':31} {'':6} {'':6} {'':8} {'a piece':>7} {'':7}"
        f" {'/whole':>6} {'/whole':>7} {'/whole':>15} {'beyond floor':>12}"
    )
    for name, chain in chains().items():
        for secrets in (False, True):
            text = text_of(size, secrets=secrets)
            step = size / count
            pieces = [text[round(i * step) : round((i + 1) * step)] for i in range(count)]
            rows = []
            for _ in range(rounds):
                whole_s, screening = timed(chain.screen, text, "output")
                stream_s, shown = timed(streamed, chain, pieces)
                assert shown == screening.text
                rows.append((whole_s, timed(read, pieces)[0], timed(called, pieces)[0], stream_s))
            whole, reading, floor, stream = (min(column) for column in zip(*rows))
            print(
                f"{name:31} {'seeded' if secrets else 'clean':6} {whole * 1e3:6.1f} {reading * 1e3:8.1f}"
                f" {floor * 1e3:7.1f} {stream * 1e3:7.1f} {floor / whole:6.2f} {stream / whole:7.2f}"
                f" {(stream - reading) / whole:15.2f} {(stream - floor) / count * 1e9:11.0f}"
            )


def profile(size, count):
    """Where the time of a stream goes; the profiler adds to each call, least to the scans."""
    text = text_of(size, secrets=False)
    step = size / count
    pieces = [text[round(i * step) : round((i + 1) * step)] for i in range(count)]
    for name in ("Regex, literal head", "Secrets", "PersonalData"):
        profiler = cProfile.Profile()
        profiler.runcall(streamed, chains()[name], pieces)
        print(f"\n{name}")
        pstats.Stats(profiler).sort_stats("tottime").print_stats(8)


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
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", action="store_true", help="where a stream's time goes")
    options = parser.parse_args()
    if options.profile:
        profile(options.size, options.pieces)
    else:
        streams(options.size, options.pieces, options.rounds)
        calls()
