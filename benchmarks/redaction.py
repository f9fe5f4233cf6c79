"""What redaction costs and finds: against one big expression, against peers, as text grows.

Run: python benchmarks/redaction.py [--rounds 9] [--largest 10] [--quick]
Peers that are not installed are left out (presidio-analyzer with presidio-anonymizer, scrubadub,
detect-secrets). Ratios count, not times: everything compared runs interleaved in one process.

"removed" says how many of the planted values are gone afterwards: speed without it means nothing.
The nine patterns of the reference were written with these values in view; it judges no false ones.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import random
import re
import string
import sys
import time
from pathlib import Path

from _harness import interleave, loop, ratios, spread, table, versions

from firedoor.privacy import Redactor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.labelled import score

PROSE = (
    "thank you for your patience while we looked into this the courier scanned your parcel at the depot "
    "on tuesday and then nothing more was heard of it so we have opened a claim and will send another one "
    "today unless you would rather have your money back in which case just reply with one word and the "
    "refund goes out before the end of the week we are sorry for the trouble this has caused and hope that "
    "the small voucher makes up for some of it kind regards from everyone at the support desk"
).split()
NUMBERS = ["3,", "12", "2027.", "#7", "9am", "14:45"]
"""What ordinary text has of digits: one word in seventeen."""
PLANTED = [
    "maria.lindqvist@example.com", "t.okafor+orders@mail.example.org", "help@store.example.net",
    "+1 (212) 555-0164", "646-555-0117", "+44 20 7946 0321",
    "4242 4242 4242 4242", "5555-5555-5555-4444", "371449635398431",
    "NL91ABNA0417164300", "GB82 WEST 1234 5698 7654 32", "FR7630006000011234567890189",
    "10.20.30.40", "198.51.100.23", "2001:db8:1f70::999:de8:7648",
    "sk-proj-Qm4tY8wK2nV6xC1bZ9sL3dF7", "AKIAJ5Q7LZ3XWVT2YBNM", "ghp_9aB3cD7eF1gH5iJ8kL2mN6oP0qR4sT3uV7wX",
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhcHAifQ.Rk3vQ9xT7bL2mN8pR4wY6cF1hJ5kD0aSqW3eR5tY7uI",
    "457-55-5462",
]  # fmt: skip

PATTERNS = [
    r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9.\-]{1,255}\.[A-Za-z]{2,24}",
    r"eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}",
    r"(?:sk-(?:proj-)?[A-Za-z0-9_\-]{16,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36})",
    r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    r"\b[0-9](?:[ \-]?[0-9]){12,18}\b",
    r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b",
    r"(?:\+[0-9]{1,3}[ \-]?)?\(?[0-9]{2,4}\)?[ \-][0-9]{3,4}[ \-][0-9]{4}\b",
    r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b",
    r"\b[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7}[0-9A-Fa-f]{1,4}\b",
]
"""E-mail, JWT, provider keys, IBAN, card, SSN, telephone, IPv4, IPv6, as one would write them in an hour."""
REFERENCE = re.compile("|".join(PATTERNS))


def letter(size, *, every, seed=11):
    """Prose of about `size` characters with one planted value in `every`; and those values."""
    chance = random.Random(seed)
    values = chance.sample(PLANTED, len(PLANTED))
    words, planted, length, since = [], [], 0, 0
    while length < size:
        if every and since > every:
            word = values[len(planted) % len(values)]
            planted.append(word)
            since = 0
        else:
            word = chance.choice(NUMBERS if chance.random() < 1 / 17 else PROSE)
            if chance.random() < 0.03:
                word += ".\n"
        words.append(word)
        length += len(word) + 1
        since += len(word) + 1
    return " ".join(words), planted


TEXTS = {
    "1 KB": letter(1024, every=250),
    "10 KB": letter(10_240, every=250),
    "10 KB clean": letter(10_240, every=0),
}


KEPT = contextlib.ExitStack()


@functools.cache
def peers():
    """Functions from text to redacted text, of the peers that are installed."""
    logging.disable(logging.CRITICAL)
    found = {}
    try:
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import NoOpNlpEngine
        from presidio_anonymizer import AnonymizerEngine
    except ImportError:
        pass
    else:
        registry = RecognizerRegistry()
        registry.load_predefined_recognizers()
        for recognizer in list(registry.recognizers):
            if type(recognizer).__name__ in {
                "SpacyRecognizer",
                "TransformersRecognizer",
                "StanzaRecognizer",
            }:
                registry.remove_recognizer(recognizer.name)
        engine = AnalyzerEngine(
            registry=registry,
            nlp_engine=NoOpNlpEngine(models=[{"lang_code": "en", "model_name": "none"}]),
            supported_languages=["en"],
        )
        anonymizer = AnonymizerEngine()

        def presidio(text):
            return anonymizer.anonymize(text, engine.analyze(text, language="en")).text

        found["presidio, no NLP"] = presidio
    try:
        import scrubadub
    except ImportError:
        pass
    else:
        found["scrubadub"] = scrubadub.clean
    try:
        from detect_secrets.core.scan import scan_line
        from detect_secrets.settings import default_settings
    except ImportError:
        pass
    else:

        def detect_secrets(text):
            for line in text.split("\n"):
                for secret in scan_line(line):
                    if secret.secret_value:
                        text = text.replace(secret.secret_value, "[X]")
            return text

        # Its plugins are those of the settings in force: they stay so for the whole run.
        KEPT.enter_context(default_settings())

        found["detect-secrets"] = detect_secrets
    return found


def against_others(rounds):
    """Time per text of everyone, in one interleaved run."""
    redactor = Redactor()
    cases = {
        "nine patterns, one alternation": lambda text: REFERENCE.sub("[X]", text),
        "firedoor, all detectors": redactor.redact_text,
        **peers(),
    }
    runs = {
        (name, size): loop(lambda redact=redact, text=text: redact(text))
        for name, redact in cases.items()
        for size, (text, _) in TEXTS.items()
    }
    figures = interleave(runs, rounds=rounds)
    rows = []
    for name, redact in cases.items():
        row = [name]
        for size in TEXTS:
            row += [spread(figures[name, size]).median]
            base = figures["nine patterns, one alternation", size]
            row += [ratios(base, figures[name, size]).median]
        text, planted = TEXTS["10 KB"]
        after = redact(text)
        rows.append([*row, f"{sum(value not in after for value in planted)}/{len(planted)}"])
    headings = ["redactor"]
    for size in TEXTS:
        headings += [f"µs {size}", "times as fast"]
    print(table([*headings, "removed"], rows))
    ours = figures["firedoor, all detectors", "10 KB"]
    for name in peers():
        print(
            f"{name}: {ratios(figures[name, '10 KB'], ours).median:,.0f} times the time of firedoor"
        )


def short_strings(rounds):
    """What every call pays: model names and ids."""
    redact = Redactor().redact_text
    chance = random.Random(3)
    names = [
        "chatcmpl-" + "".join(chance.choices(string.ascii_letters + string.digits, k=29))
        for _ in range(400_000)
    ]
    fresh = iter(names * 100)
    figures = interleave(
        {
            "a name seen before": loop(lambda: redact("gpt-4o-2024-08-06")),
            "a response id, new each time": loop(lambda: redact(next(fresh))),
        },
        rounds=rounds,
        seconds=0.02,
    )
    print(
        table(["short string", "µs"], [[name, spread(one).median] for name, one in figures.items()])
    )


HOSTILE = [
    "@", "a@a.", "1 ", "4111 ", "(1) ", "+1 ", "eyJ", "eyJaaaaaa.", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----\n",
    "://a:b", "password=", 'password="a', "password=f(", ":", "2001:", "aa:", "sk-", "ghp_a", "AKIA", "GB29NWBK",
    "<email:12345678>", "1\u200b", "call 555-01", "1.2.3.", "4111 1111 1111 1111 ",
]  # fmt: skip


def growth(largest_mb):
    """Nanoseconds per character as a text grows: flat where the work is linear."""
    sizes = [
        size
        for size in (1024, 10_240, 102_400, 1_048_576, 10_485_760)
        if size <= largest_mb * 1_048_576
    ]
    redactor = Redactor(max_text=100 * 1_048_576)

    def cost(text):
        times = []
        for _ in range(max(1, min(5, 2_000_000 // len(text)))):
            began = time.perf_counter()
            redactor.redact_text(text)
            times.append(time.perf_counter() - began)
        return min(times) / len(text) * 1e9

    rows = [
        [name, *(cost(letter(size, every=every)[0]) for size in sizes)]
        for name, every in (("prose, a value in 250 characters", 250), ("clean prose", 0))
    ]
    hostile = [size for size in sizes if size <= 1_048_576]
    for unit in HOSTILE:
        costs = [cost(unit * (size // len(unit))) for size in hostile]
        rows.append([f"{unit!r} repeated", *costs, *[None] * (len(sizes) - len(hostile))])
    print(table(["ns per character", *(f"{size // 1024:,} KB" for size in sizes)], rows))


def accuracy():
    """Precision and recall per kind on the labelled set of the tests, with which the detectors were made."""
    scores, _ = score(Redactor())
    print(
        table(
            ["kind", "found", "missed", "wrong", "precision", "recall"],
            [
                [kind, s.right, s.missed, s.wrong, s.precision, s.recall]
                for kind, s in sorted(scores.items())
            ],
        )
    )


def main():
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--largest", type=float, default=10, help="megabytes of the longest text")
    parser.add_argument("--quick", action="store_true", help="few rounds, texts up to 100 KB")
    given = parser.parse_args()
    rounds, largest = (3, 0.1) if given.quick else (given.rounds, given.largest)
    print(versions("presidio-analyzer", "scrubadub", "detect-secrets"), end="\n\n")
    against_others(rounds)
    print()
    short_strings(rounds)
    print()
    growth(largest)
    print()
    accuracy()


if __name__ == "__main__":
    main()
