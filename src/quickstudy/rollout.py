"""Collect trials, and replay them as a differentiable function of the meta-parameters.

    collect:  init_task → [ roll S streams for T steps → adapt ] × K → roll S streams for T steps
    replay:   the same walk over what was recorded, with the recorded keys, and no environment

`collect` is one scan over time of batched steps over N × S streams. Work that only some steps need
(resets, the value behind a time limit) stands in a branch that is taken when any stream needs it:
a branch on the batch, not a select in every step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from quickstudy.trial_keys import (
    AGENT,
    RESET,
    VALUE,
    adapt_key,
    init_key,
    reset_key,
    step_key,
    stream_keys_of,
    walk,
)
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, Trials, TrialShape


class Streams(NamedTuple):
    """Experience under way: what the scan over time carries, [N, S, ...]."""

    state: PyTree
    timestep: TimeStep
    memory: PyTree
    step_in_episode: Array
    episode: Array


def sample_tasks(env: Any, keys: Key) -> PyTree:
    """One task for each of the keys [N]."""
    return jax.vmap(env.sample_task)(keys)


def collect(
    agent: Any,
    env: Any,
    trial: TrialShape,
    meta_params: PyTree,
    tasks: PyTree,
    keys: Key,
    *,
    record_state: bool = False,
) -> Trials:
    """Let the agent live through one trial in each task; `tasks` [N, ...], `keys` [N].

    A trial depends on its own task and key alone, so a batch equals a loop over its members.
    `record_state` puts the environment's states around each step into the `extras`, for drawings: "state"
    before it, "next_state" after it and before any reset. The agent does not see them.
    """
    task_params = begin_tasks(agent, meta_params, keys)

    def roll(task_params: PyTree, phase: Array | int) -> Transition:
        keys_of_streams = stream_keys(keys, phase, trial.num_streams)
        streams = begin(agent, env, meta_params, task_params, tasks, keys_of_streams)
        length = (trial.num_steps(env), trial.num_episodes)
        walked = (agent, env, length, meta_params, task_params, tasks, keys_of_streams, streams)
        return roll_on(*walked, record_state=record_state)[1]

    def roll_and_adapt(task_params: PyTree, phase: Array) -> tuple[PyTree, Transition]:
        transitions = roll(task_params, phase)
        seen = _without_states(transitions) if record_state else transitions
        return adapt(agent, meta_params, task_params, seen, keys, phase), transitions

    return Trials(tasks, keys, _with_phases(trial.num_adapts, 1, roll_and_adapt, roll, task_params))


def replay(agent: Any, meta_params: PyTree, trials: Trials) -> Output:
    """What the agent says of every recorded step, [N, K+1, S, T]; differentiable in `meta_params`."""

    def replay_one(key: Key, phases: Transition) -> Output:
        num_phases, num_streams = phases.reward.shape[:2]

        def roll(task_params: PyTree, phase: Array | int) -> Output:
            timesteps = jax.tree.map(lambda x: x[phase], phases.timestep)
            stream_keys = stream_keys_of(key, phase, num_streams)
            return jax.vmap(lambda steps, key: _unroll(agent, meta_params, task_params, steps, key))(
                timesteps, stream_keys
            )

        def roll_and_adapt(task_params: PyTree, phase: Array) -> tuple[PyTree, Output]:
            transitions = jax.tree.map(lambda x: x[phase], phases)
            output = roll(task_params, phase)
            return agent.adapt(meta_params, task_params, transitions, adapt_key(key, phase)), output

        task_params = agent.init_task(meta_params, init_key(key))
        return _with_phases(num_phases - 1, 0, roll_and_adapt, roll, task_params)

    return jax.vmap(replay_one)(trials.key, trials.phases)


def learned(agent: Any, meta_params: PyTree, trials: Trials) -> PyTree:
    """The `task_params` [N, ...] after every recorded phase, the last one too, is adapted to."""

    def learn_one(key: Key, phases: Transition) -> PyTree:
        def learn(task_params: PyTree, recorded: tuple[Array, Transition]) -> tuple[PyTree, None]:
            phase, transitions = recorded
            return agent.adapt(meta_params, task_params, transitions, adapt_key(key, phase)), None

        task_params = agent.init_task(meta_params, init_key(key))
        return jax.lax.scan(learn, task_params, (jnp.arange(len(phases.reward)), phases))[0]

    return jax.vmap(learn_one)(trials.key, trials.phases)


def episode_index(transitions: Transition) -> Array:
    """The number, from 0, of the episode that each step belongs to; the last axis is T."""
    return jnp.cumsum(transitions.timestep.first.astype(jnp.int32), axis=-1) - 1


def episode_sums(values: Array, transitions: Transition, num_episodes: int) -> Array:
    """Sum values [..., T] within each of the first `num_episodes` episodes, [..., E]."""
    steps = values.shape[-1]

    def sums(values: Array, episode: Array) -> Array:
        # Steps behind the last episode have larger indices, which are dropped.
        return jax.ops.segment_sum(values, episode, num_episodes)

    flat = jax.vmap(sums)(
        values.astype(jnp.float32).reshape(-1, steps), episode_index(transitions).reshape(-1, steps)
    )
    return flat.reshape(*values.shape[:-1], num_episodes)


def episode_returns(transitions: Transition, num_episodes: int) -> Array:
    """The undiscounted return of each of the first `num_episodes` episodes, [..., E]."""
    return episode_sums(transitions.reward, transitions, num_episodes)


def _without_states(transitions: Transition) -> Transition:
    extras = {name: x for name, x in transitions.extras.items() if name not in ("state", "next_state")}
    return transitions._replace(extras=extras)


class _Batched(NamedTuple):
    """An agent and an environment over N × S streams; the first argument of each is one for a task."""

    act: Any
    remember: Any
    step: Any
    reset: Any
    reset_where: Any


def begin_tasks(agent: Any, meta_params: PyTree, keys: Key) -> PyTree:
    """The `task_params` [N, ...] with which N tasks begin; `keys` [N] are those of the trials."""
    return jax.vmap(lambda key: agent.init_task(meta_params, init_key(key)))(keys)


def begin(agent: Any, env: Any, meta_params: PyTree, task_params: PyTree, tasks: PyTree, keys: Key) -> Streams:
    """Every stream at the first step of its first episode; `task_params` and `tasks` [N, ...], keys [N, S]."""
    return _start(env, _batched(agent, env, meta_params), task_params, tasks, keys)


def roll_on(
    agent: Any,
    env: Any,
    length: tuple[int, int | None],
    meta_params: PyTree,
    task_params: PyTree,
    tasks: PyTree,
    stream_keys: Key,
    streams: Streams,
    *,
    record_state: bool = False,
) -> tuple[Streams, Transition]:
    """N × S streams from where they are -> (where they are then, Transition [N, S, T, ...]).

    `length` is T and the number of episodes that count, None for all. `stream_keys` [N, S] serve these T steps
    alone.
    """
    num_steps, num_episodes = length
    batched = _batched(agent, env, meta_params)

    def keys_at(t: Array, use: int) -> Key:
        return _each(lambda key: step_key(key, t, use))(stream_keys)

    steps, keys_of = walk(num_steps, stream_keys.size, keys_at)

    def body(stream: Streams, step: Any) -> tuple[Streams, Transition]:
        t, (k_agent, k_action, k_env) = keys_of(step)
        output, memory = batched.act(task_params, stream.memory, stream.timestep, k_agent)
        action = _each(lambda policy, key: policy.sample(key))(output.policy, k_action)
        next_state, outcome = batched.step(tasks, stream.state, action, k_env)

        reward = outcome.reward.astype(jnp.float32)
        step_in_episode = stream.step_in_episode + 1
        terminated = outcome.terminated
        truncated = (step_in_episode >= env.max_steps) & ~terminated
        done = terminated | truncated

        behind = TimeStep(outcome.observation, action, reward, jnp.zeros_like(done))
        next_value = _value_behind_cuts(
            truncated, lambda: batched.act(task_params, memory, behind, keys_at(t, VALUE))[0]
        )
        state, observation = _reset_where(
            done, lambda: batched.reset_where(tasks, done, keys_at(t, RESET)), (next_state, outcome.observation)
        )
        states = {"state": stream.state, "next_state": next_state} if record_state else {}
        transition = Transition(
            timestep=stream.timestep,
            action=action,
            reward=reward,
            next_observation=outcome.observation,
            terminated=terminated,
            truncated=truncated,
            success=outcome.success,
            mask=jnp.ones_like(done) if num_episodes is None else stream.episode < num_episodes,
            log_prob=_each(lambda policy, action: policy.log_prob(action))(output.policy, action),
            value=output.value,
            next_value=next_value,
            extras={**output.extras, **states},
        )
        stream = Streams(
            state=state,
            timestep=TimeStep(observation, action, reward, done),
            memory=memory,
            step_in_episode=jnp.where(done, 0, step_in_episode),
            episode=stream.episode + done.astype(jnp.int32),
        )
        return stream, transition

    streams, transitions = jax.lax.scan(body, streams, steps)
    return streams, jax.tree.map(lambda x: jnp.moveaxis(x, 0, 2), transitions)


def adapt(
    agent: Any, meta_params: PyTree, task_params: PyTree, transitions: Transition, keys: Key, phase: Array | int
) -> PyTree:
    """Each of N tasks learns from its phase, transitions [N, S, T]; `keys` [N] are those of the trials."""
    adapt_keys = jax.vmap(lambda key: adapt_key(key, phase))(keys)
    return jax.vmap(agent.adapt, in_axes=(None, 0, 0, 0))(meta_params, task_params, transitions, adapt_keys)


def stream_keys(keys: Key, phase: Array | int, num_streams: int) -> Key:
    """Those of the streams of one phase, [N, S], below the keys [N] of the trials."""
    return jax.vmap(lambda key: stream_keys_of(key, phase, num_streams))(keys)


def _batched(agent: Any, env: Any, meta_params: PyTree) -> _Batched:
    def act(task_params: PyTree, memory: PyTree, timestep: TimeStep, key: Key) -> tuple[Output, PyTree]:
        return agent.step(meta_params, task_params, memory, timestep, key)

    def remember(task_params: PyTree, _: Array) -> PyTree:
        return agent.init_memory(meta_params, task_params)

    def reset_where(task: PyTree, needed: Array, key: Key) -> tuple[PyTree, PyTree]:
        # A family on the host resets only what is asked for; in a compiled one all rows cost as much as one.
        return env.reset_where(needed, task, key) if hasattr(env, "reset_where") else env.reset(task, key)

    return _Batched(*map(_over_streams, (act, remember, env.step, env.reset, reset_where)))


def _value_behind_cuts(truncated: Array, say: Any) -> Array:
    """The critic's value where an episode was cut, else 0; the critic is asked only if one was."""
    zeros = jnp.zeros(truncated.shape, jax.eval_shape(say).value.dtype)
    return jax.lax.cond(truncated.any(), lambda: jnp.where(truncated, say().value, zeros), lambda: zeros)


def _reset_where(done: Array, reset: Any, current: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
    """(state, observation), new in the streams that are done; nothing is reset if none is."""
    return jax.lax.cond(done.any(), lambda: _select(done, reset(), current), lambda: current)


def _start(env: Any, batched: _Batched, task_params: PyTree, tasks: PyTree, stream_keys: Key) -> Streams:
    """Every stream at the first step of its first episode."""
    shape = stream_keys.shape
    state, observation = batched.reset(tasks, _each(reset_key)(stream_keys))
    space = env.action_space
    timestep = TimeStep(
        observation=observation,
        action=jnp.zeros((*shape, *space.shape), jax.dtypes.canonicalize_dtype(space.dtype)),
        reward=jnp.zeros(shape, jnp.float32),
        first=jnp.ones(shape, bool),
    )
    zero = jnp.zeros(shape, jnp.int32)
    return Streams(state, timestep, batched.remember(task_params, zero), zero, zero)


def _unroll(agent: Any, meta_params: PyTree, task_params: PyTree, timesteps: TimeStep, key: Key) -> Output:
    """One recorded stream, timesteps [T] -> Output [T]: by the parallel form where there is one."""
    memory = agent.init_memory(meta_params, task_params)
    if hasattr(agent, "unroll"):
        return agent.unroll(meta_params, task_params, memory, timesteps)

    def body(memory: PyTree, step: tuple[TimeStep, Array]) -> tuple[PyTree, Output]:
        timestep, t = step
        output, memory = agent.step(meta_params, task_params, memory, timestep, step_key(key, t, AGENT))
        return memory, output

    return jax.lax.scan(body, memory, (timesteps, jnp.arange(timesteps.reward.shape[0])))[1]


def _with_phases(num_adapts: int, axis: int, roll_and_adapt: Any, roll: Any, task_params: PyTree) -> PyTree:
    """K phases that end in an adaptation, then the query, stacked on `axis`."""
    if num_adapts == 0:
        return jax.tree.map(lambda x: jnp.expand_dims(x, axis), roll(task_params, 0))
    task_params, support = jax.lax.scan(roll_and_adapt, task_params, jnp.arange(num_adapts))
    query = roll(task_params, num_adapts)
    return jax.tree.map(
        lambda s, q: jnp.concatenate([jnp.moveaxis(s, 0, axis), jnp.expand_dims(q, axis)], axis), support, query
    )


def _over_streams(function: Any) -> Any:
    """Batch over N tasks and, inside, over S streams that share the task's first argument."""

    def batched(per_task: PyTree, *per_stream: PyTree) -> PyTree:
        inner = jax.vmap(function, in_axes=(None, *(0 for _ in per_stream)))
        return jax.vmap(inner)(per_task, *per_stream)

    return batched


def _each(function: Any) -> Any:
    """Batch over the axes [N, S] of every argument."""
    return jax.vmap(jax.vmap(function))


def _select(mask: Array, if_true: PyTree, if_false: PyTree) -> PyTree:
    """Choose leaf by leaf, with a mask [N, S] over leaves [N, S, ...]."""

    def choose(true: Array, false: Array) -> Array:
        wide = mask.reshape(mask.shape + (1,) * (true.ndim - mask.ndim))
        return jnp.where(wide, true, false)

    return jax.tree.map(choose, if_true, if_false)
