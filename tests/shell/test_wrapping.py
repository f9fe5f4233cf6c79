"""A guarded function is the function it was, in every shape and binding."""

import copy
import functools
import gc
import inspect
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest

import firedoor as fd


def test_a_function_keeps_its_name_docstring_and_signature(door):
    @door.llm("answer", model="m")
    def answer(question: str, *, temperature: float = 0.5) -> str:
        """Answers."""
        return question

    assert answer.__name__ == "answer"
    assert answer.__doc__ == "Answers."
    assert str(inspect.signature(answer)) == "(question: str, *, temperature: float = 0.5) -> str"


def test_flavours_answer_inspect_truthfully(door):
    @door.llm("a")
    async def coroutine(): ...

    @door.llm("b")
    def generator():
        yield

    @door.llm("c")
    async def async_generator():
        yield

    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(async_generator)


class Desk:
    """Built per test by `desk`, so that each binding is decorated by the test's own door."""


@pytest.fixture
def desk(door):
    class Desk:
        greeting = "hello"

        @door.tool("method")
        def method(self, name):
            return f"{self.greeting} {name}"

        @door.tool("outer-class")
        @classmethod
        def outer_class(cls, name):
            return f"{cls.greeting} {name}"

        @classmethod
        @door.tool("inner-class")
        def inner_class(cls, name):
            return f"{cls.greeting} {name}"

        @door.tool("outer-static")
        @staticmethod
        def outer_static(name):
            return f"hello {name}"

        @staticmethod
        @door.tool("inner-static")
        def inner_static(name):
            return f"hello {name}"

    return Desk


@pytest.mark.parametrize(
    "name", ["method", "outer_class", "inner_class", "outer_static", "inner_static"]
)
def test_methods_of_every_kind_are_bound_as_before_and_recorded(desk, seen, name):
    assert getattr(desk(), name)("Ana") == "hello Ana"
    assert [d.route for d in seen.decisions] == [f"tool:{name.replace('_', '-')}"]


def test_a_method_called_through_its_class_works(desk, seen):
    assert desk.method(desk(), "Ana") == "hello Ana"
    assert len(seen.decisions) == 1


def test_a_callable_object_keeps_its_attributes(door, seen):
    class Search:
        index = "kb"

        def __call__(self, query):
            return [{"id": "d1", "score": 0.5}]

    search = door.retrieval("kb")(Search())
    assert search.index == "kb"
    assert search("q") == [{"id": "d1", "score": 0.5}]
    assert [s.id for s in seen.decisions[0].sources] == ["d1"]


async def test_an_async_callable_object_is_awaited(door, seen):
    class Search:
        async def __call__(self, query):
            return [{"id": "d1"}]

    assert await door.retrieval("kb")(Search())("q") == [{"id": "d1"}]
    assert len(seen.decisions) == 1


def test_a_partial_is_guarded(door, seen):
    def add(a, b):
        return a + b

    assert door.tool("add")(functools.partial(add, 1))(2) == 3
    assert seen.decisions[0].outcome == "answered"


async def test_a_function_that_returns_an_awaitable_is_recorded_when_awaited(door, seen):
    async def inner():
        return "hi"

    guarded = door.llm("answer")(lambda: inner())
    pending = guarded()
    assert not seen.decisions
    assert await pending == "hi"
    assert [d.outcome for d in seen.decisions] == ["answered"]


class TestModel:
    def test_is_filled_in_when_the_function_declares_it(self, door, seen):
        @door.llm("answer", model="gpt-5")
        def answer(question, *, model):
            return model

        assert answer("?") == "gpt-5"
        assert seen.decisions[0].alias == seen.decisions[0].model == "gpt-5"

    def test_given_by_the_caller_wins(self, door, seen):
        @door.llm("answer", model="gpt-5")
        def answer(question, model=None):
            return model

        assert answer("?", "gpt-5-mini") == "gpt-5-mini"
        assert seen.decisions[0].alias == "gpt-5-mini"

    def test_routed_default_is_replaced(self, door):
        @door.llm("answer", model="gpt-5")
        def answer(question: str, *, model: str = fd.ROUTED) -> str:
            return model

        assert answer("?") == "gpt-5"

    @pytest.mark.parametrize("given", ["by position", "by name", "past the signature"])
    def test_an_alias_moves_it_however_it_was_given(self, door, seen, given):
        """What the decision says was called is what was called."""

        @door.llm("a", model="gpt-5")
        def answer(question, model=fd.ROUTED):
            return model

        @door.llm("b", model="gpt-5")
        def forwards(question, **options):
            return options["model"]

        door.switches.alias("gpt-5", "gpt-5-mini", reason="r", actor="ana")
        call = {
            "by position": lambda: answer("hi", "gpt-5"),
            "by name": lambda: answer("hi", model="gpt-5"),
            "past the signature": lambda: forwards("hi", model="gpt-5"),
        }[given]
        assert call() == "gpt-5-mini"
        assert (seen.decisions[0].alias, seen.decisions[0].model) == ("gpt-5", "gpt-5-mini")

    @pytest.mark.parametrize("by_name", [True, False])
    def test_of_a_call_takes_the_place_of_the_first_tiers(self, make_door, seen, by_name):
        door = make_door(prices={"big": (1, 1), "small": (2, 2), "huge": (1000, 1000)})

        @door.llm("answer", tiers=[fd.Tier("big"), fd.Tier("small")], budgets=[fd.Budget(usd=10)])
        def answer(question, model=fd.ROUTED, *, down=()):
            if model in down:
                raise ConnectionError(model)
            return {
                "object": "chat.completion",
                "model": model,
                "choices": [{"finish_reason": "stop", "message": {"content": "hi"}}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 10},
            }

        def ask(**options):
            return (
                answer("hi", model="huge", **options)
                if by_name
                else answer("hi", "huge", **options)
            )

        assert ask()["model"] == "huge"
        assert seen.decisions[0].model == "huge"
        assert seen.decisions[0].cost_usd == pytest.approx(20 * 1000 / 1e6)
        assert ask(down=["huge"])["model"] == "small"
        assert [a.model for a in seen.decisions[1].attempts] == ["huge", "small"]

    def test_that_is_no_name_is_the_callers_own(self, door):
        """Until the call moves on to a model the door knows by its name."""
        own = object()

        @door.llm("answer", tiers=[fd.Tier("big"), fd.Tier("small")])
        def answer(*, model, down=False):
            if down and model is own:
                raise ConnectionError
            return model

        assert answer(model=own) is own
        assert answer(model=own, down=True) == "small"
        assert answer(model=None) == "big"

    def test_is_not_forced_on_a_function_without_it(self, door, seen):
        @door.llm("answer", model="gpt-5")
        def answer(question):
            return question

        assert answer("?") == "?"
        assert seen.decisions[0].model == "gpt-5"


class TestDoubleWrapping:
    def test_is_refused_with_the_remedy(self, door):
        @door.llm("answer")
        def answer(): ...

        with pytest.raises(fd.ConfigurationError, match="guarded already"):
            door.tool("again")(answer)

    def test_is_found_under_other_decorators(self, door):
        @door.llm("answer")
        def answer(): ...

        @functools.wraps(answer)
        def outer():
            return answer()

        with pytest.raises(fd.ConfigurationError, match="guarded already"):
            door.llm("again")(outer)

    def test_is_found_under_a_partial(self, door):
        answer = door.llm("a")(lambda greeting, question: (greeting, question))
        with pytest.raises(fd.ConfigurationError, match="guarded already"):
            door.llm("b")(functools.partial(answer, "hello"))

    def test_is_found_on_a_bound_method(self, desk, door):
        with pytest.raises(fd.ConfigurationError, match="guarded already"):
            door.tool("again")(desk().method)


@pytest.mark.parametrize("name", ["", "a:b", "a b", "*", "a/b"])
def test_a_name_that_would_confuse_a_switch_is_refused(door, name):
    with pytest.raises(fd.ConfigurationError, match="name"):
        door.llm(name)


def test_forgetting_the_parentheses_is_explained(door):
    with pytest.raises(fd.ConfigurationError, match="some-name"):

        @door.llm
        def answer(): ...


def test_what_cannot_be_called_is_refused(door):
    with pytest.raises(fd.ConfigurationError, match="int"):
        door.llm("answer")(3)


class TestDisabled:
    def test_passes_calls_through_with_their_model(self, make_door, seen):
        door = make_door(enabled=False)

        @door.llm("answer", model="gpt-5")
        def answer(question, *, model):
            return model

        assert answer("?") == "gpt-5"
        assert not seen.decisions
        assert not seen.spans

    def test_lets_blocks_and_requests_through_as_well(self, make_door, seen):
        """No gate is asked: it is how firedoor is taken out of the way."""
        door = make_door(enabled=False)
        guard = door.llm(
            "draft",
            tiers=[fd.Tier("big"), fd.Tier("small"), fd.Canned("later")],
            budgets=[fd.Budget(calls=1)],
            limiter=fd.Limiter(max_concurrent=1),
            policies=[fd.policies.Regex("secret", on="output", action="block")],
        )
        door.switches.disable("llm:draft", reason="r", actor="ana")
        with door.request("help", deadline=0) as request:
            for _ in range(3):
                with guard as call:
                    assert call.record(f"a secret of {call.model}") == "a secret of big"
                attempts = guard.attempts()
                for attempt in attempts:
                    with attempt:
                        stream = attempt.record(iter([attempt.model]))
                assert list(stream) == ["big"]
                assert attempts.response is None
        with pytest.raises(ConnectionError), guard:
            raise ConnectionError
        assert request.outcome == "answered"
        assert not seen.decisions
        assert not seen.spans

    def test_by_environment(self, make_door, monkeypatch, seen):
        monkeypatch.setenv("FIREDOOR_DISABLED", "1")
        make_door().tool("t")(lambda: 1)()
        assert not seen.decisions

    def test_a_bad_flag_is_an_error(self, make_door, monkeypatch):
        monkeypatch.setenv("FIREDOOR_DISABLED", "maybe")
        with pytest.raises(fd.ConfigurationError, match="FIREDOOR_DISABLED"):
            make_door()


def test_a_call_leaves_nothing_to_the_collector(door):
    """A circle would keep a caller's frames alive, and cost every call its share of a collection."""

    @door.llm("answer", tiers=[fd.Tier("big"), fd.Tier("small")], budgets=[fd.Budget(calls=10)])
    def answer(question, *, model):
        if model == "big":
            raise ConnectionError
        return question

    @door.tool("refund")
    def refund(amount):
        raise ValueError(amount)

    def call():
        with door.request("checkout"):
            answer("hi")
            with pytest.raises(ValueError):
                refund(3)

    call()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        call()
        gc.collect()
        left = {type(found).__name__ for found in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not left & {"Call", "Attempt", "Ladder", "Purse", "Decision", "ConnectionError"}


DOOR = fd.Firedoor("pickled")


@DOOR.llm("answer", model="m")
def pickled(question, *, model=fd.ROUTED):
    return question, model


class Pickled:
    @DOOR.tool("method")
    def method(self):
        return type(self).__name__

    @DOOR.tool("outer")
    @classmethod
    def outer(cls):
        return cls.__name__

    @classmethod
    @DOOR.tool("inner")
    def inner(cls):
        return cls.__name__

    @DOOR.tool("outer-static")
    @staticmethod
    def static():
        return "static"


class Child(Pickled):
    pass


class TestPickling:
    """As functions are, by their names: process pools and task queues ask for it."""

    def test_a_function(self):
        assert pickle.loads(pickle.dumps(pickled)) is pickled
        assert copy.copy(pickled) is pickled
        assert copy.deepcopy(pickled) is pickled

    @pytest.mark.parametrize(
        "bound",
        [Child().method, Child.outer, Child.inner, Child().outer, Child.static, Child().static],
    )
    @pytest.mark.parametrize(
        "way", [lambda f: pickle.loads(pickle.dumps(f)), copy.copy, copy.deepcopy]
    )
    def test_a_method_of_any_kind(self, bound, way):
        assert way(bound)() == bound()

    def test_a_method_looked_up_on_its_class(self):
        assert pickle.loads(pickle.dumps(Pickled.method))(Child()) == "Child"

    def test_in_a_pool_of_processes(self):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            assert pool.submit(pickled, "hi").result() == ("hi", "m")
