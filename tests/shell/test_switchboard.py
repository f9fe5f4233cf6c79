"""The switchboard: who may change what calls do, and that a kill stays on."""

import json
import os
import threading

import pytest

import firedoor as fd
from firedoor.core.board import Board
from firedoor.errors import ConfigurationError, StoreError
from firedoor.shell.prompts import Prompts
from firedoor.shell.switchboard import Switchboard
from firedoor.testing import FakeClock
from support.board_store import FakeBoardStore

BY = {"reason": "refusals up", "actor": "ana"}


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store():
    return FakeBoardStore()


@pytest.fixture
def make(clock):
    made = []

    def build(store=None, **kwargs):
        kwargs.setdefault("watch", False)
        board = Switchboard(store, clock=clock, **kwargs)
        made.append(board)
        return board

    yield build
    for board in made:
        board.close()


@pytest.fixture
def switches(make):
    return make()


def ids(board):
    return [s.id for s in board.active()]


class TestEverySwitch:
    def test_nothing_set_is_one_attribute_away(self, switches):
        assert switches.snapshot.empty
        assert switches.resolve("llm:answer") is None

    def test_each_changes_what_it_says(self, switches):
        switches.alias("gpt-5", "gpt-5-mini", **BY)
        switches.depth("retrieval:kb", 3, **BY)
        switches.prompt("answer", "v12", **BY)
        switches.strictness("strict", **BY)
        switches.safe_mode("checkout-help", **BY)
        switches.minimum_tier("llm:answer", 1, **BY)
        answer = switches.resolve(
            "llm:answer", alias="gpt-5", journey="checkout-help", prompt="answer"
        )
        assert answer.model == "gpt-5-mini"
        assert answer.prompt_revision == "v12"
        assert answer.strictness == "strict"
        assert answer.safe_mode.actor == "ana"
        assert answer.minimum_tier == 1
        assert answer.disabled_by is None
        assert switches.resolve("retrieval:kb").depth == 3
        off = switches.disable("tool:*", **BY)
        assert switches.resolve("tool:refund").disabled_by == off
        assert switches.model("gpt-5").name == "gpt-5-mini"
        assert len(switches.active()) == 7

    def test_safe_mode_takes_its_journey_either_way(self, switches):
        assert switches.safe_mode("a", **BY).target == "a"
        assert switches.safe_mode(journey="b", **BY).target == "b"
        assert switches.safe_mode(**BY).target == "*"

    def test_reason_and_actor_are_asked_for(self, switches, make):
        with pytest.raises(ConfigurationError, match="reason=''.*say why"):
            switches.disable("tool:*", actor="ana")
        with pytest.raises(ConfigurationError, match="actor=''.*say who"):
            switches.disable("tool:*", reason="x")
        with pytest.raises(ConfigurationError, match="actor=''.*say who"):
            make(actor="ci").disable("tool:*", reason="x", actor="")
        assert make(actor="ci").disable("tool:*", reason="x").actor == "ci"
        assert switches.active() == ()

    def test_a_misspelt_term_is_not_swallowed(self, switches):
        with pytest.raises(TypeError, match="journy"):
            switches.disable("tool:*", journy="x", **BY)

    def test_an_unknown_level_of_strictness_lists_the_levels(self, switches):
        with pytest.raises(ConfigurationError, match="normal, strict, lockdown"):
            switches.strictness("harsh", **BY)

    def test_its_time_runs_out_at_the_moment_it_said(self, switches, clock):
        switches.alias("x", "y", **BY)
        made = switches.alias("x", "z", ttl="30m", **BY)
        assert made.expires_at - made.created_at == 1800
        clock.advance(1799)
        assert switches.resolve("llm:a", alias="x").model == "z"
        clock.advance(1)
        assert switches.resolve("llm:a", alias="x").model == "y"
        assert [e.action for e in switches.history()] == ["set", "set", "expired"]

    def test_when_the_last_one_ends_the_board_is_empty_again(self, switches, clock):
        switches.disable("*", ttl=1, **BY)
        clock.advance(1)
        assert switches.resolve("llm:a").disabled_by is None
        assert switches.snapshot.empty

    def test_a_call_keeps_the_snapshot_it_began_with(self, switches):
        switches.alias("x", "y", **BY)
        began = switches.snapshot
        switches.alias("x", "z", in_flight="drain", **BY)
        assert began.model("x", now=0).name == "y"
        assert switches.snapshot is not began


class TestTakingBack:
    def test_revert_is_exact_and_two_are_one(self, switches):
        first = switches.alias("x", "y", **BY)
        second = switches.alias("x", "z", **BY)
        assert switches.revert(second.id, reason="fixed", actor="bo") == second
        assert switches.active() == (first,)
        assert switches.revert(second.id) is None
        last = switches.history()[-1]
        assert (last.action, last.actor, last.reason) == ("reverted", "bo", "fixed")

    def test_an_id_nobody_knows_lists_what_is_on(self, switches):
        made = switches.disable("tool:*", **BY)
        with pytest.raises(ConfigurationError, match=f"'sw-typo'.*{made.id}"):
            switches.revert("sw-typo")

    def test_known_good_and_back(self, switches):
        switches.alias("x", "y", **BY)
        before = switches.active()
        assert switches.mark_known_good("2026-w47", actor="ana").switches == before
        switches.disable("*", **BY)
        worse = switches.active()
        restored = switches.restore("2026-w47", **BY)
        assert switches.active() == before
        assert switches.restored() == restored
        assert list(switches.known_good()) == ["2026-w47"]
        switches.revert(restored.id)
        assert switches.active() == worse
        with pytest.raises(ConfigurationError, match="'2026-w47'"):
            switches.restore("2026-w48", **BY)
        with pytest.raises(ConfigurationError, match="no journey"):
            switches.restore("2026-w47", journey="j", **BY)


class TestListeners:
    def test_they_hear_what_came_and_what_went(self, switches, clock):
        heard = []
        leave = switches.subscribe(heard.append)
        first = switches.disable("tool:*", ttl=5, **BY)
        second = switches.disable("llm:*", **BY)
        switches.revert(second.id)
        clock.advance(5)
        switches.sync()
        assert [(c.added, c.removed) for c in heard] == [
            ((first,), ()),
            ((second,), ()),
            ((), (second,)),
            ((), (first,)),
        ]
        assert heard[-1].snapshot is switches.snapshot
        leave()
        switches.disable("tool:*", **BY)
        assert len(heard) == 4

    def test_one_that_raises_stops_nobody(self, make):
        faults, heard = [], []
        board = make(on_fault=lambda name, error: faults.append((name, str(error))))
        board.subscribe(lambda change: 1 / 0)
        board.subscribe(heard.append)
        board.disable("tool:*", **BY)
        assert len(heard) == 1
        assert faults == [("listener", "division by zero")]

    def test_one_may_set_a_switch_itself(self, switches):
        def also(change):
            if change.added and change.added[0].kind == "disable":
                switches.strictness("strict", reason="a tool is off", actor="rule")

        switches.subscribe(also)
        switches.disable("tool:*", **BY)
        assert [s.kind for s in switches.active()] == ["disable", "strictness"]


class TestTheSharedStore:
    def test_what_one_process_sets_another_does(self, make, store):
        here, there = make(store, watch=True), make(store, watch=True)
        made = here.disable("tool:*", **BY)
        assert there.resolve("tool:refund").disabled_by == made
        there.revert(made.id)
        assert here.active() == ()

    def test_one_that_begins_later_knows_what_is_on(self, make, store):
        made = make(store).disable("tool:*", **BY)
        assert make(store).active() == (made,)

    def test_a_lost_race_is_run_again_on_what_the_other_left(self, make, store):
        here, there = make(store), make(store)
        store.before_swap = lambda: there.disable("llm:*", **BY)
        here.disable("tool:*", **BY)
        there.sync()
        for board in (here, there):
            assert [s.target for s in board.active()] == ["llm:*", "tool:*"]
        assert store.swaps == 3

    def test_many_writers_lose_nothing(self, make, store):
        boards = [make(store) for _ in range(4)]
        made = [[] for _ in boards]

        def write(board, mine):
            for number in range(12):
                switch = board.depth("retrieval:kb", number, **BY)
                mine.append(switch)
                if number % 3 == 0:
                    board.revert(switch.id)

        threads = [threading.Thread(target=write, args=pair) for pair in zip(boards, made)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = {s.id for mine in made for n, s in enumerate(mine) if n % 3}
        boards[0].sync()
        assert set(ids(boards[0])) == expected
        assert {s.id for s in Board.loads(store.text).stack} == expected

    def test_with_the_store_down_the_last_kill_holds(self, make, store, clock):
        faults = []
        board = make(store, watch=True, on_fault=lambda name, error: faults.append(name))
        made = make(store).disable("tool:*", **BY)
        store.fail()
        for _ in range(3):
            clock.advance(3600)
            board.sync()
            assert board.resolve("tool:refund").disabled_by == made
        assert "connection refused" in board.problems["store"]
        assert faults == ["store"]

    def test_a_switch_set_while_the_store_is_down_acts_here_and_is_written_later(self, make, store):
        here, there = make(store), make(store)
        first = here.disable("llm:*", **BY)
        store.down = True
        made = here.disable("tool:*", **BY)
        assert here.resolve("tool:refund").disabled_by == made
        assert here.pending == 1
        assert here.revert(first.id) == first
        assert here.active() == (made,)
        store.down = False
        there.strictness("strict", **BY)
        here.sync()
        assert (here.pending, here.problems) == (0, {})
        there.sync()
        for board in (here, there):
            assert sorted(s.kind for s in board.active()) == ["disable", "strictness"]
        assert here.history() == there.history()

    def test_a_write_whose_answer_was_lost_is_one_write(self, make, store):
        board = make(store)
        swap = store.swap_board

        def lose_the_answer(expected, text):
            swap(expected, text)
            raise StoreError("timed out")

        store.swap_board = lose_the_answer
        board.disable("tool:*", **BY)
        store.swap_board = swap
        board.sync()
        assert len(board.active()) == 1
        assert [e.action for e in board.history()] == ["set"]

    def test_what_others_have_made_impossible_meanwhile_is_dropped_and_told(self, make, store):
        here, there = make(store), make(store)
        store.down = True
        here.alias("x", "y", **BY)
        store.down = False
        there.alias("y", "x", **BY)
        here.sync()
        assert here.pending == 0
        assert [s.target for s in here.active()] == ["y"]
        assert "circle" in here.problems["pending"]

    def test_what_cannot_work_is_refused_at_once_while_the_store_is_down(self, make, store):
        board = make(store)
        store.down = True
        board.alias("x", "y", **BY)
        with pytest.raises(ConfigurationError, match="circle"):
            board.alias("y", "x", **BY)
        assert board.pending == 1

    def test_a_read_overtaken_by_a_write_turns_nothing_back(self, make, store):
        board = make(store)
        read = store.board

        def slow():
            answer = read()
            store.board = read
            board.disable("tool:*", **BY)
            return answer

        store.board = slow
        board.sync()
        assert [s.target for s in board.active()] == ["tool:*"]
        assert board.version == 1

    def test_a_command_line_hears_of_a_dead_store(self, make, store):
        board = make(store, offline="raise")
        store.down = True
        with pytest.raises(StoreError, match="refused"):
            board.disable("tool:*", **BY)
        assert board.active() == ()

    def test_a_process_that_cannot_know_what_is_on_does_not_begin(self, make, store):
        store.down = True
        with pytest.raises(StoreError):
            make(store)

    def test_a_late_message_turns_nothing_back(self, make, store):
        board = make(store, watch=True)
        board.disable("llm:*", **BY)
        late = store.version, store.text
        made = board.disable("tool:*", **BY)
        store.watchers[0][0](*late)
        assert board.resolve("tool:x").disabled_by == made
        assert store.version == 2

    @pytest.mark.parametrize("watch", [True, False])
    def test_a_store_that_lost_its_board_gets_it_back(self, make, store, watch):
        board = make(store, watch=watch)
        made = board.disable("tool:*", **BY)
        store.lose()
        store.push()
        board.sync()
        assert board.active() == (made,)
        assert make(store).active() == (made,)
        assert board.history()[-1].action == "recovered"

    def test_a_store_that_went_back_keeps_what_it_says_and_gets_the_rest(self, make, store):
        here, there = make(store), make(store)
        here.disable("llm:*", **BY)
        old = store.version, store.text
        kept = here.disable("tool:*", **BY)
        store.lose(*old)
        made = there.strictness("strict", **BY)  # never saw the kill: adds to the old board
        here.strictness("lockdown", **BY)
        there.sync()
        assert {kept.id, made.id} <= set(ids(there))
        assert there.active() == here.active()

    def test_an_unreadable_board_turns_nothing_off(self, make, store):
        board = make(store, watch=True)
        made = board.disable("tool:*", **BY)
        store.version, store.text = 9, '{"schema":99}'
        store.push()
        assert board.active() == (made,)
        assert "schema 99" in board.problems["store"]
        board.strictness("strict", **BY)  # acts here; the store's board is not written over
        assert len(board.active()) == 2
        assert store.text == '{"schema":99}'


class TestAWatchedFile:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "switches.toml"

    def write(self, path, text, *, at=[1_700_000_000]):
        at[0] += 1
        new = path.with_suffix(".new")
        new.write_text(text)
        os.utime(new, (at[0], at[0]))
        new.rename(path)
        return at[0]

    def test_it_says_switches_in_toml(self, make, path):
        self.write(
            path,
            """
            [[switches]]
            kind = "disable"
            target = "tool:refund"
            reason = "double refunds"
            actor = "ana"
            journey = "help"
            in_flight = "cut"
            [[switches]]
            kind = "strictness"
            value = "strict"
            reason = "leak"
            """,
        )
        board = make(file=path)
        answer = board.resolve("tool:refund", journey="help")
        assert answer.disabled_by.summary == "tool:refund is off on help"
        assert answer.disabled_by.source == f"file:{path}"
        strict = board.active()[1]
        assert (strict.value, strict.actor) == ("strict", path.owner())
        assert ids(board) == ids(make(file=path))

    def test_it_says_switches_in_json_and_when_they_end(self, make, clock, tmp_path):
        path = tmp_path / "switches.json"
        items = [
            {"kind": "disable", "target": "tool:a", "reason": "r", "until": "2023-11-14T22:13:30Z"},
            {"kind": "disable", "target": "tool:b", "reason": "r", "until": 1_700_000_020},
            {"kind": "disable", "target": "tool:c", "reason": "r", "ttl": "30s"},
        ]
        path.write_text(json.dumps({"switches": items}))
        os.utime(path, (1_700_000_000, 1_700_000_000))
        board = make(file=path)
        left = []
        for _ in range(4):
            left.append(len(board.active()))
            clock.advance(10)
        assert left == [3, 2, 1, 0]

    def test_a_change_acts_and_a_removed_line_is_taken_back(self, make, path):
        board = make(file=path)
        line = '[[switches]]\nkind="disable"\nreason="r"\ntarget='
        self.write(path, line + '"tool:a"')
        board.sync()
        (made,) = board.active()
        self.write(path, line + '"tool:b"')
        board.sync()
        assert [s.target for s in board.active()] == ["tool:b"]
        told = [(e.action, e.subject) for e in board.history()]
        assert ("reverted", made.id) in told
        with pytest.raises(ConfigurationError, match=f"held by file:{path}"):
            board.revert(board.active()[0].id)

    def test_an_empty_file_is_a_kill(self, make, path):
        """Once two looks have seen it empty, for it is empty for a moment while it is saved."""
        board = make(file=path)
        path.touch()
        board.sync()
        assert board.active() == ()
        board.sync()
        assert board.resolve("llm:x").disabled_by.target == "*"
        path.unlink()
        board.sync()
        assert board.resolve("llm:x").disabled_by is not None
        board.sync()
        assert board.resolve("llm:x") is None
        path.touch()
        assert make(file=path).resolve("llm:x").disabled_by is not None

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[[switches]\n", "Expected"),
            ("other = 1", "a list of tables called 'switches'"),
            ('[[switches]]\nkind="disable"\ntarget="tool:a"', "say why"),
            ('[[switches]]\nkind="explode"\ntarget="tool:a"\nreason="r"', "use one of alias"),
            ('[[switches]]\nkind="disable"\ntarget="tool:a"\nreason="r"\nreson="x"', "reson"),
            ('[[switches]]\nkind="strictness"\nvalue="harsh"\nreason="r"', "lockdown"),
            ('[[switches]]\nkind="restore"\ntarget="w47"\nreason="r"', "cannot restore"),
            ('[[switches]]\nkind="disable"\ntarget="*"\nreason="r"\nuntil="soon"', "date and time"),
            ('[[switches]]\nkind="disable"\ntarget="*"\nreason="r"\nuntil=true', "date and time"),
            ('[[switches]]\nkind="disable"\ntarget="*"\nreason="r"\nttl=0', "30m"),
            ('[[switches]]\nkind="disable"\ntarget="*"\nreason="r"\nttl=1\nuntil=1', "not both"),
        ],
    )
    def test_a_file_that_says_nonsense_turns_nothing_off(self, make, path, text, said):
        self.write(path, '[[switches]]\nkind="disable"\ntarget="tool:a"\nreason="r"')
        board = make(file=path)
        (made,) = board.active()
        self.write(path, text)
        board.sync()
        assert board.active() == (made,)
        assert said in board.problems[f"file:{path}"]
        assert str(path) in board.problems[f"file:{path}"]
        with pytest.raises(ConfigurationError, match="switches.toml"):
            make(file=path)
        self.write(path, "switches = []")
        board.sync()
        assert (board.active(), board.problems) == ((), {})

    def test_a_disk_that_went_away_turns_nothing_off(self, make, tmp_path):
        folder = tmp_path / "mount"
        folder.mkdir()
        path = folder / "switches.toml"
        path.touch()
        board = make(file=path)
        folder.rename(tmp_path / "gone")
        for _ in range(3):
            board.sync()
        assert board.resolve("llm:x").disabled_by is not None
        assert "FileNotFoundError" in board.problems[f"file:{path}"]

    def test_a_path_that_cannot_work_is_refused(self, make, tmp_path):
        with pytest.raises(ConfigurationError, match=r"name it .toml or .json"):
            make(file=tmp_path / "switches.yaml")
        with pytest.raises(ConfigurationError, match="no folder"):
            make(file=tmp_path / "none" / "switches.toml")

    def test_a_thread_follows_it(self, make, path):
        board = make(file=path, watch=True, poll=0.01)
        acted = threading.Event()
        board.subscribe(lambda change: acted.set())
        path.touch()
        assert acted.wait(10)
        assert board.resolve("llm:x").disabled_by.reason == "the kill file is there and empty"


class TestAnotherSource:
    class Flags:
        name = "flags"
        problem = None

        def __init__(self, said=()):
            self.said = said
            self.error = None

        def read(self):
            if self.error is not None:
                raise self.error
            return self.said

    def test_what_it_said_last_stays_until_it_is_heard_again(self, make, switches):
        kill = make().disable("tool:*", **BY)
        flags = self.Flags((kill,))
        leave = switches.add_source(flags)
        flags.said, flags.error = (), OSError("down")
        switches.sync()
        assert switches.active() == (kill,)
        flags.error = None
        switches.sync()
        assert switches.active() == ()
        flags.said = (kill,)
        switches.sync()
        leave()
        assert switches.active() == ()
        with pytest.raises(ConfigurationError, match="already"):
            switches.add_source(flags)
            switches.add_source(flags)

    def test_restore_leaves_it_alone(self, make, switches):
        kill = make().disable("tool:*", **BY)
        switches.mark_known_good("calm")
        switches.add_source(self.Flags((kill,)))
        switches.restore("calm", **BY)
        assert switches.active() == (kill,)


def test_a_forked_worker_follows_the_store_too(make, store):
    """Threads do not come along into a fork; the watch is begun again there."""
    board = make(store, watch=True)
    board._lock.acquire()  # as if another thread had held it
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            watching = len(store.watchers) == 2 and board._chores.running
            made = board.disable("tool:*", **BY)
            ok = watching and board.active() == (made,)
            os.write(write, b"ok" if ok else b"no")
        finally:
            os._exit(0)
    board._lock.release()
    os.waitpid(pid, 0)
    assert os.read(read, 2) == b"ok"


class TestPrompts:
    @pytest.fixture
    def prompts(self, switches):
        prompts = Prompts(switches)
        prompts.register("answer", {"v12": "old", "v13": "new"}, active="v13")
        return prompts

    def test_the_active_revision_unless_a_switch_holds_another(self, prompts, switches):
        assert prompts.get("answer").revision == "v13"
        made = switches.prompt("answer", "v12", **BY)
        assert prompts.get("answer").text == "old"
        switches.revert(made.id)
        assert prompts.get("answer").text == "new"

    def test_a_journey_of_its_own(self, prompts, switches, door):
        switches.prompt("answer", "v12", journey="help", **BY)
        assert prompts.get("answer").revision == "v13"
        with door.request("help"):
            assert prompts.get("answer").revision == "v12"
        with door.request("other"):
            assert prompts.get("answer").revision == "v13"

    def test_rolling_back_is_a_switch(self, prompts, switches):
        made = prompts.rollback("answer", **BY)
        assert (made.kind, made.value) == ("prompt", "v12")
        assert prompts.get("answer").revision == "v12"
        with pytest.raises(ConfigurationError, match="first revision"):
            prompts.rollback("answer", **BY)
        switches.revert(made.id)
        assert prompts.get("answer").revision == "v13"

    def test_an_unknown_name_lists_what_is_defined(self, prompts):
        with pytest.raises(ConfigurationError, match="'greeting'.*'answer'"):
            prompts.get("greeting")

    def test_a_revision_this_process_lacks_is_told_and_the_active_one_answers(self, switches):
        faults = []
        prompts = Prompts(switches, on_fault=lambda name, error: faults.append(str(error)))
        prompts.register("answer", {"v13": "new"}, active="v13")
        switches.prompt("answer", "v14", **BY)
        assert prompts.get("answer").revision == "v13"
        assert "'v14'" in faults[0]

    def test_what_is_registered_can_be_listed(self, prompts):
        assert prompts.names() == ("answer",)
        assert [p.revision for p in prompts.revisions("answer")] == ["v12", "v13"]
        with pytest.raises(ConfigurationError, match="name=''"):
            prompts.register("", {"a": "b"}, active="a")

    def test_another_resolver_may_say_what_is_held(self, switches):
        prompts = Prompts(switches, held=lambda name: "v12")
        prompts.register("answer", {"v12": "old", "v13": "new"}, active="v13")
        assert prompts.get("answer").revision == "v12"


def test_firedoor_errors_are_what_is_raised():
    assert issubclass(fd.ConfigurationError, ValueError)
