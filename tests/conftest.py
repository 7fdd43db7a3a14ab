"""Tests keep compiled programs in a folder of their own, shared with the processes that they start."""

import os
import sys
import tempfile

os.environ.setdefault("QUICKSTUDY_CACHE", os.path.join(tempfile.gettempdir(), "quickstudy-tests-compiled"))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# These compile much and run little, each file in a process of its own under `make test`: XLA may optimise less.
# Those that train for long, or compare bits with an earlier run, keep its own settings.
QUICKLY = """cli contract core_equations cores curriculum distill docs envs envs_mujoco evaluation fine_tune
    gradient_agents guard imitation learned_optimizer learning lives multi_task policy_gradient references
    references_families references_mdp reproduction_curves reptile session settings tabular_agents
    task_networks transfer value_agents""".split()
if any(argument.endswith(f"test_{name}.py") for argument in sys.argv for name in QUICKLY):
    os.environ.setdefault(
        "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    )
