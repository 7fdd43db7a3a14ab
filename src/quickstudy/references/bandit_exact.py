"""The Bayes-optimal reward of the k-armed Bernoulli bandit, p ~ U(0, 1), exactly.

    V_n = 0;   V_t(x) = max_a p_a (1 + V_{t+1}(x, a succeeds)) + (1 - p_a) V_{t+1}(x, a fails)
    p_a = (s_a + 1) / (s_a + f_a + 2)

Arms differ by their counts alone, so a state x is the multiset of the arms' (successes, failures): all
untouched arms are one, and the states after t pulls number far fewer than the histories. They are
enumerated layer by layer, t = 0, 1, …; V is computed from the last layer to the first, and the chance of
each state under the optimal policy from the first to the last.

A multiset is found by a sum of random 64-bit numbers, one for each kind of arm. Two states of one layer
with the same sum would be counted as one; each layer's size is therefore compared with the number that
combinatorics gives.

Source: Bellman 1956, "A problem in the sequential design of experiments"; the setting of Duan et al. 2016
(arXiv 1611.02779), section 3.1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from quickstudy.errors import InputError

MAX_STATES = 2_250_000
"""The most that `bayes_optimal_rewards` enumerates: two arms and 100 pulls (2 s, 250 MB), five arms and 26
pulls (3 s, 420 MB), fifty arms and 21 pulls (5 s, 900 MB)."""

TIE_WEIGHT = 1e-9
"""Of the posterior mean in the choice among equally good arms: above the rounding of the values, below any
real difference."""


class _Arms(NamedTuple):
    """What is known of an arm by its code: n(n+1)/2 + s after s successes in n pulls.

    Code 0 is the untouched arm. A failure takes code c to c + n + 1, a success to c + n + 2.
    """

    pulls: np.ndarray
    mean: np.ndarray
    """Of the posterior."""
    hash: np.ndarray
    """uint64; 0 for the untouched arm, so that any number of them leaves a state's sum as it is."""


class _Layer(NamedTuple):
    """All states after t pulls, sorted by key."""

    keys: np.ndarray
    """[X] uint64, the sum of the arms' hashes."""
    codes: np.ndarray
    """[X, W] int32, in any order; W = min(k, t+1) arms: those pulled, and one untouched where there is one."""


class _Choice(NamedTuple):
    """The optimal pull in each state of a layer."""

    mean: np.ndarray
    """[X], the chance of a success."""
    success: np.ndarray
    """[X], the state of the next layer after a success."""
    failure: np.ndarray


def num_states(num_arms: int, num_pulls: int) -> int:
    """States in which a pull is chosen, counted without enumerating them (rounded above 2^53)."""
    return int(_layer_sizes(num_arms, num_pulls).sum())


def is_feasible(num_arms: int, num_pulls: int) -> bool:
    """Whether `bayes_optimal_rewards` would compute it."""
    # One arm alone has n(n+1)/2 states: a bound that spares counting for a very long trial.
    if num_pulls * (num_pulls + 1) // 2 > MAX_STATES:
        return False
    # Neither do arms behind the number of pulls add states, nor does a longer trial have fewer: past 200 pulls
    # of three arms there are too many in any case, and counting them would take long.
    arms = min(num_arms, num_pulls)
    if arms >= 3 and num_pulls > 200:
        return False
    return num_states(arms, num_pulls) <= MAX_STATES


def bayes_optimal_rewards(num_arms: int, num_pulls: int) -> np.ndarray:
    """The expected reward of each pull under an optimal policy, [n]; their sum is the optimal value.

    Among equally good arms the policy takes one with the highest posterior mean.
    Raises `InputError` where there are more than `MAX_STATES` states, or no arm or pull.
    """
    if num_arms < 1 or num_pulls < 1 or not is_feasible(num_arms, num_pulls):
        raise InputError(
            f"bayes_optimal_rewards: got {num_arms} arms and {num_pulls} pulls; "
            f"expected at least one of each and at most {MAX_STATES} states"
        )
    arms = _arms(num_pulls)
    layers = _layers(arms, num_arms, num_pulls)
    return _follow(_plan(arms, layers))


def _layer_sizes(num_arms: int, num_pulls: int) -> np.ndarray:
    """The number of multisets of `num_arms` arms with t pulls in all, for t = 0, …, num_pulls - 1."""
    # ways[j, t]: multisets of j touched arms with t pulls in all. Arms with n pulls come in n + 1 kinds.
    ways = np.zeros((min(num_arms, num_pulls) + 1, num_pulls))
    ways[0, 0] = 1.0
    for pulls in range(1, num_pulls):
        fewer = ways.copy()
        for arms in range(1, min(num_arms, (num_pulls - 1) // pulls) + 1):
            kinds = math.comb(pulls + arms, arms)
            ways[arms:, arms * pulls :] += kinds * fewer[:-arms, : -arms * pulls]
    return ways.sum(0)


def _arms(num_pulls: int) -> _Arms:
    pulls = np.repeat(np.arange(num_pulls + 1), np.arange(1, num_pulls + 2))
    successes = np.arange(len(pulls)) - pulls * (pulls + 1) // 2
    numbers = np.random.default_rng(0).integers(2**64, size=len(pulls), dtype=np.uint64)
    numbers[0] = 0
    return _Arms(pulls, (successes + 1) / (pulls + 2), numbers)


def _layers(arms: _Arms, num_arms: int, num_pulls: int) -> list[_Layer]:
    sizes = _layer_sizes(num_arms, num_pulls)
    layers = [_Layer(np.zeros(1, np.uint64), np.zeros((1, 1), np.int32))]
    for size in sizes[1:]:
        layers.append(_next_layer(arms, layers[-1], num_arms))
        if len(layers[-1].keys) != size:
            raise ArithmeticError("two states have one key; another seed of the hashes tells them apart")
    return layers


def _next_layer(arms: _Arms, layer: _Layer, num_arms: int) -> _Layer:
    successes, failures = _successor_keys(arms, layer)
    keys, first = np.unique(np.stack([successes, failures]), return_index=True)
    outcome, state, arm = np.unravel_index(first, (2, *layer.codes.shape))
    codes = layer.codes[state]
    changed = codes[np.arange(len(codes)), arm]
    codes[np.arange(len(codes)), arm] = changed + arms.pulls[changed] + np.where(outcome == 0, 2, 1)
    if codes.shape[1] < num_arms:
        codes = np.pad(codes, ((0, 0), (0, 1)))
    return _Layer(keys, codes)


def _successor_keys(arms: _Arms, layer: _Layer) -> tuple[np.ndarray, np.ndarray]:
    """The keys after a success and after a failure of each arm, [X, W] each."""
    failure = layer.codes + arms.pulls[layer.codes] + 1
    others = layer.keys[:, None] - arms.hash[layer.codes]
    return others + arms.hash[failure + 1], others + arms.hash[failure]


def _plan(arms: _Arms, layers: list[_Layer]) -> list[_Choice]:
    """The optimal choices of all layers, from the last to the first; returned from the first to the last."""
    choices = []
    # After the last pull there is one state, which every key finds, and nothing to gain.
    keys, value = np.full(1, np.iinfo(np.uint64).max), np.zeros(1)
    for layer in reversed(layers):
        success, failure = (np.searchsorted(keys, found) for found in _successor_keys(arms, layer))
        mean = arms.mean[layer.codes]
        values = mean * (1.0 + value[success]) + (1.0 - mean) * value[failure]
        best = np.arange(len(values)), np.argmax(values + TIE_WEIGHT * mean, axis=1)
        choices.append(_Choice(mean[best], success[best], failure[best]))
        keys, value = layer.keys, values[best]
    return choices[::-1]


def _follow(choices: list[_Choice]) -> np.ndarray:
    """The expected reward of each pull, by the chance of each state."""
    rewards, chance = np.empty(len(choices)), np.ones(1)
    for t, choice in enumerate(choices):
        rewards[t] = chance @ choice.mean
        size = len(choices[t + 1].mean) if t + 1 < len(choices) else 1
        chance = np.bincount(choice.success, chance * choice.mean, size) + np.bincount(
            choice.failure, chance * (1.0 - choice.mean), size
        )
    return rewards
