"""What must always hold, for every registered agent and outer loop, in a discrete and a continuous probe."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import keys, registry
from quickstudy.agents.inner_loop import InnerLoop
from quickstudy.agents.policy_gradient import PolicyGradient
from quickstudy.errors import InputError
from quickstudy.experiment import Experiment
from quickstudy.outer.ppo import PPO
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import TrialShape
from quickstudy.updates import _chunk, init_state, run_updates
from tests.probes import AdaptingProbe, ContinuousProbe, DiscreteProbe

NUM_TASKS = 6
TRIALS = {"memory": TrialShape(0, 1, 3), "adapting": TrialShape(2, 2, 2)}
ENVS = {"discrete": DiscreteProbe(), "continuous": ContinuousProbe()}
AGENTS = {name: registry.resolve("agent", name)() for name in registry.REGISTRIES["agent"]}
AGENTS["adapting-probe"] = AdaptingProbe()
OUTERS = {name: registry.resolve("outer", name)() for name in registry.REGISTRIES["outer"]}
# Agents that learn by gradients remember nothing within a phase, and some of what they are made of only serves
# to adapt; tests/test_gradient_agents.py has more of them. A finite difference must not meet a kink of relu's.
GRADIENT = {name for name, agent in AGENTS.items() if isinstance(agent, InnerLoop)}
for name in GRADIENT:
    AGENTS[name] = dataclasses.replace(AGENTS[name], hidden_sizes=(8, 8), activation="tanh")
# Agents that learn each task from scratch, small ones; tests/test_lives.py has the quick ones of these checks.
VALUES = {"dqn", "sac"}
SCRATCH = VALUES | {name for name, agent in AGENTS.items() if isinstance(agent, PolicyGradient)}
for name in SCRATCH:
    AGENTS[name] = dataclasses.replace(AGENTS[name], hidden_sizes=(8, 8))
for name in VALUES:
    AGENTS[name] = dataclasses.replace(AGENTS[name], num_updates=2, learning_starts=4, buffer_size=500)
AGENTS["ppo"] = dataclasses.replace(AGENTS["ppo"], num_epochs=2, num_minibatches=2)
AGENTS["trpo"] = dataclasses.replace(AGENTS["trpo"], num_epochs=2)
# By itself it takes its steps for numbers; its gradient through them is in tests/test_reptile.py.
FIRST_ORDER = {"reptile"}
META_LEARNED = {n: a for n, a in AGENTS.items() if getattr(a, "meta_learned", True)}
# Learners of arms know discrete actions only, those of tables discrete observations too, others one family.
ARMS = "thompson optimistic-thompson ucb1 epsilon-greedy greedy gittins gaussian-thompson gaussian-ucb".split()
TABLES = (
    "psrl opsrl ucrl2 beb greedy-planner epsilon-greedy-planner bayes-planner value-iteration policy-iteration "
    "monte-carlo q-learning sarsa planner"
).split()
ONE_FAMILY = "grid-bayes two-step-bayes".split()
REFUSED = {
    **{(a, "continuous"): "action_space: got Box" for a in [*ARMS, "symmetric", "dqn"]},
    **{(a, e): "observation_space: got Box" for a in TABLES for e in ENVS},
    **{(a, e): "env: got .*Probe.*one family" for a in ONE_FAMILY for e in ENVS},
}
PAIRS = [(a, e) for a in AGENTS for e in ENVS if (a, e) not in REFUSED]
LEARNED_PAIRS = [(a, e) for a, e in PAIRS if a in META_LEARNED]
# Reptile moves towards what was learned, and an agent must have that in the form of its meta-parameters.
REPTILE = {"maml", "reptile"}
LOOPED = [
    (*pair, outer) for pair in LEARNED_PAIRS for outer in OUTERS if outer != "reptile" or pair[0] in REPTILE
]

# What runs without `make slow`: of agents that share their code, one with adaptations; of outer loops other
# than PPO, one agent in each probe.
WITH_ADAPTATIONS = {"adapting-probe", "random", "thompson", *GRADIENT}
REPEATING = {
    *((name, "discrete") for name in GRADIENT - {"maml"}),
    # Their own files have more of them.
    *((name, "continuous") for name in GRADIENT - {"maml"}),
    ("episodic", "continuous"),
    *((name, "discrete") for name in ARMS if name not in ("thompson", "gittins")),
}
QUICK_LOOPS = {("rl2", "discrete"), ("adapting-probe", "continuous")}


def chosen(names, quick, rows):
    """Parameters by name; those that are not quick are marked as slow."""
    marked = [pytest.param(*row, marks=() if quick(*row) else pytest.mark.slow) for row in rows]
    return pytest.mark.parametrize(names, marked)


def is_quick(agent, env, trial=TRIALS["memory"]):
    if (agent in GRADIENT) > (trial.num_adapts > 0):
        return False
    if agent in SCRATCH:
        return False
    return (agent, env) not in REPEATING and (trial.num_adapts == 0 or agent in WITH_ADAPTATIONS)


def only_adapts(agent):
    """Whether some of its meta-parameters do nothing in a trial without an adaptation."""
    return agent in GRADIENT - {"maml", "anil", "reptile"}


def with_all_trials(rows):
    return [(*r, trial) for r in rows for trial in TRIALS.values() if trial.num_adapts or not only_adapts(r[0])]


def with_trials(pairs):
    return chosen(("agent_name", "env_name", "trial"), is_quick, with_all_trials(pairs))


each_pair = chosen(("agent_name", "env_name"), is_quick, PAIRS)
each_pair_and_trial = with_trials(PAIRS)
each_learned_pair_and_trial = with_trials(LEARNED_PAIRS)
each_loop = chosen(
    ("agent_name", "env_name", "outer"),
    lambda agent, env, outer: is_quick(agent, env) and (outer == "ppo" or (agent, env) in QUICK_LOOPS),
    LOOPED,
)
each_loop_and_trial = chosen(
    ("agent_name", "env_name", "outer", "trial"),
    lambda agent, env, outer, trial: (
        is_quick(agent, env, trial) and (outer == "ppo" or (agent, env) in QUICK_LOOPS)
    ),
    with_all_trials(LOOPED),
)


# Compiled once for all tests: agents, environments and trial shapes are hashable values.
live_in = jax.jit(collect, static_argnums=(0, 1, 2))
replayed = jax.jit(replay, static_argnums=0)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def begin(agent, env, trial, key):
    k_init, k_tasks = jax.random.split(key)
    task_keys, trial_keys = keys.per_task(k_tasks, jnp.arange(NUM_TASKS))
    return agent.init(env, trial, k_init), sample_tasks(env, task_keys), trial_keys


@functools.cache
def lived(agent_name, env_name, trial, seed=0):
    """Meta-parameters and trials of one agent."""
    agent, env = AGENTS[agent_name], ENVS[env_name]
    meta_params, tasks, trial_keys = begin(agent, env, trial, jax.random.key(seed))
    return meta_params, live_in(agent, env, trial, meta_params, tasks, trial_keys)


def assert_same(a, b):
    """Bit for bit, keys included."""
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(raw(x), raw(y)), a, b)


def raw(x):
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


@each_pair_and_trial
def test_replay_reproduces_log_probs(agent_name, env_name, trial):
    meta_params, trials = lived(agent_name, env_name, trial)
    output = replayed(AGENTS[agent_name], meta_params, trials)
    log_prob = output.policy.log_prob(trials.phases.action)
    assert np.all(np.isfinite(trials.phases.log_prob))
    np.testing.assert_allclose(log_prob, trials.phases.log_prob, atol=1e-5)
    np.testing.assert_allclose(output.value, trials.phases.value, atol=1e-5)


@each_pair
def test_step_form_equals_sequence_form(agent_name, env_name):
    """The probes end episodes at random times, so `first` comes at random times."""
    agent = AGENTS[agent_name]
    meta_params, trials = lived(agent_name, env_name, TRIALS["memory"])
    first = np.asarray(trials.phases.timestep.first)
    assert first.any(axis=-1).all()
    if env_name == "discrete":
        assert len({tuple(row) for row in first.reshape(NUM_TASKS, -1)}) > 1

    stepwise = replayed(StepOnly(agent), meta_params, trials)
    whole = replayed(agent, meta_params, trials)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), stepwise, whole)


class StepOnly:
    """An agent without its `unroll`."""

    def __init__(self, agent):
        for name in ("init", "init_task", "init_memory", "step", "adapt"):
            setattr(self, name, getattr(agent, name))


@each_pair_and_trial
def test_same_key_same_trials(agent_name, env_name, trial):
    first = lived(agent_name, env_name, trial)[1]
    lived.cache_clear()
    assert_same(first, lived(agent_name, env_name, trial)[1])
    other = lived(agent_name, env_name, trial, seed=1)[1]
    assert not np.array_equal(first.phases.reward, other.phases.reward)


@each_pair_and_trial
def test_batched_equals_looped(agent_name, env_name, trial):
    agent, env = AGENTS[agent_name], ENVS[env_name]
    meta_params, trials = lived(agent_name, env_name, trial)
    for i in range(3):
        task = jax.tree.map(lambda x, i=i: x[i : i + 1], trials.task)
        alone = live_in(agent, env, trial, meta_params, task, trials.key[i : i + 1]).phases
        batched = jax.tree.map(lambda x, i=i: x[i : i + 1], trials.phases)
        # An action near a bound has a log_prob in which the last digit of its tanh shows.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), alone, batched)


@each_pair
def test_no_step_sees_the_future(agent_name, env_name):
    """Step t's reward reaches the agent with time step t+1; nothing that it says before may change."""
    agent = AGENTS[agent_name]
    meta_params, trials = lived(agent_name, env_name, TRIALS["memory"])
    timestep = trials.phases.timestep
    t = 2
    changed = timestep._replace(reward=timestep.reward.at[..., t + 1].add(1.0))
    before = replayed(agent, meta_params, trials)
    after = replayed(agent, meta_params, trials._replace(phases=trials.phases._replace(timestep=changed)))
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a[:, :, :, : t + 1], b[:, :, :, : t + 1]), before, after
    )
    if agent_name in META_LEARNED.keys() - GRADIENT:
        assert not np.array_equal(before.value[..., t + 1], after.value[..., t + 1])


@pytest.mark.parametrize(("agent_name", "env_name"), REFUSED)
def test_an_agent_that_cannot_act_says_so(agent_name, env_name):
    with pytest.raises(InputError, match=REFUSED[agent_name, env_name]):
        AGENTS[agent_name].init(ENVS[env_name], TRIALS["memory"], jax.random.key(0))


@each_loop_and_trial
def test_every_leaf_learns(agent_name, env_name, outer, trial):
    """Each leaf of the meta-parameters gets a gradient and is changed by one update, and stays finite."""
    agent = AGENTS[agent_name]
    outer = small(OUTERS[outer], agent, trial)
    meta_params, trials = lived(agent_name, env_name, trial)
    state = outer.init(agent, meta_params, jax.random.key(1))
    update = jax.jit(
        lambda state, trials: outer.update(agent, state, trials, jnp.float32(0.1), jax.random.key(2))
    )
    state, metrics = update(state, trials)
    assert all(np.isfinite(x) for x in metrics.values())
    for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path(meta_params), jax.tree.leaves(state.meta_params), strict=True
    ):
        assert np.isfinite(new).all(), path
        assert not np.array_equal(old, new), f"{jax.tree_util.keystr(path)} did not change"


@each_learned_pair_and_trial
def test_ppo_gradient_of_every_leaf_is_not_zero(agent_name, env_name, trial):
    agent = AGENTS[agent_name]
    outer = small(PPO(), agent, trial)
    meta_params, trials = lived(agent_name, env_name, trial)
    batch = outer.batch(trials)
    grads = jax.jit(jax.grad(lambda p: outer.loss(agent, p, batch, 0.1)[0]))(meta_params)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.abs(grad).max() > 0, f"{jax.tree_util.keystr(path)} has no gradient"


@each_loop
def test_a_second_call_does_not_retrace(agent_name, env_name, outer):
    agent = AGENTS[agent_name]
    trial = TRIALS["adapting" if agent_name in GRADIENT else "memory"]
    experiment = Experiment(
        agent, ENVS[env_name], small(OUTERS[outer], agent, trial), trial, num_tasks=NUM_TASKS
    )
    state, _ = run_updates(experiment, init_state(experiment), 1)
    traced = _chunk._cache_size()  # pyright: ignore[reportAttributeAccessIssue]
    state, _ = run_updates(experiment, state, 2)
    run_updates(dataclasses.replace(experiment, seed=5, num_updates=7), state, 4)
    assert _chunk._cache_size() == traced  # pyright: ignore[reportAttributeAccessIssue]


@chosen(
    ("agent_name", "env_name", "trial"),
    is_quick,
    [row for row in with_all_trials(LEARNED_PAIRS) if row[0] not in FIRST_ORDER],
)
def test_meta_gradient_equals_finite_difference(agent_name, env_name, trial):
    """Along random directions in float64, away from the parameters that lived the trials."""
    agent = AGENTS[agent_name]
    outer = small(PPO(), agent, trial)
    recorded = lived(agent_name, env_name, trial)
    with jax.enable_x64(True):
        meta_params, trials = in_float64(recorded)
        batch = outer.batch(trials)
        loss = jax.jit(lambda p: outer.loss(agent, p, batch, 0.1)[0])
        point = shifted(meta_params, direction(meta_params, 0), 1e-2)
        gradient = jax.jit(jax.grad(loss))(point)
        for i in range(1, 4):
            along = direction(meta_params, i)
            exact = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), gradient, along)))
            step = 1e-6
            difference = (loss(shifted(point, along, step)) - loss(shifted(point, along, -step))) / (2 * step)
            np.testing.assert_allclose(exact, difference, rtol=1e-5)


def small(outer, agent, trial):
    """An outer loop whose parts fit the tests' few tasks, the agent and the trial."""
    sizes = {"num_minibatches": 2, "population_size": NUM_TASKS}
    changes: dict = {name: size for name, size in sizes.items() if hasattr(outer, name)}
    if hasattr(outer, "credit") and trial.num_adapts:
        changes["credit"] = "episode"
    if not getattr(agent, "has_critic", True) and hasattr(outer, "baseline"):
        # A regression on so few steps explains all of them.
        changes["baseline"] = "none"
    return dataclasses.replace(outer, **changes)


def in_float64(tree):
    def convert(x):
        return jnp.asarray(x, jnp.float64) if x.dtype == jnp.float32 else x

    return jax.tree.map(convert, tree)


def direction(tree, seed):
    leaves, structure = jax.tree.flatten(tree)
    split = jax.random.split(jax.random.key(100 + seed), len(leaves))
    return jax.tree.unflatten(
        structure, [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(split, leaves, strict=True)]
    )


def shifted(tree, along, size):
    return jax.tree.map(lambda x, d: x + size * d, tree, along)
