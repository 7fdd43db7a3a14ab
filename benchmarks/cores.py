"""Steps a second of every memory: in the step form, as in collection, and in the sequence form, as in updates.

`step` is a scan of the step form over the length, forward; `unroll` and `unroll_and_gradient` are the sequence
form, without and with its gradient in all parameters. They are given streams of `steps` steps together, so that
what is measured is the same amount of work at every length; `one_stream_…` is given one stream alone.

    python benchmarks/cores.py [--lengths 16 64 256 1024 4096] [--steps 16384] [--cores gru lstm …]

What the file holds of other cores stays. Writes benchmarks/results/cores.json, and from it the table and the
picture in docs/cores.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any, get_args

import jax
import jax.numpy as jnp
from cores_page import write
from machine import RESULTS, save

from quickstudy.nets import cores
from quickstudy.types import Array

IN_SIZE, HIDDEN_SIZE = 10, 64


def seconds(run: Callable[[], Any], repeats: int) -> float:
    """Median of the seconds of one call, after one to compile."""
    jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def step_form(core: cores.Core, xs: Array) -> Array:
    """xs [B, T, in] -> the sum of all features"""

    def body(state: Any, x: Array) -> tuple[Any, Array]:
        features, state = jax.vmap(core.step)(x, state)
        return state, features.sum()

    states = jax.vmap(lambda _: core.init_state())(jnp.arange(len(xs)))
    return jax.lax.scan(body, states, jnp.swapaxes(xs, 0, 1))[1].sum()


def sequence_form(core: cores.Core, xs: Array) -> Array:
    """xs [B, T, in] -> the sum of all features"""
    return jax.vmap(lambda xs: core.unroll(xs, core.init_state()))(xs).sum()


def measure(name: cores.CoreName, length: int, num_steps: int, context: int, repeats: int) -> dict[str, Any]:
    num_streams = max(1, num_steps // length)
    core = cores.make(name, IN_SIZE, HIDDEN_SIZE, jax.random.key(0), context=min(context, length))
    xs = jax.random.normal(jax.random.key(1), (num_streams, length, IN_SIZE))
    forms = {
        "step": step_form,
        "unroll": sequence_form,
        "unroll_and_gradient": jax.grad(sequence_form),
    }
    result: dict[str, Any] = {"core": name, "length": length, "num_streams": num_streams}
    result["num_parameters"] = sum(x.size for x in jax.tree.leaves(core))
    for form, function in forms.items():
        compiled = jax.jit(function)
        took = seconds(lambda compiled=compiled: compiled(core, xs), repeats)
        result[f"{form}_steps_per_second"] = round(num_streams * length / took)
    compiled = jax.jit(jax.grad(sequence_form))
    took = seconds(lambda: compiled(core, xs[:1]), repeats)
    result["one_stream_unroll_and_gradient_steps_per_second"] = round(length / took)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 64, 256, 1024, 4096])
    parser.add_argument("--steps", type=int, default=16_384, help="of all streams together")
    parser.add_argument("--context", type=int, default=256, help="of transformer and snail")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--cores", nargs="+", default=get_args(cores.CoreName), choices=get_args(cores.CoreName)
    )
    options = parser.parse_args()
    sizes = {"in_size": IN_SIZE, "hidden_size": HIDDEN_SIZE, "context": options.context, "steps": options.steps}
    path, load = RESULTS / "cores.json", os.getloadavg()[0]
    results = json.loads(path.read_text())["results"] if path.exists() else []
    for name in options.cores:
        results = [row for row in results if row["core"] != name]
        for length in options.lengths:
            results.append(measure(name, length, options.steps, options.context, options.repeats))
            print(results[-1], flush=True)
        save("cores", {**sizes, "load_average_at_the_start": round(load, 2), "results": results})
    print(write(json.loads(path.read_text())))


if __name__ == "__main__":
    main()
