"""Compiled programs are kept on disk between runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import jax
from jax._src.lru_cache import LRUCache


def use_compilation_cache() -> None:
    """Keep compiled programs below the user's cache folder, unless JAX was told of another place.

    `QUICKSTUDY_CACHE` names another folder; empty, it turns the cache off.
    """
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    folder = os.environ.get("QUICKSTUDY_CACHE")
    if folder is None:
        folder = str(_user_cache() / "quickstudy" / "compiled")
    if folder:
        LRUCache.put = _put_whole  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def _put_whole(cache: Any, key: str, value: bytes) -> None:
    """Write an entry beside its place and rename it.

    JAX 0.10 writes in place: a process that reads while another one writes, or after one was killed in a
    write, ends in an abort deep in XLA, which nothing can catch.
    """
    path = Path(str(cache.path)) / f"{key}-cache"
    if path.exists():
        return
    part = path.with_name(f"{key}.{os.getpid()}.part")
    try:
        part.write_bytes(value)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _user_cache() -> Path:
    """The user's cache folder; that for temporary files where the user has no home."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named)
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return Path(tempfile.gettempdir())
