"""The types that every room of the house shares.

An agent learns within one task; an outer loop improves the agent across tasks. An agent changes at
three speeds: `meta_params` (changed by the outer loop, once an update), `task_params` (changed by
`adapt`, between the phases of a trial) and `memory` (changed by `step`, every step).

Axes, always in this order: N tasks, K adaptations (so K+1 phases), S parallel streams of one task,
T steps.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium
import jax

from quickstudy.errors import require

Array = jax.Array
Key = jax.Array
PyTree = Any

# Of anything that is counted in a trial: beyond it no array would fit.
MOST = 10_000_000


class TimeStep(NamedTuple):
    """What an agent sees before it acts."""

    observation: PyTree
    """o_t"""
    action: Array
    """a_{t-1}; zeros at the start of a trial."""
    reward: Array
    """r_{t-1}, earned by that action; 0 at the start of a trial."""
    first: Array
    """bool: o_t opens an episode."""


class Outcome(NamedTuple):
    """What an environment answers to an action."""

    observation: PyTree
    reward: Array
    terminated: Array
    """bool: the episode ended by itself (time limits are the engine's)."""
    success: Array | None = None
    """bool, or None in a family that has no notion of success."""


class Transition(NamedTuple):
    """One recorded step; stacked on T."""

    timestep: TimeStep
    action: Array
    reward: Array
    next_observation: PyTree
    """Before any reset."""
    terminated: Array
    """bool: the value after this step is 0."""
    truncated: Array
    """bool: the episode was cut; the value after it counts."""
    success: Array | None
    mask: Array
    """bool: the step belongs to the first `num_episodes` episodes; the steps after them are padding."""
    log_prob: Array
    """Of `action` when it was taken."""
    value: Array
    """The critic's value of `timestep` when it was seen; zeros without a critic."""
    next_value: Array
    """The critic's value of `next_observation` where `truncated`, else 0."""
    extras: dict[str, PyTree]
    """`Output.extras` of the step that chose `action`."""


class Trials(NamedTuple):
    """Everything an outer loop learns from."""

    task: PyTree
    """[N, ...]"""
    key: Key
    """[N]: repeats `init_task`, `step` and `adapt` exactly."""
    phases: Transition
    """[N, K+1, S, T, ...]; the last phase is the query."""


@runtime_checkable
class Distribution(Protocol):
    """A policy's distribution over actions; the methods act on any leading axes."""

    def sample(self, key: Key) -> Array: ...
    def log_prob(self, action: Array) -> Array: ...
    def entropy(self) -> Array: ...
    def kl(self, other: Any) -> Array: ...
    def mode(self) -> Array: ...


class Output(NamedTuple):
    """What one step of an agent says."""

    policy: Any
    """A `Distribution`."""
    value: Array
    """[], or zeros for an agent with no critic."""
    extras: dict[str, PyTree]


@dataclasses.dataclass(frozen=True)
class TrialShape:
    """The budget of a trial: phases, streams and episodes. T = num_episodes × env.max_steps.

    RL² is `TrialShape(0, 1, E)`: one stream whose memory lives through E episodes.
    MAML is `TrialShape(1, 20, 1)`: twenty streams of one episode, then one adaptation.
    """

    num_adapts: int = 0
    """K, the adaptations within a trial; a trial has K+1 phases."""
    num_streams: int = 1
    """S, the streams of experience that are gathered side by side in one task."""
    num_episodes: int = 10
    """Episodes of one stream within one phase."""

    def __post_init__(self) -> None:
        require(
            self,
            num_adapts=(0 <= self.num_adapts <= MOST, f"between 0 and {MOST:,}"),
            num_streams=(1 <= self.num_streams <= MOST, f"between 1 and {MOST:,}"),
            num_episodes=(1 <= self.num_episodes <= MOST, f"between 1 and {MOST:,}"),
        )

    def num_steps(self, env: Env) -> int:
        """T, the steps of one stream within one phase."""
        return self.num_episodes * env.max_steps

    def steps_per_task(self, env: Env) -> int:
        """All environment steps that one trial of one task takes."""
        return (self.num_adapts + 1) * self.num_streams * self.num_steps(env)


class Env(Protocol):
    """A task family: a frozen dataclass of pure functions. It never resets itself.

    Optional: `reset_where(needed, task, key)`, a `reset` that may leave out what is not `needed` (a bool), for
    families on the host; a field `split` ("train" or "test") where held-out tasks are another set;
    `version` (int), to be raised when rewards or dynamics change;
    `render(task, state) -> uint8 [H, W, 3]`; `describe(task) -> str`;
    `action_labels(task) -> list[str]`, a name for each discrete action, for drawings.
    """

    @property
    def observation_space(self) -> gymnasium.spaces.Space: ...
    @property
    def action_space(self) -> gymnasium.spaces.Space: ...
    @property
    def max_steps(self) -> int:
        """Steps of an episode after which the engine truncates it."""
        ...

    def sample_task(self, key: Key) -> PyTree: ...
    def reset(self, task: PyTree, key: Key) -> tuple[PyTree, PyTree]:
        """-> (state, observation)"""
        ...

    def step(self, task: PyTree, state: PyTree, action: Array, key: Key) -> tuple[PyTree, Outcome]: ...


class View:
    """A family with other spaces, as an agent with a setting meets it in `init`."""

    def __init__(self, env: Env, **spaces: gymnasium.spaces.Space):
        self._env = env
        self.__dict__.update(spaces)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


class Agent(Protocol):
    """Learns within one task: a frozen dataclass of hyper-parameters, whose methods are pure.

    Optional: `unroll(meta_params, task_params, memory, timesteps [T]) -> Output [T]`, the parallel
    form of `step` for agents that use no key in `step`; `meta_learned = False` for an agent that no
    outer loop can improve (a classical learner);
    `num_shared`, `discount` and `recall(meta_params, task_params, experience) -> task_params`, for an agent
    that begins a task with steps of others: see `sharing`.
    """

    def init(self, env: Any, trial: TrialShape, key: Key) -> PyTree:
        """The first `meta_params`. Raises `InputError` where the agent cannot act in `env`."""
        ...

    def init_task(self, meta_params: PyTree, key: Key) -> PyTree:
        """The `task_params` with which a new task begins."""
        ...

    def init_memory(self, meta_params: PyTree, task_params: PyTree) -> PyTree:
        """The `memory` with which a new stream begins."""
        ...

    def step(
        self, meta_params: PyTree, task_params: PyTree, memory: PyTree, timestep: TimeStep, key: Key
    ) -> tuple[Output, PyTree]:
        """One example: -> (what the agent says of this time step, the memory after it)."""
        ...

    def adapt(self, meta_params: PyTree, task_params: PyTree, transitions: Transition, key: Key) -> PyTree:
        """Learn from one phase of one task, transitions [S, T] -> the next `task_params`.

        Steps whose `mask` is False are padding behind the phase's last episode, or of a stream that is left out
        to ask what was learned from it (`outer.contributions`): they count for nothing.
        """
        ...


class Outer(Protocol):
    """Improves an agent across tasks: a frozen dataclass of hyper-parameters.

    The state that `init` makes and `update` returns is a pytree with the field `meta_params`.

    Optional: `propose(agent, state) -> meta_params [P, ...]`, for a loop that tries out P agents: P/2
    antithetic pairs, of which members i and i + P/2 meet the same tasks with the same keys. The tasks of an
    update are then in the order of the members, N/P of each.
    """

    def init(self, agent: Any, meta_params: PyTree, key: Key) -> PyTree: ...

    def update(
        self, agent: Any, state: Any, trials: Trials, progress: Array, key: Key
    ) -> tuple[Any, dict[str, Array]]:
        """One update from fresh trials; `progress` in [0, 1] is the share of the training that is done.

        -> (state, metrics: a dict of scalars)
        """
        ...
