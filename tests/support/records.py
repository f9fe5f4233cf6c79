"""Incidents for tests: a full one, and hypothesis strategies for any."""

from hypothesis import strategies as st

from firedoor.core.incident import (
    ActionRecord,
    ActionState,
    AlertRecord,
    Finding,
    IncidentRecord,
    TimelineEntry,
)
from firedoor.types import Evidence, IncidentClass, IncidentState, Mode, Severity


def incident(incident_id="INC-00000001", **fields):
    """An open incident of a service, detected at 1000."""
    fields = {
        "service": "shop",
        "version": 1,
        "incident_class": IncidentClass.QUALITY_REGRESSION,
        "severity": Severity.SEV2,
        "title": "refusals up on help",
        "journey": "help",
        "route": "llm:answer",
        "alias": "gpt-5",
        "first_bad_at": 990.0,
        "detected_at": 1000.0,
        **fields,
    }
    return IncidentRecord(incident_id, **fields)


def full(incident_id="INC-0000000f"):
    """An incident with something in every field."""
    return incident(
        incident_id,
        contributing=(IncidentClass.COST_RUNAWAY,),
        why="refusals",
        evidence=(Evidence("refusal_rate", 0.3, 0.02, 0.8, 120, "help", why="up"),),
        severity_reasons=("SEV2: 30 % of help",),
        control="breaker:llm:answer/gpt-5",
        signature="RateLimitError",
        fingerprint="f" * 16,
        recurrence_of="INC-00000000",
        owner="ana",
        critical=True,
        share=0.3,
        requests=40,
        alerts=(AlertRecord("refusals-up", "refusal_rate", since=995.0, fired_at=1000.0),),
        actions=(
            ActionRecord(
                "a" * 12,
                "switch_alias",
                "gpt-5 → gpt-5-mini",
                mode=Mode.APPROVE,
                state=ActionState.WAITING,
                target="alias:gpt-5",
                parameters={"alias": "gpt-5", "ttl": 1800.0, "deep": {"list": [1, None, "ü"]}},
                undo={"switches": ["sw-1"]},
                approve_until=1600.0,
                wanted=ActionState.REVERTED,
            ),
        ),
        timeline=(TimelineEntry(1000.0, "detected", "refusals up \x00 \ud800 🔥", "ana"),),
        findings=(Finding("t", "o", "p", "w", {"policies": {"llm:answer": [{"kind": "regex"}]}}),),
        waiver="none",
        contained_at=1001.0,
        told=IncidentState.OPEN,
    )


texts = st.text(max_size=40)
moments = st.none() | st.floats(0, 4e9)
evidence = st.builds(
    Evidence,
    texts,
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.floats(0, 1),
    why=texts,
)
incidents = st.builds(
    IncidentRecord,
    st.uuids().map(str),
    texts,
    version=st.just(1),
    state=st.sampled_from([s for s in IncidentState if s is not IncidentState.CLOSED]),
    severity=st.sampled_from(Severity),
    incident_class=st.none() | st.sampled_from(IncidentClass),
    title=texts,
    evidence=st.lists(evidence, max_size=2).map(tuple),
    owner=st.none() | texts,
    journey=st.none() | texts,
    fingerprint=texts,
    detected_at=moments,
    share=st.none() | st.floats(0, 1),
    actions=st.lists(
        st.builds(
            ActionRecord,
            texts,
            texts,
            texts,
            state=st.sampled_from(ActionState),
            parameters=st.dictionaries(texts, st.integers() | texts | st.booleans(), max_size=3),
        ),
        max_size=2,
    ).map(tuple),
    timeline=st.lists(
        st.builds(TimelineEntry, st.floats(0, 4e9), texts, texts, texts), max_size=3
    ).map(tuple),
    findings=st.lists(st.builds(Finding, texts, texts, st.none() | texts), max_size=2).map(tuple),
)
