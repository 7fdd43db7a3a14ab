"""A learned planner: count what actions earn and where they lead, and sweep values over what was counted.

    n, x, m     visits of (s, a), the sum of the rewards there, moves from there to each s'
    r(s, a) = (p μ + x) / (p + n) + b;   b = W tanh(U [n, r, share of the trial that is left])
    P(s' | s, a) = (α + m) / (S α + n)
    Q_h = r + P max_a Q_{h+1},   Q_H = 0           H the steps of an episode, at every step anew
    π = softmax_a(k Q_h(s, a)),   log k linear in what is left;   V linear in max_a Q_h and mean_s max_a Q_0

What is meta-learned is what experience is worth: how far to believe few visits (p, μ, α), what it pays in the
rest of the trial to try out a pair (b), and how surely to act (k). Names of states and actions change nothing,
so that its 130 weights learn from few tasks and serve families and trials of any size.

Source: Tamar et al. 2016 (arXiv 1602.02867), for sweeps of value iteration as layers of a policy; what a visit
is worth beside its reward as in Kolter and Ng 2009, there a constant over 1 + n.
Differs from the papers: Tamar et al. learn rewards and moves of a known map and have shared convolutions for
sweeps; here both come from counts, and only what is made of them is learned.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.errors import require
from quickstudy.nets.distributions import Categorical
from quickstudy.nets.layers import Linear
from quickstudy.references.tabular_learning import Counts, absorb, count_of
from quickstudy.references.value_iteration import action_values
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, TrialShape


class Memory(NamedTuple):
    counts: Counts
    state: Array
    """The last one."""
    step_in_episode: Array


class PlannerParams(eqx.Module):
    prior_visits: Array
    """[]; p is its softplus."""
    prior_mean: Array
    """[], μ"""
    prior_moves: Array
    """[]; α is its softplus."""
    widen: Linear
    bonus: Linear
    sharpness: Linear
    value: Linear
    num_states: int = eqx.field(static=True)
    num_actions: int = eqx.field(static=True)
    horizon: int = eqx.field(static=True)
    """H"""
    trial_steps: int = eqx.field(static=True)
    """T, of which what is left of the trial is a share."""


@dataclasses.dataclass(frozen=True)
class Planner:
    """Counts, and value iteration over them with a meta-learned bonus: for tabular families."""

    hidden_size: int = 16
    """Units of the network that says what a visit is worth beside its reward."""

    def __post_init__(self) -> None:
        require(self, hidden_size=(self.hidden_size >= 1, "at least 1"))

    def init(self, env: Any, trial: TrialShape, key: Key) -> PlannerParams:
        """Raises `InputError` where observations or actions are not counted, 0 to n - 1."""
        k_widen, k_bonus, k_sharpness, k_value = jax.random.split(key, 4)
        return PlannerParams(
            prior_visits=jnp.asarray(0.5),
            prior_mean=jnp.asarray(0.0),
            prior_moves=jnp.asarray(0.0),
            widen=Linear(5, self.hidden_size, k_widen),
            bonus=Linear(self.hidden_size, 1, k_bonus, 0.1),
            sharpness=Linear(2, 1, k_sharpness, 0.1),
            value=Linear(10, 1, k_value, 0.1),
            num_states=count_of("observation_space", env.observation_space),
            num_actions=count_of("action_space", env.action_space),
            horizon=env.max_steps,
            trial_steps=trial.num_steps(env),
        )

    def init_task(self, meta_params: PlannerParams, key: Key) -> PyTree:
        return ()

    def init_memory(self, meta_params: PlannerParams, task_params: PyTree) -> Memory:
        S, A = meta_params.num_states, meta_params.num_actions
        zero = jnp.zeros((), jnp.int32)
        dtype = meta_params.prior_mean.dtype
        counts = Counts(jnp.zeros((S, A), dtype), jnp.zeros((S, A), dtype), jnp.zeros((S, A, S), dtype), zero)
        return Memory(counts, zero, zero)

    def step(
        self,
        meta_params: PlannerParams,
        task_params: PyTree,
        memory: Memory,
        timestep: TimeStep,
        key: Key,
    ) -> tuple[Output, Memory]:
        memory = remember(memory, timestep)
        return act(meta_params, memory), memory

    def unroll(
        self, meta_params: PlannerParams, task_params: PyTree, memory: Memory, timesteps: TimeStep
    ) -> Output:
        def body(memory: Memory, timestep: TimeStep) -> tuple[Memory, Memory]:
            memory = remember(memory, timestep)
            return memory, memory

        # Nothing that is learned is in what is counted: all plans are made side by side.
        memories = jax.lax.scan(body, memory, timesteps)[1]
        return jax.vmap(lambda memory: act(meta_params, memory))(memories)

    def adapt(
        self, meta_params: PlannerParams, task_params: PyTree, transitions: Transition, key: Key
    ) -> PyTree:
        return task_params


def remember(memory: Memory, timestep: TimeStep) -> Memory:
    counts = absorb(memory.counts, memory.state, timestep)
    h = jnp.where(timestep.first, 0, memory.step_in_episode + 1)
    return Memory(counts, timestep.observation.astype(jnp.int32), h)


def act(params: PlannerParams, memory: Memory) -> Output:
    counts, H = memory.counts, params.horizon
    # The present step is counted, and not over. Behind the trial's end there is nothing left to learn for.
    left = jnp.maximum(1.0 - (counts.num_steps - 1) / params.trial_steps, 0.0).astype(params.prior_mean.dtype)
    plan = plan_for(params, counts, left)
    q = plan[jnp.minimum(memory.step_in_episode, H - 1), memory.state]
    known = jnp.stack([q.max(), plan[0].max(-1).mean()])
    now = jnp.stack([left, jnp.sqrt(left)])
    sharpness = jnp.exp(1.0 + params.sharpness(now)[0])
    features = jnp.concatenate([known, known * left, known * now[1], now, now * left])
    return Output(Categorical(sharpness * (q - q.max())), params.value(features)[0], {})


def plan_for(params: PlannerParams, counts: Counts, left: Array) -> Array:
    """Q [H, S, A]"""
    prior, alpha = jax.nn.softplus(params.prior_visits), jax.nn.softplus(params.prior_moves)
    n = counts.visits
    mean = (prior * params.prior_mean + counts.rewards) / (prior + n)
    moves = alpha + counts.moves
    few = jax.lax.rsqrt(1.0 + n)
    about = jnp.stack([few, few**2, mean, jnp.full_like(n, left), few * jnp.sqrt(left)], axis=-1)
    bonus = params.bonus(jnp.tanh(params.widen(about)))[..., 0]
    return action_values(mean + bonus, moves / moves.sum(-1, keepdims=True), params.horizon)
