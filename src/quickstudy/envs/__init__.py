"""Task families, one file each; a new one is a file and a line here."""

REGISTRY = {
    "bandit": "quickstudy.envs.bandit:Bandit",
    "dark-room": "quickstudy.envs.dark_room:DarkRoom",
    "dependent-bandit": "quickstudy.envs.dependent_bandit:DependentBandit",
    "gaussian-bandit": "quickstudy.envs.gaussian_bandit:GaussianBandit",
    "grid-navigation": "quickstudy.envs.grid_navigation:GridNavigation",
    "key-to-door": "quickstudy.envs.key_to_door:KeyToDoor",
    "t-maze": "quickstudy.envs.t_maze:TMaze",
    "tabular-mdp": "quickstudy.envs.tabular_mdp:TabularMDP",
    "two-step": "quickstudy.envs.two_step:TwoStep",
}
