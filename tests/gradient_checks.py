"""What must hold for an agent that learns by gradients, in one compiled function of its meta-parameters."""

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy import keys
from quickstudy.rollout import collect, learned, replay, sample_tasks
from quickstudy.types import TrialShape

SMALL = {"hidden_sizes": (4,), "activation": "tanh"}
NUM_TASKS = 3

live_in = jax.jit(collect, static_argnums=(0, 1, 2))
learned_in = jax.jit(learned, static_argnums=0)


def lived(agent, env, num_adapts):
    """Meta-parameters, and trials of two streams of two episodes."""
    trial = TrialShape(num_adapts, 2, 2)
    k_init, k_tasks = jax.random.split(jax.random.key(0))
    task_keys, trial_keys = keys.per_task(k_tasks, jnp.arange(NUM_TASKS))
    meta_params = agent.init(env, trial, k_init)
    return meta_params, live_in(agent, env, trial, meta_params, sample_tasks(env, task_keys), trial_keys)


def check_meta_gradient(agent, env, num_adapts, without=()):
    """Replay repeats what was lived; the meta-gradient is a finite difference's, and not 0 but in `without`."""
    recorded = lived(agent, env, num_adapts)
    with jax.enable_x64(True):
        meta_params, trials = jax.tree.map(in_float64, recorded)
        shape = trials.phases.reward.shape
        weights = jax.random.normal(jax.random.key(1), (3, *shape), jnp.float64) * trials.phases.mask

        def said(meta_params):
            output = replay(agent, meta_params, trials)
            log_prob, value = output.policy.log_prob(trials.phases.action), output.value
            of_each = jnp.stack([log_prob, output.policy.entropy(), value])
            return (of_each * weights).sum(), (log_prob, value)

        run = jax.jit(jax.value_and_grad(said, has_aux=True))
        (_, (log_prob, value)), gradient = run(meta_params)
        np.testing.assert_allclose(log_prob, trials.phases.log_prob, atol=1e-5)
        np.testing.assert_allclose(value, trials.phases.value, atol=1e-5)
        for path, x in jax.tree_util.tree_leaves_with_path(gradient):
            name = jax.tree_util.keystr(path)
            assert (np.abs(x).max() > 0) == (name not in without), name
        along = direction(meta_params, 0)
        point = moved(meta_params, direction(meta_params, 1), 1e-2)
        gradient = run(point)[1]
        exact = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), gradient, along)))
        ends = [run(moved(point, along, step))[0][0] for step in (1e-6, -1e-6)]
        np.testing.assert_allclose(exact, (ends[0] - ends[1]) / 2e-6, rtol=1e-5)


def in_float64(x):
    return jnp.asarray(x, jnp.float64) if x.dtype == jnp.float32 else x


def direction(tree, seed):
    leaves, structure = jax.tree.flatten(tree)
    split = jax.random.split(jax.random.key(100 + seed), len(leaves))
    draws = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(split, leaves, strict=True)]
    return jax.tree.unflatten(structure, draws)


def moved(tree, along, size):
    return jax.tree.map(lambda x, d: x + size * d, tree, along)


def first_phase(trials, phase=0):
    """Of the first task, [S, T]."""
    return jax.tree.map(lambda x: x[0, phase], trials.phases)
