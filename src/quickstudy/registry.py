"""Names to classes and back: registry names, and a user's own `package.module:Name` or `file.py:Name`."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from quickstudy import agents, envs, outer
from quickstudy.errors import InputError, is_file, unknown, wrong

Kind = Literal["agent", "env", "outer"]
REGISTRIES: dict[str, dict[str, str]] = {
    "agent": agents.REGISTRY,
    "env": envs.REGISTRY,
    "outer": outer.REGISTRY,
}

# By which a class of each kind is known.
METHODS: dict[str, tuple[str, ...]] = {
    "agent": ("init", "init_task", "init_memory", "step", "adapt"),
    "env": ("observation_space", "action_space", "max_steps", "sample_task", "reset", "step"),
    "outer": ("init", "update"),
}


def resolve(kind: Kind, target: str, allow_code: bool = True) -> type:
    """The class behind a name; raises `InputError` where there is none.

    `allow_code=False` refuses names outside the registry: a run directory that somebody else made
    must not make us import a file.
    """
    registry = REGISTRIES[kind]
    if target in registry:
        return _import(kind, registry[target])
    if ":" not in target:
        raise unknown(kind, target, registry)
    if not allow_code:
        raise InputError(
            f"{kind}: {target!r} is code outside quickstudy; if you trust it, pass --allow-code to import it"
        )
    return _import(kind, target)


def name_of(kind: Kind, cls: type) -> str:
    """The registry name of a class, or the target by which `resolve` finds it again."""
    module = cls.__module__
    if module == "__main__":
        # A script's own class: the script is the file to find it in.
        module = str(Path(getattr(sys.modules["__main__"], "__file__", None) or "__main__").resolve())
    target = getattr(cls, "__quickstudy_target__", f"{module}:{cls.__qualname__}")
    for name, registered in REGISTRIES[kind].items():
        if registered == target:
            return name
    return target


def innermost(agent: Any) -> Any:
    """An agent without the settings around it."""
    while hasattr(agent, "agent"):
        agent = agent.agent
    return agent


def _import(kind: Kind, target: str) -> type:
    source, _, name = target.rpartition(":")
    module = _load_file(kind, Path(source)) if source.endswith(".py") else _load_module(kind, source)
    cls = getattr(module, name, None)
    if cls is None:
        names = [n for n, value in vars(module).items() if dataclasses.is_dataclass(value)]
        raise unknown(f"{kind} in {source}", name, names)
    params = getattr(cls, "__dataclass_params__", None)
    if not isinstance(cls, type) or params is None or not params.frozen:
        raise InputError(f"{kind}: got {target!r}; expected a frozen dataclass")
    missing = [method for method in METHODS[kind] if not hasattr(cls, method)]
    if missing:
        raise InputError(
            f"{kind}: {target!r} has no {missing[0]!r}; expected the methods {', '.join(METHODS[kind])}"
        )
    if source.endswith(".py"):
        setattr(cls, "__quickstudy_target__", f"{Path(source).resolve()}:{name}")  # noqa: B010
    return cls


def _load_module(kind: Kind, name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise wrong(kind, name, "package.module:Name, file.py:Name or a registered name")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        # A user's package lies where the command is called, as with `python -m`.
        sys.path.append(str(Path.cwd()))
    return _imported(kind, name, lambda: importlib.import_module(name))


def _load_file(kind: Kind, path: Path) -> ModuleType:
    if not is_file(path):
        raise InputError(f"{kind}: got {str(path)!r}; expected a file that exists")
    # One module for one file, so that its classes stay the same classes when it is named twice.
    name = f"quickstudy_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{kind}: cannot import {str(path)!r}")
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    sys.modules[name] = module
    try:
        _imported(kind, str(path), lambda: loader.exec_module(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _imported(kind: Kind, name: str, load: Callable[[], Any]) -> Any:
    """Import somebody's code; whatever is wrong with it is told with its place."""
    try:
        return load()
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = f", {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
        if isinstance(error, SyntaxError):
            place = f", line {error.lineno}"
        raise InputError(f"{kind}: cannot import {name!r}: {type(error).__name__}: {error}{place}") from error


def summary(cls: type) -> str:
    """The first sentence of a class's documentation, for lists."""
    return (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")
