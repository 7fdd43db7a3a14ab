"""A distribution over named numbers, as text: `g=5:15` is uniform between, `m=0.5,1,2` one of these.

Text, because it is hashable, can be stored and can be typed on a command line.
"""

from __future__ import annotations

import ast
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from quickstudy.errors import wrong
from quickstudy.types import Array, Key, PyTree


class Range(NamedTuple):
    """Uniform over the reals between."""

    low: float
    high: float


class Choice(NamedTuple):
    """One of these, each as likely."""

    values: tuple[Any, ...]


@functools.cache
def read_ranges(texts: tuple[str, ...]) -> dict[str, Range | Choice]:
    """By name; raises `InputError` where a text is not of the two forms."""
    named = {}
    for text in texts:
        name, equals, values = (part.strip() for part in text.partition("="))
        if not (name and equals and values):
            raise wrong("tasks", text, "name=low:high or name=a,b,c")
        if name in named:
            raise wrong("tasks", text, f"each name once, but {name!r} stands twice")
        named[name] = _read_values(text, values)
    return named


def sample_ranges(texts: tuple[str, ...], key: Key) -> dict[str, Array]:
    """Of a range the value, of a choice its number."""
    task = {}
    for name, values in read_ranges(texts).items():
        key, k_value = jax.random.split(key)
        if isinstance(values, Range):
            task[name] = jax.random.uniform(k_value, minval=values.low, maxval=values.high)
        else:
            task[name] = jax.random.randint(k_value, (), 0, len(values.values))
    return task


def lowest(texts: tuple[str, ...]) -> dict[str, Any]:
    """The task of all lower ends and first choices."""
    return {name: v.low if isinstance(v, Range) else 0 for name, v in read_ranges(texts).items()}


def values_of(texts: tuple[str, ...], task: PyTree) -> dict[str, Any]:
    """What a task's numbers stand for, as Python values."""
    return {
        name: float(task[name]) if isinstance(values, Range) else values.values[int(task[name])]
        for name, values in read_ranges(texts).items()
    }


def arrays_of(texts: tuple[str, ...], task: PyTree) -> dict[str, Array]:
    """What a task's numbers stand for, under jit; choices must be numbers."""
    arrays = {}
    for name, values in read_ranges(texts).items():
        if isinstance(values, Choice) and not all(isinstance(value, int | float) for value in values.values):
            raise wrong("tasks", f"{name}={','.join(map(str, values.values))}", "numbers")
        arrays[name] = task[name] if isinstance(values, Range) else jnp.asarray(values.values)[task[name]]
    return arrays


def describe(texts: tuple[str, ...], task: PyTree) -> str:
    said = values_of(texts, task).items()
    return ", ".join(f"{name} = {x:.4g}" if isinstance(x, float) else f"{name} = {x}" for name, x in said)


def _read_values(text: str, values: str) -> Range | Choice:
    low, colon, high = values.partition(":")
    if not colon:
        return Choice(tuple(_read_value(value.strip()) for value in values.split(",")))
    try:
        numbers = Range(float(low), float(high))
    except ValueError:
        raise wrong("tasks", text, "numbers around the colon") from None
    if not numbers.low < numbers.high:
        raise wrong("tasks", text, "the lower number first")
    return numbers


def _read_value(text: str) -> Any:
    """A Python literal where it is one (2, 0.5, True), else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
