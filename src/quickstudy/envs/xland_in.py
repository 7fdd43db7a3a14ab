"""XLand-MiniGrid: grid worlds whose goals and rules are the task, drawn here and not downloaded.

    goal:  hold a tile, stand near one, or bring two together
    rule:  the same three conditions; where one holds, its tiles turn into another
    chain: the goal's tiles are products of rules, whose tiles are products of rules, … `chain_depth` deep;
           the tiles at its start lie in the grid, with distractors

Neither goal nor rules are observed: the agent has to find them out within the trial's episodes. An episode
ends at the goal with 1 - 0.9 t / max_steps. Observations are the package's view of 5×5 cells, one-hot by tile
and colour.

Source: Nikulin et al. 2023 (arXiv 2312.12044), package `xminigrid`, the extra `xland`; the generation follows
Adaptive Agent Team 2023 (arXiv 2301.07608), appendix A.2.
Differs from the package: no two rule sets have the same goal and rules, so that no test task is a training
task (its generator lets duplicates through, and its script evaluates on its training tasks). The script's
network sees the view as numbers of tiles and colours, which `one_hot=False` gives.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.extras import package
from quickstudy.errors import InputError, require, unknown, wrong
from quickstudy.types import Array, Key, Outcome, PyTree

# The package's numbers for goals and rules by condition, and the lengths to which it pads them.
GOAL_IDS, RULE_IDS = {"hold": 1, "near": 3, "together": 4}, {"hold": 1, "near": 2, "together": 3}
GOAL_SIZE, RULE_SIZE = 5, 7
NUM_TILES, NUM_COLOURS, VIEW = 13, 12, 5
BALL, SQUARE, PYRAMID, GOAL, KEY = 3, 4, 5, 6, 7
COLOURS = (1, 2, 3, 4, 5, 6, 9)
TRIES_PER_RULESET = 50

Tile = tuple[int, int]
PICKABLE: tuple[Tile, ...] = tuple((t, c) for t in (BALL, SQUARE, PYRAMID, KEY) for c in COLOURS)
"""Tiles that can be held."""
VISIBLE: tuple[Tile, ...] = (*PICKABLE, *((GOAL, c) for c in COLOURS))


class RuleSets(NamedTuple):
    """Rule sets of one family, padded to one size; as the package encodes them."""

    goal: Any
    """uint8 [n, 5]"""
    rules: Any
    """uint8 [n, R, 7]"""
    init_tiles: Any
    """uint8 [n, M, 2]"""


@dataclasses.dataclass(frozen=True)
class XLand:
    """XLand-MiniGrid (Nikulin et al. 2023): grid worlds with hidden goals and rules."""

    id: str = "XLand-MiniGrid-R1-9x9"
    """A name that `xminigrid.make` knows: R1 to R9 rooms, and the size."""
    chain_depth: int = 0
    """Rules from the tiles in the grid to the goal's tiles; 0 leaves the goal alone."""
    num_distractor_rules: int = 0
    """Rules that lead nowhere."""
    num_distractor_objects: int = 3
    """Tiles that nothing needs."""
    num_rulesets: int = 800
    """Different rule sets, of both splits; with chain_depth 0 there are 1043 in all."""
    test_share: float = 0.2
    """Of the rule sets, held out."""
    ruleset_seed: int = 0
    """Draws the rule sets."""
    split: Literal["train", "test"] = "train"
    """Rule sets to learn from, or held out."""
    one_hot: bool = True
    """Tiles and colours one-hot; else their numbers."""

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require(
            self,
            chain_depth=(0 <= self.chain_depth <= 3, "between 0 and 3"),
            num_distractor_rules=(self.num_distractor_rules >= 0, "0 or more"),
            num_distractor_objects=(self.num_distractor_objects >= 0, "0 or more"),
            num_rulesets=(self.num_rulesets >= 2, "at least 2"),
            test_share=(0 < self.test_share < 1, "above 0 and below 1"),
            ruleset_seed=(self.ruleset_seed >= 0, "0 or more"),
            split=(self.split in ("train", "test"), "train or test"),
        )

    @property
    def observation_space(self) -> spaces.Box:
        size = VIEW * VIEW * (NUM_TILES + NUM_COLOURS if self.one_hot else 2)
        return spaces.Box(0.0, 1.0 if self.one_hot else NUM_TILES - 1.0, (size,), np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(6)  # forward, right, left, pick up, put down, toggle

    @property
    def max_steps(self) -> int:
        return int(_made(self.id)[1].max_steps)

    def sample_task(self, key: Key) -> RuleSets:
        """One rule set of the split, without the axis n."""
        table, num_train = rulesets(self)
        low, high = (0, num_train) if self.split == "train" else (num_train, self.num_rulesets)
        index = jax.random.randint(key, (), low, high)
        return RuleSets(*(jnp.asarray(x)[index] for x in table))

    def reset(self, task: RuleSets, key: Key) -> tuple[PyTree, Array]:
        env, params = self._told(task)
        timestep = env.reset(params, jax.random.key_data(key))
        return timestep.state, self._seen(timestep.observation)

    def step(self, task: RuleSets, state: PyTree, action: Array, key: Key) -> tuple[PyTree, Outcome]:
        types = package("xminigrid.types", "xland")
        env, params = self._told(task)
        before = types.TimeStep(state=state, step_type=None, reward=None, discount=None, observation=None)
        after = env.step(params, before, action)
        solved = after.discount == 0
        return after.state, Outcome(self._seen(after.observation), after.reward, solved, solved)

    def render(self, task: RuleSets, state: PyTree) -> np.ndarray:
        """The package's own picture: the room, the agent and what it sees."""
        pictures = package("xminigrid.rendering.rgb_render", "xland")
        state = jax.tree.map(np.asarray, state)
        return pictures.render(state.grid, state.agent, VIEW, tile_size=16).astype(np.uint8)

    def describe(self, task: RuleSets) -> str:
        names = {number: name for name, number in GOAL_IDS.items()}
        tiles = [_name(*tile) for tile in np.asarray(task.goal)[1:].reshape(-1, 2) if tile.any()]
        num_rules = int((np.asarray(task.rules)[:, 0] > 0).sum())
        return f"{names[int(task.goal[0])]} {' and '.join(tiles)}, {num_rules} rules"

    def _told(self, task: RuleSets) -> tuple[Any, Any]:
        env, params = _made(self.id)
        types = package("xminigrid.types", "xland")
        return env, params.replace(ruleset=types.RuleSet(task.goal, task.rules, task.init_tiles))

    def _seen(self, view: Array) -> Array:
        if not self.one_hot:
            return view.astype(jnp.float32).ravel()
        tiles, colours = jax.nn.one_hot(view[..., 0], NUM_TILES), jax.nn.one_hot(view[..., 1], NUM_COLOURS)
        return jnp.concatenate([tiles, colours], axis=-1).ravel()


def rulesets(env: XLand) -> tuple[RuleSets, int]:
    """All rule sets of a family and how many of them, from the first, are the training's."""
    num_train = env.num_rulesets - max(1, round(env.test_share * env.num_rulesets))
    depth, rules, objects = env.chain_depth, env.num_distractor_rules, env.num_distractor_objects
    return _generate(env.num_rulesets, depth, rules, objects, env.ruleset_seed), num_train


@functools.cache
def _generate(num: int, depth: int, num_rules: int, num_objects: int, seed: int) -> RuleSets:
    """Different in goal and rules; raises `InputError` where there are not so many."""
    rng, found = np.random.default_rng(seed), {}
    for _ in range(num * TRIES_PER_RULESET):
        goal, rules, tiles = _ruleset(rng, depth, num_rules, num_objects)
        found.setdefault((goal, tuple(sorted(rules))), tiles)
        if len(found) == num:
            break
    else:
        raise wrong("XLand.num_rulesets", num, f"fewer: only {len(found)} were found that differ")
    goals = np.asarray([_padded(goal, GOAL_SIZE) for goal, _ in found], np.uint8)
    most_rules = max(1, *(len(rules) for _, rules in found))
    rules = [[_padded(rule, RULE_SIZE) for rule in rules] for _, rules in found]
    rules = [rule + [(0,) * RULE_SIZE] * (most_rules - len(rule)) for rule in rules]
    most_tiles = max(len(tiles) for tiles in found.values())
    tiles = [[*tiles, *[(0, 0)] * (most_tiles - len(tiles))] for tiles in found.values()]
    return RuleSets(goals, np.asarray(rules, np.uint8), np.asarray(tiles, np.uint8))


def _ruleset(
    rng: np.random.Generator, depth: int, num_rules: int, num_objects: int
) -> tuple[tuple[int, ...], list[tuple[int, ...]], list[Tile]]:
    """-> (goal, rules, tiles in the grid)"""
    kind, tiles = _condition(rng, set())
    goal = (GOAL_IDS[kind], *_flat(tiles))
    used, rules, needed = set(tiles), [], tiles
    for _ in range(depth):
        products, needed = needed, []
        for product in products:
            kind, tiles = _condition(rng, used)
            rules.append((RULE_IDS[kind], *_flat([*tiles, product])))
            used |= set(tiles)
            needed += tiles
    in_grid = [*needed, *(_one_of(rng, VISIBLE, used) for _ in range(num_objects))]
    for _ in range(num_rules):
        kind, tiles = _condition(rng, set())
        rules.append((RULE_IDS[kind], *_flat([*tiles, _one_of(rng, PICKABLE, used)])))
        in_grid += tiles
    return goal, rules, in_grid


def _condition(rng: np.random.Generator, used: set[Tile]) -> tuple[str, list[Tile]]:
    """What must hold, of tiles that are not used yet."""
    kind = ("hold", "near", "together")[rng.integers(3)]
    if kind == "together":  # one of the two must be carried to the other
        return kind, [_one_of(rng, VISIBLE, used), _one_of(rng, PICKABLE, used)]
    return kind, [_one_of(rng, PICKABLE if kind == "hold" else VISIBLE, used)]


def _one_of(rng: np.random.Generator, tiles: tuple[Tile, ...], used: set[Tile]) -> Tile:
    free = [tile for tile in tiles if tile not in used]
    if not free:
        raise InputError("XLand: no tile is left for so many rules; lower chain_depth or the distractors")
    return free[rng.integers(len(free))]


def _flat(tiles: list[Tile]) -> list[int]:
    return [number for tile in tiles for number in tile]


def _padded(encoding: tuple[int, ...], size: int) -> tuple[int, ...]:
    return encoding + (0,) * (size - len(encoding))


def _name(tile: int, colour: int) -> str:
    colours = (
        "",
        "red",
        "green",
        "blue",
        "purple",
        "yellow",
        "grey",
        "black",
        "orange",
        "white",
        "brown",
        "pink",
    )
    shapes = {BALL: "ball", SQUARE: "square", PYRAMID: "pyramid", GOAL: "goal", KEY: "key"}
    return f"{colours[colour]} {shapes[int(tile)]}"


@functools.cache
def _made(name: str) -> tuple[Any, Any]:
    with jax.ensure_compile_time_eval():  # it may be asked for while a step is traced
        xminigrid = package("xminigrid", "xland")
    known = [x for x in xminigrid.registered_environments() if x.startswith("XLand")]
    if name not in known:
        raise unknown("XLand.id", name, known)
    env, params = xminigrid.make(name)
    return env, params
