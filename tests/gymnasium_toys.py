"""Gymnasium environments as other people write them: with state of their own, wherever it happens to lie."""

from __future__ import annotations

import types
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Diary(gymnasium.Env):
    """Full of state: a diary of the actions, chance of its own, an end that depends on both."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = spaces.Discrete(3, start=-1)

    def __init__(self, weight: float = 1.0, mood: str = "calm"):
        self.weight, self.mood, self.diary = weight, mood, []
        self.physics = types.SimpleNamespace(memory=0.9)

    def set_task(self, task: dict[str, Any]) -> None:
        self.weight, self.mood = task["weight"], task["mood"]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.diary = [self.np_random.normal()]
        return self._observe(), {}

    def step(self, action: int) -> Any:
        wild = 3.0 if self.mood == "wild" else 1.0
        self.diary.append(
            self.physics.memory * self.diary[-1] + self.weight * action + wild * self.np_random.normal()
        )
        reward = float(np.mean(self.diary))
        success = abs(self.diary[-1]) < 0.2
        return self._observe(), reward, abs(self.diary[-1]) > 4, False, {"is_success": success}

    def _observe(self) -> np.ndarray:
        return np.asarray([self.diary[-1], len(self.diary), self.np_random.uniform()])


class Forgetful(Diary):
    """Its reset leaves something over: it counts the episodes that it has lived, and shows the number."""

    num_lived = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.num_lived += 1
        return super().reset(seed=seed)

    def _observe(self) -> np.ndarray:
        return np.asarray([self.diary[-1], len(self.diary), self.num_lived])


class Boxed(gymnasium.Env):
    """Spaces that no agent knows: a dictionary to see, a table of numbers to act; it cuts episodes at 3."""

    observation_space = spaces.Dict(
        {"place": spaces.Box(-1, 1, (2, 2), np.float64), "door": spaces.Discrete(3, start=5)}
    )
    action_space = spaces.Box(np.full((2, 2), -0.5), np.full((2, 2), 0.5), (2, 2), np.float64)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return {"place": np.zeros((2, 2)), "door": 5}, {}

    def step(self, action: np.ndarray) -> Any:
        assert self.action_space.contains(action)
        self.steps += 1
        observation = {"place": action, "door": 5 + self.steps % 3}
        return observation, float(action.sum()), False, self.steps >= 3, {}


def diary(**keywords: Any) -> gymnasium.Env:
    return Diary(**keywords)
