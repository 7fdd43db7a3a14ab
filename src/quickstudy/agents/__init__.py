"""Agents, one file each; a new one is a file and a line here. Classical learners stand in `references`."""

REGISTRY = {
    "rl2": "quickstudy.agents.rl2:RL2",
    "episodic": "quickstudy.agents.episodic:Episodic",
    "random": "quickstudy.references.random_agent:Random",
    "thompson": "quickstudy.references.bandit_learners:Thompson",
    "optimistic-thompson": "quickstudy.references.bandit_learners:OptimisticThompson",
    "ucb1": "quickstudy.references.bandit_learners:UCB1",
    "epsilon-greedy": "quickstudy.references.bandit_learners:EpsilonGreedy",
    "greedy": "quickstudy.references.bandit_learners:Greedy",
    "gittins": "quickstudy.references.bandit_learners:Gittins",
    "gaussian-thompson": "quickstudy.references.gaussian_learners:GaussianThompson",
    "gaussian-ucb": "quickstudy.references.gaussian_learners:GaussianUCB",
    "psrl": "quickstudy.references.tabular_learners:PSRL",
    "opsrl": "quickstudy.references.tabular_learners:OPSRL",
    "ucrl2": "quickstudy.references.tabular_learners:UCRL2",
    "beb": "quickstudy.references.tabular_learners:BEB",
    "greedy-planner": "quickstudy.references.tabular_learners:GreedyPlanner",
    "epsilon-greedy-planner": "quickstudy.references.tabular_learners:EpsilonGreedyPlanner",
    "bayes-planner": "quickstudy.references.bayes_planner:BayesPlanner",
    "grid-bayes": "quickstudy.references.grid_bayes:GridBayes",
    "two-step-bayes": "quickstudy.references.two_step_bayes:TwoStepBayes",
}
