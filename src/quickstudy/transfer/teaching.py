"""A lesson: teacher and student side by side in one stream, and how far the student's policy is from what it
was taught.

    kl     KL[π* ‖ π], of policies of one kind; else -log π(a), a ~ π*
    mse    |probabilities of π* - of π|², or |mode of π* - mode of π|² in half ranges, then -log π(a) for the
           deviation of π alone

Source: Rusu et al. 2016 (arXiv 1511.06295), section 3, for both, and for the temperature.
Differs from the paper: teachers of any kind, which teach by their policies, not by values.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets.distributions import Categorical, MultiCategorical, Normal
from quickstudy.types import Array, Key, Output, PyTree, TimeStep

Distance = Literal["kl", "mse"]
DISTANCES = get_args(Distance)


class Taught(NamedTuple):
    """The `meta_params` of a `Pupil`."""

    teacher: PyTree
    student: PyTree
    share: Array
    """[], of the steps, which the teacher takes."""


class Either(eqx.Module):
    """A coin says which of two policies draws the action; acts on any leading axes."""

    taught: Any
    said: Any
    share: Array
    """Of the first one, with the leading axes."""

    def sample(self, key: Key) -> Array:
        k_coin, k_taught, k_said = jax.random.split(key, 3)
        ours, its = self.taught.sample(k_taught), self.said.sample(k_said)
        first = jax.random.uniform(k_coin, self.share.shape) < self.share
        return jnp.where(first.reshape(first.shape + (1,) * (its.ndim - first.ndim)), ours, its).astype(
            its.dtype
        )

    def log_prob(self, action: Array) -> Array:
        ours = jnp.log(self.share) + self.taught.log_prob(action)
        return jnp.logaddexp(ours, jnp.log1p(-self.share) + self.said.log_prob(action))


@dataclasses.dataclass(frozen=True)
class Pupil:
    """An agent: the student acts, or its teacher; what the teacher would have done is in the extras.

    `task_params` are (the teacher's, the student's), the memory is the teacher's: the student has none.
    """

    teacher: Any
    student: Any

    def init_memory(self, meta_params: Taught, task_params: tuple[PyTree, PyTree]) -> PyTree:
        return self.teacher.init_memory(meta_params.teacher, task_params[0])

    def step(
        self,
        meta_params: Taught,
        task_params: tuple[PyTree, PyTree],
        memory: PyTree,
        timestep: TimeStep,
        key: Key,
    ) -> tuple[Output, PyTree]:
        k_teacher, k_student = jax.random.split(key)
        taught, memory = self.teacher.step(meta_params.teacher, task_params[0], memory, timestep, k_teacher)
        said, _ = self.student.step(meta_params.student, task_params[1], (), timestep, k_student)
        policy = Either(taught.policy, said.policy, meta_params.share)
        return Output(policy, said.value, {"taught": taught.policy}), memory


def sharpened(policy: Any, temperature: float) -> Any:
    """A discrete policy at a temperature, log-probabilities over it; any other as it is."""
    if temperature == 1 or not isinstance(policy, Categorical | MultiCategorical):
        return policy
    return eqx.tree_at(lambda p: p.logits, policy, policy.logits / temperature)


def distance(name: Distance, taught: Any, said: Any, half_range: tuple[float, ...], key: Key) -> Array:
    """[B], of the student's policies from the teacher's; `half_range` is that of continuous actions."""
    if name == "kl":
        return taught.kl(said) if type(taught) is type(said) else -said.log_prob(taught.sample(key))
    if isinstance(said, Normal):
        apart = (taught.mode() - said.mean) / jnp.asarray(half_range)
        held = Normal(jax.lax.stop_gradient(said.mean), said.log_std)
        return (apart**2).sum(-1) - held.log_prob(taught.sample(key))
    return ((_probabilities(taught) - _probabilities(said)) ** 2).sum(-1)


def _probabilities(policy: Any) -> Array:
    """Of every value of every number of an action, side by side."""
    if isinstance(policy, Categorical):
        return jax.nn.softmax(policy.logits)
    ends = [sum(policy.sizes[: i + 1]) for i in range(len(policy.sizes) - 1)]
    return jnp.concatenate([jax.nn.softmax(x) for x in jnp.split(policy.logits, ends, axis=-1)], -1)
