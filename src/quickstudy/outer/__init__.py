"""Outer loops, one file each; a new one is a file and a line here."""

REGISTRY = {
    "ppo": "quickstudy.outer.ppo:PPO",
    "a2c": "quickstudy.outer.a2c:A2C",
    "trpo": "quickstudy.outer.trpo:TRPO",
    "reptile": "quickstudy.outer.reptile:Reptile",
    "evolution": "quickstudy.outer.evolution:Evolution",
}
