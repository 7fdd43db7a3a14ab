"""What is said of a sample of tasks: mean, interquartile mean, bootstrap interval.

Source of the interquartile mean's use: Agarwal et al. 2021 (arXiv 2108.13264).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
NUM_RESAMPLES = 1000
# Fixed: the same sample has the same interval whenever it is computed.
SEED = 20_240_229
# Random numbers drawn at a time: 2^22 of them take 32 MB.
CHUNK = 2**22


class Interval(NamedTuple):
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """The mean of the middle half, values [n, ...] -> [...]; parts of a value count by their share."""
    ordered = np.sort(values, axis=0)
    n = len(ordered)
    # The share of each rank's interval [i, i+1] that lies within [n/4, 3n/4].
    ranks = np.arange(n)
    weight = np.clip(np.minimum(ranks + 1, 0.75 * n) - np.maximum(ranks, 0.25 * n), 0, 1)
    return np.tensordot(weight, ordered, axes=(0, 0)) / weight.sum()


def mean_interval(values: np.ndarray) -> Interval:
    """The mean over n tasks and its 95% percentile bootstrap interval, values [n, ...] -> [...].

    Tasks are resampled with all that was measured in them, so that columns stay paired.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    columns = values.reshape(n, -1)
    generator = np.random.default_rng(SEED)
    means = []
    rows_at_once = max(1, CHUNK // n)
    for start in range(0, NUM_RESAMPLES, rows_at_once):
        rows = min(rows_at_once, NUM_RESAMPLES - start)
        drawn = generator.integers(n, size=(rows, n))
        # How often each task was drawn: the resampled mean is then one matrix product.
        counts = np.stack([np.bincount(row, minlength=n) for row in drawn])
        means.append(counts @ columns / n)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail], axis=0)
    shape = values.shape[1:]
    return Interval(columns.mean(axis=0).reshape(shape), low.reshape(shape), high.reshape(shape))


def standard_error(values: np.ndarray) -> float:
    """Of the mean over tasks, values [n]."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))
