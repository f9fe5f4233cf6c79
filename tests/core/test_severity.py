"""How bad it is: from exposure, worse as it grows, and never better by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firedoor.core.severity import Exposure, Harm, SeverityCriteria, assess, worst
from firedoor.errors import ConfigurationError
from firedoor.types import Severity

SEV1, SEV2, SEV3, SEV4 = Severity
rank = {severity: index for index, severity in enumerate(Severity)}


@pytest.mark.parametrize(
    ("share", "critical", "expected"),
    [
        (0.6, True, SEV1),
        (0.5, True, SEV1),
        (0.49, True, SEV2),
        (0.2, True, SEV2),
        (0.1, True, SEV3),
        (0.01, True, SEV4),
        (0.6, False, SEV2),
        (0.3, False, SEV3),
        (0.1, False, SEV4),
        (0.01, False, SEV4),
    ],
)
def test_the_share_decides_and_a_journey_that_is_not_critical_is_one_less(
    share, critical, expected
):
    assert assess(Exposure(share, critical=critical)).severity is expected


@pytest.mark.parametrize(
    ("harm", "expected"), [(Harm.UNSAFE, SEV2), (Harm.LEAK, SEV1), (Harm.IRREVERSIBLE, SEV1)]
)
def test_harm_is_not_made_small_by_a_small_share(harm, expected):
    found = assess(Exposure(0.0001, harms=frozenset({harm})))
    assert found.severity is expected
    assert found.reasons[0].startswith(f"{expected}: ")


def test_a_share_that_is_not_known_is_not_taken_for_a_small_one():
    found = assess(Exposure(None, scope="checkout"))
    assert found.severity is SEV3
    assert found.reasons == ("SEV3: share of the requests of checkout not known (not critical)",)
    assert assess(Exposure(float("nan"))).severity is SEV3


def test_a_handful_of_requests_is_no_outage_however_large_their_share():
    assert assess(Exposure(1.0, requests=2, critical=True)).severity is SEV3
    assert assess(Exposure(1.0, requests=10, critical=True)).severity is SEV1
    leak = Exposure(1.0, requests=1, harms=frozenset({Harm.LEAK}))
    assert assess(leak).severity is SEV1


def test_what_lasts_without_containment_is_one_worse():
    assert assess(Exposure(0.1, critical=True, seconds=3_599)).severity is SEV3
    longer = assess(Exposure(0.1, critical=True, seconds=7_200))
    assert longer.severity is SEV2
    assert longer.reasons[0] == "SEV2: not contained after 2 h"
    assert assess(Exposure(0.1, critical=True, seconds=7_200, contained=True)).severity is SEV3
    forever = SeverityCriteria(lasting=None)
    assert assess(Exposure(0.1, critical=True, seconds=1e9), forever).severity is SEV3


def test_it_never_falls_while_the_incident_is_open():
    held = assess(Exposure(0.01), previous=SEV2)
    assert (held.severity, held.measured) == (SEV2, SEV4)
    assert held.reasons[0] == "SEV2: held, as it was that bad and is not over"


def test_it_falls_by_explicit_recovery():
    assert assess(Exposure(0.01), previous=SEV1, recovered=True).severity is SEV4


def test_criteria_that_contradict_each_other_are_refused_with_the_remedy():
    with pytest.raises(ConfigurationError, match=r"sev2_share=0\.9.*falling order, as in 0\.5"):
        SeverityCriteria(sev2_share=0.9)
    with pytest.raises(ConfigurationError, match="leak='SEV9'"):
        SeverityCriteria(leak="SEV9")


def test_criteria_say_in_words_what_their_figures_are():
    said = SeverityCriteria(sev1_share=0.3, sev2_share=0.125, lasting=1_800).describe()
    assert said == {
        SEV1: "irreversible, or leak, or from 30 % of a critical journey",
        SEV2: "unsafe, or from 12.5 % of a critical journey (30 % if not critical)",
        SEV3: "from 5 % of a critical journey (12.5 % if not critical)",
        SEV4: "less than that",
    }
    assert SeverityCriteria(lasting=1_800).worsens() == "one worse after 30 min without containment"


shares = st.none() | st.floats(0, 1)
exposures = st.builds(
    Exposure,
    share=shares,
    requests=st.none() | st.integers(0, 100),
    critical=st.booleans(),
    harms=st.frozensets(st.sampled_from(Harm)),
    seconds=st.floats(0, 1e5),
    contained=st.booleans(),
    scope=st.none() | st.just("checkout"),
)


@given(st.lists(exposures, min_size=1, max_size=8))
def test_over_any_course_severity_only_gets_worse(course):
    now = None
    for exposure in course:
        found = assess(exposure, previous=now)
        assert now is None or rank[found.severity] <= rank[now]
        assert rank[found.severity] <= rank[found.measured]
        assert found.reasons[0].startswith(found.severity)
        now = found.severity


@given(exposures, st.floats(0, 1), st.integers(0, 100), st.floats(0, 1e5))
def test_more_exposure_is_never_less_severe(exposure, share, requests, seconds):
    more = Exposure(
        share=None if exposure.share is None else max(exposure.share, share),
        requests=None if exposure.requests is None else exposure.requests + requests,
        critical=True,
        harms=exposure.harms | {Harm.UNSAFE},
        seconds=exposure.seconds + seconds,
        contained=False,
    )
    assert rank[assess(more).severity] <= rank[assess(exposure).severity]


def test_the_worst_of_none_is_the_mildest():
    assert worst([]) is SEV4
    assert worst([SEV3, SEV1, SEV2]) is SEV1
