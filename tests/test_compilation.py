"""Compiled programs on the disk: found again by another process, and never half written."""

import pytest

from quickstudy import compilation
from tests.runs import run_script

COMPILE = """
import jax, quickstudy.compilation as compilation
compilation.use_compilation_cache()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
jax.block_until_ready(jax.jit(lambda x: (x @ x).sum() * {factor})(jax.numpy.ones((8, 8))))
print(sum("cache_hits" in name for name in hits))
"""


def test_another_process_finds_what_was_compiled(tmp_path):
    hits = [int(run_script(COMPILE.format(factor=3), QUICKSTUDY_CACHE=str(tmp_path))) for _ in range(2)]
    assert hits[0] == 0
    assert hits[1] > 0
    assert [p.suffix for p in tmp_path.iterdir() if p.suffix == ".part"] == []


def test_an_entry_is_whole_or_not_there(tmp_path, monkeypatch):
    """A write that fails half way leaves nothing under the entry's name."""

    class Cache:
        path = tmp_path

    def half(path, value):
        with path.open("wb") as file:
            file.write(value[: len(value) // 2])
        raise OSError("the disk is full")

    monkeypatch.setattr("pathlib.Path.write_bytes", half)
    with pytest.raises(OSError, match="full"):
        compilation._put_whole(Cache(), "program", b"0123456789")
    assert not (tmp_path / "program-cache").exists()
    monkeypatch.undo()
    compilation._put_whole(Cache(), "program", b"0123456789")
    assert (tmp_path / "program-cache").read_bytes() == b"0123456789"
