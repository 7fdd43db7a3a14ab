"""What is said of a sample of tasks: mean, interquartile mean, intervals.

The interval of a mean is the percentile bootstrap over tasks, its percentiles moved outwards for small
samples as Student's t moves a normal interval: with n tasks, from α/2 to Φ(-sqrt(n/(n-1)) t_{α/2, n-1}).

Source: Hesterberg 2015 (arXiv 1411.5279), section 5.3, the expanded percentile interval; Agarwal et al. 2021
(arXiv 2108.13264) on the interquartile mean; Wilson 1927 on the interval of a share.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import special

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
    """The mean over n ≥ 2 tasks and its 95% interval, values [n, ...] -> [...].

    Tasks are resampled with all that was measured in them, so that columns stay paired.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    columns = values.reshape(n, -1)
    means = np.concatenate([counts @ columns / n for counts in _resampling_counts(n)])
    tail = 100 * _tail(n)
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    shape = values.shape[1:]
    return Interval(columns.mean(axis=0).reshape(shape), low.reshape(shape), high.reshape(shape))


def share_interval(values: np.ndarray) -> Interval:
    """The mean of n shares in [0, 1] and its 95% Wilson interval; all of n do not make a success certain."""
    n, share = len(values), float(np.mean(values))
    z = -special.ndtri((1 - CONFIDENCE) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Interval(*map(np.asarray, (share, max(centre - half, 0.0), min(centre + half, 1.0))))


def _tail(n: int) -> float:
    """The share of resampled means to leave out on each side."""
    t = special.stdtrit(n - 1, (1 - CONFIDENCE) / 2)
    return float(special.ndtr(math.sqrt(n / (n - 1)) * t))


@functools.lru_cache(maxsize=2)
def _resampling_counts(n: int) -> list[np.ndarray]:
    """How often each of n tasks is drawn in each resample, in chunks of rows: a resampled mean is one product.

    Kept as bytes, since one evaluation needs the same ones for every column: 100 MB for 100,000 tasks.
    """
    generator = np.random.default_rng(SEED)
    rows_at_once = max(1, CHUNK // n)
    chunks = []
    for start in range(0, NUM_RESAMPLES, rows_at_once):
        drawn = generator.integers(n, size=(min(rows_at_once, NUM_RESAMPLES - start), n))
        counts = np.stack([np.bincount(row, minlength=n) for row in drawn])
        # A task that is drawn more than 255 times in n draws does not occur; two tasks can reach n.
        chunks.append(counts.astype(np.uint8 if n > 255 else np.uint16))
    return chunks


def standard_error(values: np.ndarray) -> float:
    """Of the mean over tasks, values [n]."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))
