"""The Bayes-optimal reward of the dependent two-armed bandits, in closed form.

    a success of arm 0 and a failure of arm 1 are votes for arm 0, the others are votes for arm 1;
    v of the t votes so far are for arm 0, and the arm with more votes is the one to pull

    two values, the better arm paying p       E[reward] = p Q + (1 - p)(1 - Q),
        Q = P(v > t/2) + ½ P(v = t/2),        v ~ Binomial(t, p)
    q ~ U(0, 1)                               v is uniform on 0 … t, and the arm pays
        (max(v, t - v) + 1) / (t + 2)

Every pull gives one vote whose chance is the same for both arms, so no pull tells more than another.

Source: the task of Wang et al. 2016 (arXiv 1611.05763), section 3.1.2.
"""

from __future__ import annotations

import numpy as np

from quickstudy.envs.dependent_bandit import BETTER_ARM, DependentBandit

MAX_PULLS = 10_000
"""0.2 s of work."""


def bayes_optimal_rewards(env: DependentBandit, num_pulls: int) -> np.ndarray | None:
    """The expected reward of each pull [n]; None above `MAX_PULLS`."""
    if num_pulls > MAX_PULLS:
        return None
    if env.difficulty == "uniform":
        return _uniform(np.arange(num_pulls))
    return _two_values(BETTER_ARM[env.difficulty], num_pulls)


def _uniform(votes: np.ndarray) -> np.ndarray:
    # The sum over v of max(v, t - v) + 1 is (3 (t+1)² + 2 (t+1)) / 4, rounded down.
    m = votes + 1
    return (3 * m * m + 2 * m) // 4 / (m * (m + 1.0))


def _two_values(better: float, num_pulls: int) -> np.ndarray:
    right = np.empty(num_pulls)
    chance = np.ones(1)  # of v votes for the better arm
    for t in range(num_pulls):
        v = np.arange(t + 1)
        right[t] = chance[2 * v > t].sum() + 0.5 * chance[2 * v == t].sum()
        chance = np.append(chance * (1.0 - better), 0.0) + np.append(0.0, chance * better)
    return better * right + (1.0 - better) * (1.0 - right)
