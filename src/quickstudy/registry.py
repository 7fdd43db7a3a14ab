"""Names to classes and back: registry names, and a user's own `package.module:Name` or `file.py:Name`."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Literal

from quickstudy import agents, envs, outer
from quickstudy.errors import InputError, unknown

Kind = Literal["agent", "env", "outer"]
REGISTRIES: dict[str, dict[str, str]] = {
    "agent": agents.REGISTRY,
    "env": envs.REGISTRY,
    "outer": outer.REGISTRY,
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
    target = getattr(cls, "__quickstudy_target__", f"{cls.__module__}:{cls.__qualname__}")
    for name, registered in REGISTRIES[kind].items():
        if registered == target:
            return name
    return target


def _import(kind: Kind, target: str) -> type:
    source, _, name = target.rpartition(":")
    module = _load_file(kind, Path(source)) if source.endswith(".py") else _load_module(kind, source)
    cls = getattr(module, name, None)
    if cls is None:
        names = [n for n, value in vars(module).items() if dataclasses.is_dataclass(value)]
        raise unknown(f"{kind} in {source}", name, names)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise InputError(f"{kind}: got {target!r}; expected a frozen dataclass")
    if source.endswith(".py"):
        setattr(cls, "__quickstudy_target__", f"{Path(source).resolve()}:{name}")  # noqa: B010
    return cls


def _load_module(kind: Kind, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(f"{kind}: cannot import {name!r}: {error}") from error


def _load_file(kind: Kind, path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{kind}: got {str(path)!r}; expected a file that exists")
    # One module for one file, so that its classes stay the same classes when it is named twice.
    name = f"quickstudy_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{kind}: cannot import {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def summary(cls: type) -> str:
    """The first sentence of a class's documentation, for lists."""
    return (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")
