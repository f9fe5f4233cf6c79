"""The current context: the API's own, by the shortest way that is the same."""

from opentelemetry import context as api
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

from firedoor.shell import current


def test_the_apis_own_variable_is_used_where_it_keeps_contexts_in_one():
    assert isinstance(api._RUNTIME_CONTEXT, ContextVarsRuntimeContext)
    assert current.get_current == api._RUNTIME_CONTEXT._current_context.get
    assert current.attach == api._RUNTIME_CONTEXT._current_context.set


def test_both_ways_see_one_context():
    token = api.attach(api.set_value("here", 1))
    try:
        assert current.get_current() is api.get_current()
        own = api.set_value("here", 2)
        previous = current.get_current()
        current.attach(own)
        assert api.get_value("here") == 2
        current.restore(own, previous)
        assert api.get_value("here") == 1
    finally:
        api.detach(token)
