"""What each stream of a phase contributed to what its task earned later: E-MAML's credit, stream by stream.

    c_ks = Σ_{j > k} R_j - Σ_{j > k, s', t} w r,   w = Π π_{-ks}(a) / π(a) of the actions behind phase k up to r

R_j is the undiscounted return of phase j over all streams, where its rewards count; π_{-ks} the policy of the
same trial, had the adaptation behind phase k not seen stream s. What would have been earned then is told by the
recorded trial itself, weighted as the other policy would have lived through it. In expectation that does not
depend on what stream s did, so it is a baseline: but for the cut of large weights, with c_ks for what was
earned beyond its phase each action's credit is still the gradient through the choice of what to learn from,
that of E-MAML. What the task, the other streams and chance in the last phase would have brought anyway is gone
from it: a stream of which nothing was learned is paid nothing, and the only one that found something, all.

A stream is left out by a `mask` that is False: an agent's `adapt` must take no notice of masked steps.

Source: ours, of known parts. Stadie et al. 2018 (arXiv 1803.01118), section 3, the credit; Wolpert and Tumer
2001 (Advances in Complex Systems 4) and Foerster et al. 2018 (COMA, arXiv 1705.08926), to pay each for the
difference it makes; Precup et al. 2000 (ICML), weights reward by reward; Ionides 2008 (Journal of Computational
and Graphical Statistics 17), their truncation.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from quickstudy.errors import wrong
from quickstudy.outer.advantages import Contributor
from quickstudy.rollout import replay
from quickstudy.types import Array, PyTree, Trials

# Where the other policy is far away, its mean rests on a few of these: longer ones are cut, at the price that
# it is thought to earn less than it would.
MAX_WEIGHT = 2.0


def contributor(asked: bool, agent: Any, meta_params: PyTree, trials: Trials) -> Contributor | None:
    """`contributions` of these trials, where an outer loop asks for them."""
    return functools.partial(contributions, agent, meta_params, trials) if asked else None


def contributions(
    agent: Any, meta_params: PyTree, trials: Trials, counts: Array, max_weight: float = MAX_WEIGHT
) -> Array:
    """c of each stream of each phase, [N, K+1, S]; 0 in the last phase.

    `meta_params` are those that the trials [N, K+1, S, T] were lived with, `counts` [N, K+1, S, T] says whose
    rewards count. Costs K S more replays, one after the other, with an adaptation each.
    Raises `InputError` for trials of one stream, without which there is nothing to learn from.
    """
    phases = trials.phases
    num_tasks, num_phases, num_streams, _ = phases.reward.shape
    if num_phases == 1:
        return jnp.zeros((num_tasks, num_phases, num_streams))
    if num_streams == 1:
        raise wrong("outer.credit_by_stream", True, "False in trials of one stream")
    earned = phases.reward * counts

    def contribution(left_out: Array) -> Array:
        phase, stream = left_out
        seen = phases._replace(mask=phases.mask.at[:, phase, stream].set(False))
        other = replay(agent, meta_params, trials._replace(phases=seen)).policy.log_prob(phases.action)
        behind = (jnp.arange(num_phases) > phase)[:, None, None]
        log_ratio = (other - phases.log_prob) * (phases.mask & behind)
        of_phase = log_ratio.sum(axis=(2, 3))
        before = jnp.cumsum(of_phase, axis=1) - of_phase
        log_weight = before[:, :, None, None] + jnp.cumsum(log_ratio, axis=3)
        weight = jnp.exp(jnp.minimum(log_weight, jnp.log(max_weight)))
        return ((1 - weight) * earned * behind).sum(axis=(1, 2, 3))

    before_the_last = jnp.indices((num_phases - 1, num_streams)).reshape(2, -1).T
    found = jax.lax.map(contribution, before_the_last).reshape(num_phases - 1, num_streams, num_tasks)
    return jnp.moveaxis(jnp.pad(found, ((0, 1), (0, 0), (0, 0))), 2, 0)
