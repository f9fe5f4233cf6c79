"""`--app module:door`: the application itself says where its state and its incidents are."""

from __future__ import annotations

import importlib
import sys
from functools import reduce
from pathlib import Path

from firedoor.door import Firedoor, looked_at
from firedoor.errors import ConfigurationError

__all__ = ["is_app", "load"]


def is_app(given: str | None) -> bool:
    """Whether it names a door of an application, and is no URL."""
    return given is not None and "://" not in given and not given.startswith("memory:")


def load(name: str) -> Firedoor:
    """The door that `module:door` names, closed. The module is imported as a server would do it.

    Raises:
        ConfigurationError: If there is no such module, or no door of this name in it.
    """
    module, colon, path = name.partition(":")
    if not colon or not module or not path:
        raise ConfigurationError(
            f"--app {name}: write module:door, as in --app shop.main:door, or give a URL"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        with looked_at():
            found = reduce(getattr, path.split("."), importlib.import_module(module))
    except Exception as error:
        raise ConfigurationError(
            f"--app {name}: it could not be imported here: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Firedoor):
        raise ConfigurationError(
            f"--app {name}: that is a {type(found).__name__}, and no fd.Firedoor"
        )
    found.close()  # what it holds is not needed: where it holds it is
    return found
