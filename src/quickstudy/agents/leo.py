"""LEO: what is learned of a task is a code, from which the last layer of the policy is decoded.

    a new task:            z = z_0, learned;   the head's weights W = W_0 + D z + w,  w = 0
    the first adaptation:  μ, log σ = relation network of the phase;   z = z_0 + μ + σ ε
    and every one, then:   num_latent_steps times  z ← z - α_z ∇_z L
                           num_head_steps times    w ← w - α_w ∇_w L
    ∇J = min(ρ, 2) A ∇ log π_{z,w}(a),   ρ = π_{z,w}(a) / π(a) when it was lived

α_z and α_w are learned, too. The layers below the head are shared by all tasks and do not move within one.

Source: Rusu et al. 2019 (arXiv 1807.05960), algorithm 1: five steps of each kind, a first α_z of 1.
Differs from the paper:
- The paper is of supervised learning, where a code has its loss at once. Here the phase that a code is drawn
  from was lived by z_0, and so the gradient at any other code is weighed by the ratio to the policy that lived
  it. The weight is bounded as a value's is by Espeholt et al. 2018 (arXiv 1802.01561), and not cut as PPO's,
  whose gradient jumps: what a task's steps reach would jump with it, and a meta-gradient sees no jump.
- A new task has no data to draw a code from: it begins with z_0, and the codes are drawn around that.
- The decoder gives the weights themselves, where the paper's draws them around what it gives.
- One code is decoded to the whole head, where the paper has one for each class.
- Our outer loops have no place for the paper's penalties: the code's divergence from N(0, I), the distance
  between the drawn and the adapted code, the decoder's orthogonality. Nothing keeps σ up but its use.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from quickstudy.agents.inner_loop import InnerLoop, Judged, TaskParams
from quickstudy.errors import require
from quickstudy.maths.surrogates import Estimator
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.nets.spaces import Encoder
from quickstudy.nets.task_encoders import RelationEncoder, described
from quickstudy.types import Array, Key, PyTree, Transition, TrialShape

MOST_RATIO = 2.0
"""Above 1, so that the gradient's own derivative is exact where the data was lived."""
FIRST_DEVIATION = 0.1
"""Of the first codes around z_0: seen in the policy, and small beside its own noise."""
FIRST_SCALE = 0.1
"""Of the last layer that gives μ: the first code hardly depends on the data, but a gradient goes on."""


class LEOParams(NamedTuple):
    network: ActorCritic
    """Its head's weights are W_0."""
    actions: Encoder
    """Of what was done; it has no parameters."""
    relation: RelationEncoder
    """-> μ and log (σ / FIRST_DEVIATION), side by side."""
    code: Array
    """z_0 [Z]"""
    decoder: Array
    """D [Z, F + 1, A], the last row of a head is its bias."""
    latent_rate: Array
    """α_z"""
    head_rate: Array
    """α_w"""


class Adapted(NamedTuple):
    code: Array
    """z [Z]"""
    offset: Array
    """w [F + 1, A]"""


@dataclasses.dataclass(frozen=True)
class LEO(InnerLoop):
    """LEO (Rusu et al. 2019): a latent code of the task, whose decoded head is moved by gradients of both."""

    inner_rate: float = 0.1
    """The first α_w, of the steps on the head."""
    estimator: Estimator = "lvc"
    """lvc alone, whose ratio is here to the policy that lived the phase."""
    latent_rate: float = 1.0
    """The first α_z, of the steps on the code."""
    latent_size: int = 16
    """Numbers of the code."""
    encoder_size: int = 32
    """Units of the layers that draw the first code."""
    num_latent_steps: int = 5
    num_head_steps: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            inner_rate=(self.inner_rate > 0, "above 0"),
            estimator=(self.estimator == "lvc", "lvc, whose ratio goes on where others end"),
            latent_size=(self.latent_size >= 1, "at least 1"),
            encoder_size=(self.encoder_size >= 1, "at least 1"),
            num_latent_steps=(1 <= self.num_latent_steps <= 10_000, "between 1 and 10,000"),
            num_head_steps=(1 <= self.num_head_steps <= 10_000, "between 1 and 10,000"),
        )

    def init(self, env: Any, trial: TrialShape, key: Key) -> LEOParams:
        k_network, k_relation, k_decoder = jax.random.split(key, 3)
        network = self.network(env, trial, k_network)
        actions = Encoder(env.action_space)
        # What is told of a step: o_t, a_t, r_t and its advantage.
        in_size = network.encoder.size + actions.size + 2
        relation = RelationEncoder(in_size, self.encoder_size, 2 * self.latent_size, k_relation, FIRST_SCALE)
        num_features, num_outputs = network.head.linear.weight.shape
        # A code of N(0, I) then moves the head's outputs by about as much as a feature is large.
        deviation = 1 / math.sqrt(num_features * self.latent_size)
        decoder = deviation * jax.random.normal(k_decoder, (self.latent_size, num_features + 1, num_outputs))
        return LEOParams(
            network=network,
            actions=actions,
            relation=relation,
            code=jnp.zeros(self.latent_size),
            decoder=decoder,
            latent_rate=jnp.asarray(self.latent_rate, jnp.float32),
            head_rate=jnp.asarray(self.inner_rate, jnp.float32),
        )

    def meta_network(self, meta_params: LEOParams) -> ActorCritic:
        return meta_params.network

    def start(self, meta_params: LEOParams) -> Adapted:
        return Adapted(meta_params.code, jnp.zeros_like(meta_params.decoder[0]))

    def says(self, meta_params: LEOParams, adapted: Adapted, observation: PyTree) -> tuple[Any, Array]:
        network = meta_params.network
        x = network.encoder(observation)
        return self._policy(meta_params, adapted, network.actor(x)), network.value(x)

    def adapt(
        self, meta_params: LEOParams, task_params: TaskParams, transitions: Transition, key: Key
    ) -> TaskParams:
        judged, num_adapts = self.judge(transitions), task_params.num_adapts

        def learn(meta_params: LEOParams, adapted: Adapted) -> Adapted:
            code = jnp.where(num_adapts == 0, self._drawn(meta_params, judged, key), adapted.code)
            return self._stepped(meta_params, adapted._replace(code=code), judged, num_adapts)

        return TaskParams(self._kept(learn)(meta_params, task_params.adapted), num_adapts + 1)

    def _drawn(self, meta_params: LEOParams, judged: Judged, key: Key) -> Array:
        """The first code, of what the first phase was like."""
        phase = judged.phase
        x = described(phase, meta_params.network.encoder, meta_params.actions)
        x = jnp.concatenate([x, judged.advantage[..., None]], axis=-1)
        mean, log_ratio = jnp.split(meta_params.relation(x, phase.mask), 2)
        noise = jax.random.normal(key, mean.shape, jnp.float32)
        return meta_params.code + mean + FIRST_DEVIATION * jnp.exp(log_ratio) * noise

    def _stepped(self, meta_params: LEOParams, adapted: Adapted, judged: Judged, num_adapts: Array) -> Adapted:
        """All gradient steps of one adaptation."""
        phase, network = judged.phase, meta_params.network
        # Neither code nor head changes the layers below: they are asked once for all steps.
        features = jax.vmap(jax.vmap(lambda o: network.actor(network.encoder(o))))(phase.timestep.observation)

        def loss(code: Array, offset: Array) -> Array:
            policy = self._policy(meta_params, Adapted(code, offset), features)
            log_prob = self.as_wide(meta_params, policy, num_adapts).log_prob(phase.action)
            gain = bounded_ratio(log_prob - phase.log_prob) * judged.advantage
            return -(gain * phase.mask).sum() / phase.mask.sum()

        share = self.rate(num_adapts) / self.inner_rate
        rates = share * meta_params.latent_rate, share * meta_params.head_rate
        code = self._descended(
            lambda code: loss(code, adapted.offset), adapted.code, rates[0], self.num_latent_steps
        )
        offset = self._descended(
            lambda offset: loss(code, offset), adapted.offset, rates[1], self.num_head_steps
        )
        return Adapted(code, offset)

    def _descended(self, loss: Callable[[Array], Array], x: Array, rate: Array, num_steps: int) -> Array:
        def step(x: Array, _: None) -> tuple[Array, None]:
            gradient = jax.grad(loss)(x)
            return x - rate * (jax.lax.stop_gradient(gradient) if self.first_order else gradient), None

        return jax.lax.scan(step, x, length=num_steps)[0]

    def _policy(self, meta_params: LEOParams, adapted: Adapted, features: Array) -> Any:
        """Features [..., F] -> the policy with the head that is decoded."""
        head = meta_params.network.head
        moved = jnp.tensordot(adapted.code, meta_params.decoder, 1) + adapted.offset
        outputs = features @ (head.linear.weight + moved[:-1]) + head.linear.bias + moved[-1]
        return head.actions(outputs)


def bounded_ratio(log_ratio: Array) -> Array:
    """ρ up to `MOST_RATIO`, from there on 2 (1 + log ρ/2): the derivative in log ρ is min(ρ, 2)."""
    beyond = jnp.maximum(log_ratio - math.log(MOST_RATIO), 0.0)
    return jnp.exp(log_ratio - beyond) * (1 + beyond)
