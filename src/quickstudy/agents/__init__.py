"""Agents, one file each; a new one is a file and a line here. Classical learners stand in `references`."""

REGISTRY = {
    "rl2": "quickstudy.agents.rl2:RL2",
    "random": "quickstudy.references.random_agent:Random",
    "thompson": "quickstudy.references.bandit_learners:Thompson",
    "optimistic-thompson": "quickstudy.references.bandit_learners:OptimisticThompson",
    "ucb1": "quickstudy.references.bandit_learners:UCB1",
    "epsilon-greedy": "quickstudy.references.bandit_learners:EpsilonGreedy",
    "greedy": "quickstudy.references.bandit_learners:Greedy",
    "gittins": "quickstudy.references.bandit_learners:Gittins",
}
