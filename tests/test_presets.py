"""Presets: which of agent, published variant and family says what."""

import pytest

from quickstudy.presets import PRESETS, preset
from quickstudy.variants import VARIANTS, Variant


@pytest.mark.parametrize(("agent", "env"), [key for key in PRESETS if key[0] != "any agent"])
def test_every_preset_can_be_built(agent, env):
    experiment, tuned = preset(agent, env), PRESETS[agent, env]
    # What a variant fixes of its agent or of the experiment is not the preset's.
    fixed = VARIANTS[agent] if agent in VARIANTS else Variant(agent, "", "")
    for name, value in (tuned.agent_fields | fixed.agent_fields).items():
        assert getattr(experiment.agent, name) == value
    for name, value in (tuned.fields | fixed.fields).items():
        assert getattr(experiment, name) == value


def test_a_variants_own_preset_goes_before_its_paper():
    known, unknown = (preset("promp", env).outer for env in ("cheetah-velocity", "point-navigation"))
    assert (known.num_minibatches, known.phases, known.schedule) == (5, "all", "linear")
    assert (unknown.num_minibatches, unknown.phases, unknown.schedule) == (1, "last", "constant")
    assert known.clip == unknown.clip == 0.3


def test_a_variant_keeps_its_own_outer_loop_beside_its_agents_preset():
    assert preset("maml", "bandit").outer.entropy_coefficient == 0
    promp = preset("promp", "bandit").outer
    assert (promp.learning_rate, promp.num_epochs) == (1e-3, 5)
    assert preset("e-maml", "semi-circle").outer.credit_by_stream
