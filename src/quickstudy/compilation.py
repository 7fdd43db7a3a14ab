"""Compiled programs are kept on disk between runs."""

from __future__ import annotations

import os
from pathlib import Path

import jax


def use_compilation_cache() -> None:
    """Keep compiled programs below the user's cache folder, unless JAX was told of another place.

    `QUICKSTUDY_CACHE` names another folder; empty, it turns the cache off.
    """
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quickstudy" / "compiled"
    folder = os.environ.get("QUICKSTUDY_CACHE", str(default))
    if folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
