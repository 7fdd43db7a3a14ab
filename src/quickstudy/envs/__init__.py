"""Task families, one file each; a new one is a file and a line here."""

REGISTRY = {
    "bandit": "quickstudy.envs.bandit:Bandit",
}
