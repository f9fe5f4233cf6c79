"""The five default runbooks, one for what fits no class, and how to read your own from files.

Written for whoever is woken at night: the first action contains and does not diagnose, every way
back is a line to paste, and words in capitals are for a person to fill in.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from firedoor.core import runbook_files
from firedoor.core.runbook import RollbackOption, Runbook
from firedoor.core.severity import SeverityCriteria
from firedoor.errors import ConfigurationError
from firedoor.incidents.actions import (
    CapBudget,
    RaiseMinimumTier,
    ReduceDepth,
    RestoreKnownGood,
    RollbackPrompt,
    SafeMode,
    ShedLoad,
    SwitchAlias,
    build,
)
from firedoor.types import IncidentClass

__all__ = ["RollbackOption", "Runbook", "SeverityCriteria", "defaults", "load", "unclassified"]

_YAML, _TOML = (".yaml", ".yml"), (".toml",)
_FORM = "a runbook, a list of them, or a mapping with the one key 'runbooks'"

_LEAD = {"lead": "the engineer on call"}
_USERS = {"users": "the support lead on duty"}
_REVERTED = "temporary switches reverted, or made the default on purpose"


def defaults(owners: Mapping[str, str] | None = None) -> list[Runbook]:
    """One runbook for each of the five classes.

    Args:
        owners: Who, by role, in the place of the general words: roles that a runbook has are
            replaced (`lead`, `users`, `security`, ...), others are added to every one.

    Returns:
        A list in the order of `IncidentClass`.

    Raises:
        ConfigurationError: If a role or its owner is empty.
    """
    return [
        _quality(owners),
        _safety(owners),
        _retrieval(owners),
        _latency(owners),
        _cost(owners),
    ]


def load(path: str | PathLike[str]) -> list[Runbook]:
    """The runbooks in a file, or in every `.yaml`, `.yml` and `.toml` file of a directory.

    A file holds one runbook, or several under `runbooks` (in YAML also as a list). Actions are
    mappings with a `kind`, as in `{kind: safe_mode, ttl: 30m}`. Give what comes back to
    `Firedoor(runbooks=...)`; the classes it leaves out keep their defaults.

    Raises:
        ConfigurationError: Naming the file, the field, the value and the remedy; also for two
            runbooks of one class.
    """
    given = Path(path)
    try:
        files = sorted(p for p in given.iterdir()) if given.is_dir() else [given]
    except OSError as error:
        raise ConfigurationError(f"runbooks {str(given)!r} cannot be read: {error}") from None
    if given.is_dir():
        files = [file for file in files if file.suffix in _YAML + _TOML]
    found: dict[IncidentClass | None, tuple[Runbook, Path]] = {}
    for file in files:
        for runbook in _in_file(file):
            had = found.get(runbook.incident_class)
            if had is not None:
                raise ConfigurationError(
                    f"runbooks: {runbook.name} is in {had[1]} and in {file}: keep one of them"
                )
            found[runbook.incident_class] = (runbook, file)
    if not found:
        raise ConfigurationError(f"runbooks: {given} has none: give {_FORM}, in YAML or TOML")
    return [runbook for runbook, _ in found.values()]


def _in_file(file: Path) -> list[Runbook]:
    if file.suffix not in _YAML + _TOML:
        raise ConfigurationError(f"runbooks {str(file)!r}: use a .yaml, .yml or .toml file")
    read = runbook_files.read_yaml if file.suffix in _YAML else runbook_files.read_toml
    said = read(file)
    if isinstance(said, Mapping) and set(said) == {"runbooks"}:
        said = said["runbooks"]
    if isinstance(said, Mapping):
        said = [said]
    if not isinstance(said, list):
        raise ConfigurationError(f"{file}: it holds no runbook: give {_FORM}")
    made = []
    for index, one in enumerate(said):
        try:
            made.append(Runbook.from_dict(one, build=build))
        except ConfigurationError as error:
            where = f"{file}: " if len(said) == 1 else f"{file}: runbook {index + 1}: "
            raise ConfigurationError(f"{where}{error}") from None
    return made


def _owners(own: Mapping[str, str], given: Mapping[str, str] | None) -> dict[str, str]:
    return {**_LEAD, **own, **_USERS, **(given or {})}


def _quality(owners: Mapping[str, str] | None) -> Runbook:
    return Runbook(
        incident_class=IncidentClass.QUALITY_REGRESSION,
        actions=(RollbackPrompt(), SwitchAlias(), RestoreKnownGood(), SafeMode(ttl="1h")),
        summary="refusals, invented facts or failing tools",
        first_action=(
            "Put back what changed last: the prompt, else the model (1 and 2 below). Do not look "
            "for the cause first."
        ),
        severity=SeverityCriteria(lasting=7_200.0),
        owners=_owners({"model and prompt": "who made the last change"}, owners),
        rollback=(
            RollbackOption(
                "Older prompt",
                "same model, the last good revision",
                "firedoor switch prompt PROMPT REVISION -r {incident} --ttl 2h"
                " [--journey {journey}]",
            ),
            RollbackOption(
                "Other model",
                "dearer or slower, but known",
                "firedoor switch alias {alias} MODEL -r {incident} --ttl 2h [--journey {journey}]",
            ),
            RollbackOption(
                "Safe mode",
                "prepared answers only, if neither helps",
                "firedoor switch safe-mode {journey} -r {incident} --ttl 1h",
            ),
        ),
        communication=(
            "Affected: {where}. Since: {first_bad_at}. Answers may be wrong or refused: please "
            "check what matters with a person. Next news within {update_every}."
        ),
        closure=(
            "refusals, groundedness and feedback at baseline for 3 windows",
            _REVERTED,
            "the change that did it is named; its fix has owner and date",
            "a probe or test case that would have caught it runs",
        ),
    )


def _safety(owners: Mapping[str, str] | None) -> Runbook:
    return Runbook(
        incident_class=IncidentClass.SAFETY_VIOLATION,
        actions=(SafeMode(in_flight="cut", ttl="4h"),),
        summary="something got in or out that must not",
        first_action=(
            "Stop the output: safe mode, open streams too (1 below). A secret got out: revoke it "
            "now. Delete no logs: they are the evidence."
        ),
        severity=SeverityCriteria(
            sev1_share=0.05, sev2_share=0.01, sev3_share=0.001, few=3, lasting=900.0
        ),
        owners=_owners(
            {"security": "security on call", "privacy": "the data protection officer"}, owners
        ),
        rollback=(
            RollbackOption(
                "Safe mode",
                "prepared answers only, open streams cut",
                "firedoor switch safe-mode {journey} -r {incident} --ttl 4h --in-flight cut",
            ),
            RollbackOption(
                "Lock down",
                "every policy blocks; honest requests suffer too",
                "firedoor switch strictness lockdown -r {incident} --ttl 4h [--journey {journey}]",
            ),
            RollbackOption(
                "Tools off",
                "answers only, nothing is done in the world",
                "firedoor switch disable 'tool:*' -r {incident} --ttl 4h [--journey {journey}]",
            ),
        ),
        communication=(
            "Affected: {where}. Since: {first_bad_at}. Some answers should not have been given. We "
            "are limiting it and will contact whoever is affected. Next news within {update_every}."
        ),
        closure=(
            "no flag or probe failure for 3 windows; the same attack fails",
            "secrets revoked; affected people told as law and contract ask",
            _REVERTED,
            "a probe of this attack runs, and its finding is hardened",
        ),
        update_every=3_600.0,
    )


def _retrieval(owners: Mapping[str, str] | None) -> Runbook:
    return Runbook(
        incident_class=IncidentClass.RETRIEVAL_FAILURE,
        actions=(ReduceDepth(), RestoreKnownGood(), SafeMode(ttl="2h")),
        summary="what answers are built on is missing, poor or old",
        first_action=(
            "Keep answers from being invented: the best documents only (1 below); safe mode if "
            "searches come back empty (3)."
        ),
        severity=SeverityCriteria(),
        owners=_owners({"index": "who runs it", "sources": "who feeds it"}, owners),
        rollback=(
            RollbackOption(
                "Fewer documents",
                "only the best ones, where the tail is poor",
                "firedoor switch depth 'retrieval:*' 3 -r {incident} --ttl 2h"
                " [--journey {journey}]",
            ),
            RollbackOption(
                "Search off",
                "only where answers without sources say so",
                "firedoor switch disable 'retrieval:*' -r {incident} --ttl 2h"
                " [--journey {journey}]",
            ),
            RollbackOption(
                "Safe mode",
                "prepared answers, until the index is back",
                "firedoor switch safe-mode {journey} -r {incident} --ttl 2h",
            ),
        ),
        communication=(
            "Affected: {where}. Since: {first_bad_at}. Not all sources can be reached: answers may "
            "be incomplete or out of date. Next news within {update_every}."
        ),
        closure=(
            "empty rate, top score and source age at baseline for 3 windows",
            "groundedness at baseline too: answers use what is found",
            _REVERTED,
            "index whole again; an ingestion that fails now alerts",
        ),
    )


def _latency(owners: Mapping[str, str] | None) -> Runbook:
    return Runbook(
        incident_class=IncidentClass.LATENCY_SATURATION,
        actions=(RaiseMinimumTier(), ShedLoad(), SafeMode(ttl="30m")),
        summary="slow, queueing or failing targets",
        first_action=(
            "Go down a tier to another provider or a faster model (1 below). Do not raise "
            "time-outs or retries: they make it worse."
        ),
        severity=SeverityCriteria(lasting=1_800.0),
        owners=_owners(
            {"provider": "its status page and support", "quotas": "who owns the account"}, owners
        ),
        rollback=(
            RollbackOption(
                "Lower tier",
                "the next model of the ladder answers",
                "firedoor switch minimum-tier {route} 1 -r {incident} --ttl 30m [--journey {journey}]",
            ),
            RollbackOption(
                "Other model",
                "where the ladder has no good next tier",
                "firedoor switch alias {alias} MODEL -r {incident} --ttl 30m [--journey {journey}]",
            ),
            RollbackOption(
                "Shed load",
                "a journey that can wait, so that others answer",
                "firedoor switch safe-mode LESS-CRITICAL-JOURNEY -r {incident} --ttl 30m",
            ),
        ),
        communication=(
            "Affected: {where}. Since: {first_bad_at}. Answers are slow, shorter or missing: please "
            "try again later. Next news within {update_every}."
        ),
        closure=(
            "p95, errors and queue at baseline for 3 windows of usual traffic",
            "breakers closed, and the first tier takes all traffic again",
            _REVERTED,
            "provider or capacity cause written down, with what would absorb it",
        ),
        update_every=900.0,
    )


def _cost(owners: Mapping[str, str] | None) -> Runbook:
    return Runbook(
        incident_class=IncidentClass.COST_RUNAWAY,
        actions=(CapBudget(), RaiseMinimumTier(ttl="2h"), ShedLoad(), SafeMode(ttl="1h")),
        summary="spending out of proportion to the requests served",
        first_action=(
            "Stop what spends: the looping tool (1 below), else the journey (3). What is spent is "
            "gone; an hour of limited answers is not."
        ),
        severity=SeverityCriteria(sev1_share=0.6, sev2_share=0.3, sev3_share=0.1),
        owners=_owners(
            {"budget": "who answers for the spending", "account": "who can set its hard limit"},
            owners,
        ),
        rollback=(
            RollbackOption(
                "Tool off",
                "ends a loop; answers go on without the tool",
                "firedoor switch disable tool:NAME -r {incident} --ttl 2h [--journey {journey}]",
            ),
            RollbackOption(
                "Cheaper model",
                "begin at a lower tier",
                "firedoor switch minimum-tier {route} 1 -r {incident} --ttl 2h"
                " [--journey {journey}]",
            ),
            RollbackOption(
                "Safe mode",
                "prepared answers cost nothing",
                "firedoor switch safe-mode {journey} -r {incident} --ttl 1h",
            ),
        ),
        communication=(
            "Affected: {where}. Since: {first_bad_at}. Answers may be shorter, or some features "
            "off, while we limit an unusual load. Next news within {update_every}."
        ),
        closure=(
            "cost per request and per second at baseline for 3 windows",
            "the overspend is added up and told to who answers for it",
            _REVERTED,
            "a budget that would have stopped it is set, and tested",
        ),
    )


def unclassified(owners: Mapping[str, str] | None = None) -> Runbook:
    """The runbook for incidents that fit none of the classes. Arguments as for `defaults`."""
    return Runbook(
        incident_class=None,
        actions=(RestoreKnownGood(), SafeMode(ttl="1h")),
        summary="users are affected and the signals fit no class",
        first_action=(
            "Go back to the last known-good switches (1 below) and watch for 5 minutes; a person "
            "reads the evidence meanwhile."
        ),
        severity=SeverityCriteria(),
        owners=_owners({}, owners),
        rollback=(
            RollbackOption(
                "Known-good",
                "every switch as it was when the set was marked",
                "firedoor switch restore KNOWN-GOOD -r {incident} --ttl 2h",
            ),
            RollbackOption(
                "Safe mode",
                "prepared answers only",
                "firedoor switch safe-mode {journey} -r {incident} --ttl 1h",
            ),
        ),
        communication=(
            "Affected: {where}. Since: {first_bad_at}. It does not work as it should and we are on "
            "it. Next news within {update_every}."
        ),
        closure=(
            "every signal in breach at baseline for 3 windows",
            _REVERTED,
            "a class is found, or an alert that gives it one next time",
        ),
    )
