"""Published methods that are one of the agents with certain settings and an outer loop, by their own names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Variant:
    agent: str
    """Registry name."""
    outer: str
    """Registry name."""
    summary: str
    agent_fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    outer_fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of the experiment itself."""
    told_by: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Settings that no other method with this agent and outer loop has, by dotted names."""


VARIANTS: dict[str, Variant] = {
    "promp": Variant(
        "maml",
        "ppo",
        "ProMP (Rothfuss et al. 2019, arXiv 1810.06784): MAML with the estimator lvc, clipping, and a penalty "
        "on what is adapted from",
        agent_fields={"estimator": "lvc"},
        told_by={"agent.estimator": "lvc"},
        outer_fields={
            # Appendix of the paper.
            "learning_rate": 1e-3,
            "schedule": "constant",
            "clip": 0.3,
            "num_epochs": 5,
            "num_minibatches": 1,
            "adaptation_kl_coefficient": 5e-4,
            "adaptation_kl_target": 0.01,
            "entropy_coefficient": 0.0,
            "gae_lambda": 1.0,
        },
    ),
    "e-maml": Variant(
        "maml",
        "trpo",
        "E-MAML (Stadie et al. 2018, arXiv 1803.01118): MAML whose first phase is credited for what is learned "
        "from it",
        outer_fields={"credit": "trial", "gae_lambda": 1.0},
        told_by={"outer.credit": "trial"},
    ),
    "first-order-maml": Variant(
        "maml",
        "trpo",
        "MAML without second derivatives (Finn et al. 2017, section 5.2)",
        agent_fields={"first_order": True},
        told_by={"agent.first_order": True},
        outer_fields={"gae_lambda": 1.0},
    ),
    "meta-policy-gradient": Variant(
        "maml",
        "a2c",
        "a meta-policy that is improved online, one source task at a time; `--start` begins it with the merged "
        "policy and critic of value-based learners",
        agent_fields={"hidden_sizes": (64, 64), "activation": "tanh", "baseline": "critic"},
        outer_fields={
            "baseline": "critic",
            "phases": "last",
            "credit": "episode",
            "learning_rate": 3e-4,
            "gae_lambda": 0.95,
            "entropy_coefficient": 0.0,
        },
        fields={"num_tasks": 1, "num_updates": 500},
        told_by={"agent.baseline": "critic", "num_tasks": 1},
    ),
    "es-maml": Variant(
        "maml",
        "evolution",
        "ES-MAML (Song et al. 2020, arXiv 1910.01215): MAML by evolution strategies",
        outer_fields={"population_size": 40, "sigma": 0.1, "learning_rate": 0.03},
        # Each member has a task, and its mirror image the same.
        fields={"num_tasks": 40},
    ),
}


def variant_of(settings: Mapping[str, Any]) -> str | None:
    """The name of the published method with these settings, by dotted names; None where none has them."""
    for name, variant in VARIANTS.items():
        told_by = {"agent.type": variant.agent, "outer.type": variant.outer, **variant.told_by}
        if all(settings.get(field) == value for field, value in told_by.items()):
            return name
    return None
