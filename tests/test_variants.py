"""Published methods by their own names: what no other test asks of them."""

import dataclasses

import jax
import numpy as np
import pytest

from quickstudy.experiment import to_record
from quickstudy.outer.a2c import A2C
from quickstudy.outer.evolution import Evolution
from quickstudy.presets import PRESETS, preset
from quickstudy.reporting.tables import flattened
from quickstudy.types import TrialShape
from quickstudy.updates import init_state, run_updates
from quickstudy.variants import VARIANTS, variant_of
from tests.probes import ContinuousProbe


def small(name, outer, **agent_fields):
    """In a probe, with two streams a task."""
    experiment = preset(name, "point-navigation")
    return dataclasses.replace(
        experiment,
        agent=dataclasses.replace(experiment.agent, hidden_sizes=(8,), activation="tanh", **agent_fields),
        env=ContinuousProbe(),
        outer=outer,
        trial=TrialShape(1, 2, 2),
        num_tasks=40,
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_known_by_its_settings(name):
    """In every family with a preset of its own, too; and none of them is taken for what it is made of."""
    families = ["point-navigation", *(env for agent, env in PRESETS if agent == name)]
    for env in families:
        assert variant_of(dict(flattened(to_record(preset(name, env))))) == name
    for agent, outer in (("maml", "trpo"), ("maml", "ppo"), ("anil", "ppo"), ("reptile", "reptile")):
        assert variant_of(dict(flattened(to_record(preset(agent, "point-navigation", outer))))) is None


def test_first_order_maml_leaves_the_second_derivatives_out():
    """Beside MAML that is told so, and MAML; by an outer loop that is quickly compiled."""
    outer = A2C(baseline="linear", credit="episode", phases="last")
    names = {"first-order-maml": {}, "maml": {"first_order": True}}
    ends = []
    for name, fields in (*names.items(), ("maml", {})):
        experiment = small(name, outer, inner_rate=0.5, **fields)
        state, _ = run_updates(experiment, init_state(experiment), 1)
        ends.append(jax.tree.leaves(state.outer.meta_params))
    assert preset("first-order-maml", "point-navigation").agent.first_order
    assert all(np.array_equal(a, b) for a, b in zip(ends[0], ends[1], strict=True))
    assert not all(np.allclose(a, b, rtol=1e-4) for a, b in zip(ends[0], ends[2], strict=True))


def test_es_maml_finds_what_pays_after_the_adaptation_without_a_gradient():
    outer = preset("es-maml", "point-navigation").outer
    assert isinstance(outer, Evolution)
    experiment = small("es-maml", outer)
    state = init_state(experiment)
    returns = []
    for until in (1, 30):
        state, metrics = run_updates(experiment, state, until)
        returns.append(float(metrics["return"]))
    assert returns[1] > returns[0] + 0.1
