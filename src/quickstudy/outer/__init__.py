"""Outer loops, one file each; a new one is a file and a line here."""

REGISTRY = {
    "ppo": "quickstudy.outer.ppo:PPO",
}
