"""A policy of known tasks as a directory: what an agent that fine-tunes begins with.

start.safetensors    its arrays, by their path
start.json           where it comes from, and the digest of the arrays
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from quickstudy.errors import InputError, is_file, wrong
from quickstudy.files import read_json, write_bytes, write_json
from quickstudy.run import from_arrays, to_arrays
from quickstudy.types import PyTree

ARRAYS, RECORD = "start.safetensors", "start.json"


def save_start(directory: Path, meta_params: PyTree, **record: Any) -> None:
    """Write it; the record last, so that a directory with one is whole."""
    from safetensors.numpy import save

    data = save({name: np.ascontiguousarray(x).reshape(x.shape) for name, x in to_arrays(meta_params).items()})
    write_bytes(directory / ARRAYS, data)
    write_json(directory / RECORD, {**record, "sha256": hashlib.sha256(data).hexdigest()})


def load_start(directory: Path, template: PyTree, activation: str, of: str = "") -> PyTree:
    """In the structure of `template`; raises `InputError` where there is none that fits.

    `activation` is that of the agent which begins with it; `of` names the part that is wanted, "" all of it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not is_file(directory / RECORD):
        raise InputError(f"start: {str(directory)!r} holds no policy; expected a directory with {RECORD}")
    record = read_json(directory / RECORD)
    digest = record.get("sha256")
    if record.get("activation") != activation:
        raise wrong(
            "agent.activation", activation, f"{record.get('activation')}, as in the policy to begin with"
        )
    try:
        data = (directory / ARRAYS).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise InputError(f"start: {ARRAYS} in {str(directory)!r} is damaged; its digest is another")
        arrays = load(data)
    except (OSError, SafetensorError) as error:
        raise InputError(f"start: {str(directory)!r} cannot be read ({error})") from error
    return from_arrays(
        template, {name.removeprefix(of): x for name, x in arrays.items() if name.startswith(of)}
    )
