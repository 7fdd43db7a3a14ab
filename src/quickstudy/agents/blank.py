"""What an agent knows beforehand that begins anew in every task, as ordinary reinforcement learning does."""

from __future__ import annotations

from typing import Any

import equinox as eqx


class Blank(eqx.Module):
    """The `meta_params` of an agent from scratch: no array, for nothing was learned before the task."""

    env: Any = eqx.field(static=True)
    """As the agent meets it in `init`: a frozen dataclass, from whose spaces networks and tables are made."""
    num_adapts: int = eqx.field(static=True)
    """K of the life, or trial, to come: what schedules are measured against."""
