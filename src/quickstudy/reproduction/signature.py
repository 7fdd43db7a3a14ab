"""The signature of model-based choice in the two-step task: when an agent stays with its last choice.

    p(stay | reward, transition) = #(c_{t+1} = c_t after such a choice t) / #(such choices t)
    reward effect       (p(r, common) + p(r, rare) - p(no r, common) - p(no r, rare)) / 2
    interaction         (p(r, common) - p(r, rare) - p(no r, common) + p(no r, rare)) / 2

A model-free learner repeats what was rewarded, whatever led there: a reward effect. A model-based one knows
that the reward behind a rare transition speaks for the other choice: an interaction, and no reward effect. A
model-free one shows a little of an interaction, too: a reward behind a common transition comes more often where
the choice was right, and is what the learner would have stayed with anyway (Akam et al. 2015).

Intervals of one agent are those of a ratio of means over trials, by its linearisation
(s_i - p n_i) / mean(n), where trial i has n_i such choices and stays after s_i of them.

Source: Daw et al. 2011 (Neuron 69), figure 2; Wang et al. 2016 (arXiv 1611.05763), section 3.2; Akam et al.
2015, "Simple plans or sophisticated habits?" (PLoS Computational Biology 11).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy import keys
from quickstudy.envs.two_step import TwoStep
from quickstudy.evaluation import initial_params
from quickstudy.maths.statistics import mean_interval
from quickstudy.references.two_step_bayes import TwoStepBayes
from quickstudy.reproduction.model_free import ModelFree
from quickstudy.rollout import collect, sample_tasks
from quickstudy.types import Array, PyTree, Transition, TrialShape

KINDS = ("rewarded, common", "rewarded, rare", "unrewarded, common", "unrewarded, rare")
EFFECTS = {"reward effect": (0.5, 0.5, -0.5, -0.5), "interaction": (0.5, -0.5, -0.5, 0.5)}
NUM_TRIALS = 2000
"""Of 100 choices: the rarest kind comes about ten times in each."""


def signature(agent: Any, env: TwoStep, trial: TrialShape, meta_params: PyTree) -> dict[str, Any]:
    """-> the probability to stay after each of `KINDS`, and the `EFFECTS`, with 95% intervals over trials."""
    counted, stayed = _counts(agent, env, trial, meta_params)
    return told(np.asarray(counted, np.float64), np.asarray(stayed, np.float64))


def references(env: TwoStep, trial: TrialShape) -> dict[str, dict[str, Any]]:
    """The signatures of the Bayes-optimal agent and of a model-free learner."""
    agents = {"two-step-bayes": TwoStepBayes(), "model-free": ModelFree()}
    return {
        name: signature(agent, env, trial, initial_params(agent, env, trial, 0))
        for name, agent in agents.items()
    }


def told(counted: np.ndarray, stayed: np.ndarray) -> dict[str, Any]:
    """From the choices of each kind in each trial [n, 4], and those after which the agent stayed."""
    with np.errstate(invalid="ignore"):
        share = stayed.sum(0) / counted.sum(0)
        errors = (stayed - share * counted) / counted.mean(0)
    weights = np.concatenate([np.eye(len(KINDS)), np.array(list(EFFECTS.values()))])
    # A kind that never came makes what rests on it NaN, and nothing else.
    means = np.array([_combined(w, share) for w in weights])
    spread = mean_interval(np.stack([_combined(w, errors) for w in weights], axis=-1))
    entries = [
        {"mean": float(mean), "low": float(mean + low), "high": float(mean + high)}
        for mean, low, high in zip(means, spread.low, spread.high, strict=True)
    ]
    names = (*KINDS, *EFFECTS)
    return {**dict(zip(names, entries, strict=True)), "num_trials": len(counted)}


def _combined(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    used = weights != 0
    return values[..., used] @ weights[used]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _counts(agent: Any, env: TwoStep, trial: TrialShape, meta_params: PyTree) -> tuple[Array, Array]:
    task_keys, trial_keys = keys.per_task(keys.branch(0, keys.TEST), jnp.arange(NUM_TRIALS))
    phases = collect(agent, env, trial, meta_params, sample_tasks(env, task_keys), trial_keys).phases
    return stays(phases, env.num_choices)


def stays(phases: Transition, num_choices: int) -> tuple[Array, Array]:
    """-> (choices of each of `KINDS`, those after which the next choice is the same), [N, 4] each.

    The last choice of an episode has no next one.
    """

    def by_choice(x: Array) -> Array:
        """[N, K+1, S, T] -> [N, episodes, choices, stages]"""
        return x.reshape(len(x), -1, num_choices, 2)

    choice = by_choice(phases.action)[..., 0]
    place = by_choice(phases.timestep.observation)[..., 1]
    rewarded = by_choice(phases.reward)[..., 1] > 0
    kind = 2 * (~rewarded).astype(jnp.int32) + (place != 1 + choice)
    kinds = jax.nn.one_hot(kind[..., :-1], len(KINDS))
    stay = (choice[..., 1:] == choice[..., :-1])[..., None]
    return kinds.sum((1, 2)), (kinds * stay).sum((1, 2))
