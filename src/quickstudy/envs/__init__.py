"""Task families, one file each; a new one is a file and a line here."""

REGISTRY = {
    "acrobot": "quickstudy.envs.acrobot:Acrobot",
    "bandit": "quickstudy.envs.bandit:Bandit",
    "cartpole": "quickstudy.envs.cartpole:CartPole",
    "dark-room": "quickstudy.envs.dark_room:DarkRoom",
    "dependent-bandit": "quickstudy.envs.dependent_bandit:DependentBandit",
    "gaussian-bandit": "quickstudy.envs.gaussian_bandit:GaussianBandit",
    "grid-navigation": "quickstudy.envs.grid_navigation:GridNavigation",
    "key-to-door": "quickstudy.envs.key_to_door:KeyToDoor",
    "mountain-car": "quickstudy.envs.mountain_car:MountainCar",
    "pendulum": "quickstudy.envs.pendulum:Pendulum",
    "point-navigation": "quickstudy.envs.point_navigation:PointNavigation",
    "semi-circle": "quickstudy.envs.semi_circle:SemiCircle",
    "t-maze": "quickstudy.envs.t_maze:TMaze",
    "tabular-mdp": "quickstudy.envs.tabular_mdp:TabularMDP",
    "two-step": "quickstudy.envs.two_step:TwoStep",
    "wind": "quickstudy.envs.wind:Wind",
}
