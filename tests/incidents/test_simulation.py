"""A running application in simulated time: what goes wrong is seen and told apart, and nothing else.

The full size, with every kind of traffic and its confusion matrix, is benchmarks/simulation.py.
"""

import pytest

import firedoor as fd
from support.simulated import SCENARIOS, healthy, macro_f1, matrix, simulate

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_goes_wrong_becomes_an_incident_of_its_class(scenario):
    run = simulate(scenario, 0, rates=(0.5, 5.0))
    assert run.found == run.expected
    assert not run.early
    assert run.incidents == 1


def test_a_run_with_the_same_seed_is_the_same_run():
    first, second = (simulate("quality", 5, rates=(0.5, 2.0)) for _ in range(2))
    assert first == second
    _, ((name, *counts),) = matrix([first, second])
    assert (name, sum(counts)) == ("quality", 2)


def test_the_score_is_the_mean_over_the_classes():
    run = simulate("latency", 1, rates=(1.0, 2.0))
    assert macro_f1([run]) == 1.0
    missed = run.__class__(**{**vars(run), "found": "none"})
    assert macro_f1([run, missed]) == pytest.approx(2 / 3)
    wrong = run.__class__(**{**vars(run), "expected": fd.IncidentClass.COST_RUNAWAY})
    assert macro_f1([run, wrong]) == pytest.approx((0 + 2 / 3) / 2)


def test_a_healthy_morning_has_no_incident():
    assert healthy(3, days=0.25, rates=(0.05, 0.1)) == [[]]
