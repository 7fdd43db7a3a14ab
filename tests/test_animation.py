"""The animation of the first and last episode: the right states, drawn, in a file that a browser plays."""

from __future__ import annotations

import dataclasses
import io
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

from quickstudy import animation, keys
from quickstudy import watch as watch_module
from quickstudy.animation import EPISODES, GAP, Animation, Episode, decode, encode
from quickstudy.cli import main
from quickstudy.envs.bandit import Bandit
from quickstudy.envs.point_navigation import PointNavigation
from quickstudy.errors import InputError
from quickstudy.evaluation import examples, initial_params
from quickstudy.keys import per_task
from quickstudy.references.random_agent import Random
from quickstudy.rollout import collect, sample_tasks
from quickstudy.types import Outcome, TrialShape
from quickstudy.watch import save_episodes, watch

TRIAL = TrialShape(num_adapts=1, num_streams=2, num_episodes=3)
ALONE = TrialShape(num_episodes=1)
AGENT = Random()


@dataclasses.dataclass(frozen=True)
class Line:
    """A walk to the last cell of a row: action 1 goes on, 0 stays. The task is the reward of a step on."""

    cells: int = 5
    max_steps: int = 6

    @property
    def observation_space(self):
        return spaces.Box(0, self.cells, (1,), np.float32)

    @property
    def action_space(self):
        return spaces.Discrete(2)

    def sample_task(self, key):
        return jax.random.randint(key, (), 1, 4)

    def reset(self, task, key):
        return jnp.zeros((), jnp.int32), jnp.zeros(1)

    def step(self, task, state, action, key):
        cell = state + action.astype(jnp.int32)
        return cell, Outcome(cell[None].astype(jnp.float32), (task * action) * 1.0, cell == self.cells - 1)

    def describe(self, task):
        return f"{int(task)} a step"

    def render(self, task, state):
        return drawn(int(state), int(task), self.cells)


def failing(family, task, state):
    raise KeyError("no such colour")


class Sudden(Line):
    def step(self, task, state, action, key):
        state, outcome = super().step(task, state, action, key)
        return state, outcome._replace(terminated=jnp.ones((), bool))


def drawn(cell, task, cells=5):
    """The cell red in a row of black ones; the task as a shade of blue below."""
    picture = np.zeros((2, cells, 3), np.uint8)
    picture[0, cell, 0] = 255
    picture[1, :, 2] = 80 * task
    return picture


def meta_params(env):
    return initial_params(AGENT, env, TRIAL, 0)


def ramp(count, height=3, width=4):
    """Pictures of one grey each, all different."""
    return [np.full((height, width, 3), 4 * i, np.uint8) for i in range(count)]


def told(*pictures, number=1):
    return Episode(number, 1.5, len(pictures) - 1, pictures)


def frames_of(data):
    """Every frame of a file as RGBA, and how long it stays."""
    image = Image.open(io.BytesIO(data))
    shown = []
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        shown.append((np.array(image.convert("RGBA")), image.info.get("duration")))
    return shown


def test_frames_are_those_of_the_evaluations_first_example():
    env = Line()
    steps = examples(AGENT, env, TRIAL, meta_params(env), keys.branch(7, keys.TEST))[0]["steps"]
    task_key = per_task(keys.branch(7, keys.TEST), jnp.arange(1))[0][0]
    task = int(env.sample_task(task_key))

    found = watch(AGENT, env, TRIAL, meta_params(env), seed=7)
    assert found is not None
    assert (found.task, found.every) == (f"{task} a step", 1)
    assert [episode.number for episode in found.episodes] == [1, 6]
    for episode in found.episodes:
        actions = [step["action"] for step in steps if step["episode"] == episode.number - 1]
        cells = np.cumsum([0, *actions])
        np.testing.assert_array_equal(np.stack(episode.frames), [drawn(cell, task) for cell in cells])
        assert episode.total == task * cells[-1]
        assert episode.num_steps == len(actions)


def test_another_seed_is_another_trial():
    env = Line()
    seen = [watch(AGENT, env, TRIAL, meta_params(env), seed) for seed in (0, 0, 1)]
    files = [encode(found) for found in seen if found is not None]
    assert files[0] == files[1] != files[2]


def test_long_episodes_are_thinned_to_one_beat_and_keep_their_last_picture(monkeypatch):
    env = Line()
    whole = watch(AGENT, env, TRIAL, meta_params(env))
    monkeypatch.setattr(watch_module, "MAX_FRAMES", 4)
    thinned = watch(AGENT, env, TRIAL, meta_params(env))
    assert whole is not None
    assert thinned is not None
    assert max(episode.num_steps for episode in whole.episodes) == 6
    assert (whole.every, thinned.every) == (1, 2)
    for one, other in zip(whole.episodes, thinned.episodes, strict=True):
        kept = [*range(0, one.num_steps, 2), one.num_steps]
        np.testing.assert_array_equal(np.stack(other.frames), np.stack([one.frames[t] for t in kept]))
        assert len(kept) <= 4
        assert (one.number, one.total, one.num_steps) == (other.number, other.total, other.num_steps)


def test_a_trial_of_one_episode_is_drawn_once():
    found = watch(AGENT, Line(), ALONE, meta_params(Line()))
    assert found is not None
    assert [episode.number for episode in found.episodes] == [1]


@dataclasses.dataclass(frozen=True)
class Watchful(Random):
    def adapt(self, meta_params, task_params, transitions, key):
        assert not {"state", "next_state"} & set(transitions.extras)
        return super().adapt(meta_params, task_params, transitions, key)


def test_recording_states_changes_nothing_else():
    agent, env = Watchful(), Line()
    params = initial_params(agent, env, TRIAL, 0)
    task_keys, trial_keys = per_task(jax.random.key(3), jnp.arange(4))
    arguments = (agent, env, TRIAL, params, sample_tasks(env, task_keys), trial_keys)
    compiled = jax.jit(collect, static_argnums=(0, 1, 2), static_argnames="record_state")
    plain, recorded = compiled(*arguments), compiled(*arguments, record_state=True)
    extras = dict(recorded.phases.extras)
    state, following = np.asarray(extras.pop("state")), np.asarray(extras.pop("next_state"))
    jax.tree.map(
        np.testing.assert_array_equal,
        (plain.task, plain.phases),
        (recorded.task, recorded.phases._replace(extras=extras)),
    )
    # The family shows its state, and a state follows from the one before wherever no episode ends.
    np.testing.assert_array_equal(state, recorded.phases.timestep.observation[..., 0])
    np.testing.assert_array_equal(following, recorded.phases.next_observation[..., 0])
    done = np.asarray(recorded.phases.terminated | recorded.phases.truncated)[..., :-1]
    np.testing.assert_array_equal(state[..., 1:], np.where(done, 0, following[..., :-1]))


def test_episodes_play_side_by_side_and_the_shorter_one_waits():
    left, right = ramp(4), ramp(7)[::-1]
    shown = frames_of(encode(Animation("", 1, [told(*left), told(*right, number=3)])))
    assert len(shown) == 7
    for t, (frame, _) in enumerate(shown):
        assert frame.shape == (3, 4 + GAP + 4, 4)
        np.testing.assert_array_equal(frame[:, :4, :3], left[min(t, 3)])
        np.testing.assert_array_equal(frame[:, -4:, :3], right[t])
        assert (frame[:, 4:-4, 3] == 0).all()
        assert (frame[:, :4, 3] == 255).all()
    durations = [duration for _, duration in shown]
    assert durations == [400] * 6 + [1600]


def test_the_file_says_what_is_seen_and_holds_a_still():
    page = decode(encode(Animation("a goal", 2, [told(*ramp(4)), told(*ramp(7), number=3)])))
    assert [(e.number, e.total, e.num_steps) for e in page.animation.episodes] == [(1, 1.5, 3), (3, 1.5, 6)]
    assert (page.animation.task, page.animation.every, page.size) == ("a goal", 2, (16, 3))
    ((still, _),) = frames_of(page.still)
    shown = frames_of(page.moving)
    np.testing.assert_array_equal(still[:3], shown[0][0])
    np.testing.assert_array_equal(still[-3:], shown[-1][0])
    assert (still[3:-3, :, 3] == 0).all()


def test_pictures_of_many_colours_share_a_palette_and_are_made_smaller():
    xs, ys = np.meshgrid(np.linspace(0, 255, 400), np.linspace(0, 255, 300))
    pictures = [np.stack([xs, ys, np.full_like(xs, 120 * t)], 2).astype(np.uint8) for t in range(3)]
    shown = frames_of(encode(Animation("", 1, [told(*pictures)])))
    assert [frame.shape for frame, _ in shown] == [(240, 320, 4)] * 3
    assert len(np.unique(np.concatenate([frame.reshape(-1, 4) for frame, _ in shown]), axis=0)) <= 64
    for (frame, _), picture in zip(shown, pictures, strict=True):
        smaller = np.asarray(Image.fromarray(picture).resize((320, 240)))
        assert np.abs(frame[..., :3].astype(int) - smaller).mean() < 32


def test_a_large_file_loses_every_second_picture(monkeypatch):
    random = np.random.default_rng(0)
    noise = [random.integers(0, 2, (40, 40, 1), np.uint8).repeat(3, 2) * 255 for _ in range(8)]
    whole = encode(Animation("", 1, [told(*noise)]))
    monkeypatch.setattr(animation, "MAX_BYTES", len(whole) // 2)
    data = encode(Animation("", 1, [told(*noise)]))
    assert len(data) <= len(whole) // 2
    shown = frames_of(data)
    kept = [frame[..., :3].tobytes() for frame, _ in shown]
    assert kept == [noise[i].tobytes() for i in (0, 4, 7)]
    assert decode(data).animation.every == 4


def test_an_agent_that_never_moves_is_a_still():
    page = decode(encode(Animation("", 1, [told(*ramp(1) * 5)])))
    assert len(frames_of(page.moving)) == 1


def test_a_damaged_file_is_told(tmp_path):
    data = encode(Animation("", 1, [told(*ramp(4))]))
    plain = io.BytesIO()
    Image.new("RGB", (3, 3)).save(plain, "PNG")
    for damaged in (b"", b"text", data[:60], data[: len(data) // 2], plain.getvalue()):
        with pytest.raises(InputError, match=r"episodes.png: cannot be read as an animation"):
            decode(damaged)


@pytest.mark.parametrize(
    ("render", "said"),
    [
        (None, r"Line has no render\(task, state\)"),
        (failing, "KeyError: 'no such colour'"),
        (
            lambda family, task, state: np.zeros((4, 4)),
            r"render: got 'float64 \[4, 4\]'; expected uint8 \[H, W, 3\]",
        ),
        (lambda family, task, state: np.zeros((1, 1 + state, 3), np.uint8), "expected pictures of one shape"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_line_and_no_old_picture_stays(tmp_path, monkeypatch, render, said):
    monkeypatch.delattr(Line, "render") if render is None else monkeypatch.setattr(Line, "render", render)
    (tmp_path / EPISODES).write_bytes(b"of an earlier evaluation")
    reason = save_episodes(tmp_path, AGENT, Line(), TRIAL, meta_params(Line()), 0)
    assert reason is not None
    assert len(reason.splitlines()) == 1
    assert re.search(said, reason), reason
    assert not (tmp_path / EPISODES).exists()


@pytest.mark.parametrize("env", [Bandit(num_arms=2), Line(max_steps=2), Sudden()])
def test_short_episodes_are_left_out_without_a_word(tmp_path, env):
    assert save_episodes(tmp_path, AGENT, env, ALONE, meta_params(env), 0) is None
    assert not (tmp_path / EPISODES).exists()


def test_a_command_draws_the_episodes_and_its_report_shows_them(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    options = """
        --agent.hidden-size 4 --env.max-steps 4 --trial.num-episodes 2 --outer.num-minibatches 1
        --num-tasks 4 --num-updates 1 --log-every 1 --evaluate-every 1 --num-validation-tasks 4
        --num-test-tasks 4 --out
    """.split()
    assert main(["train", "rl2", "point-navigation", *options, str(run)]) == 0
    first = (run / EPISODES).read_bytes()
    assert [episode.number for episode in decode(first).animation.episodes] == [1, 2]
    assert "First and last episode" in (run / "report.html").read_text()

    again = ["evaluate", str(run), "--num-tasks", "4", "--save"]
    (run / EPISODES).unlink()
    assert main(again) == 0
    assert (run / EPISODES).read_bytes() == first

    monkeypatch.delattr(PointNavigation, "render")
    capsys.readouterr()
    assert main(again) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert said == [
        "quickstudy: warning: no animation of the episodes: point-navigation has no render(task, state)"
    ]
    assert not (run / EPISODES).exists()
    assert "First and last episode" not in (run / "report.html").read_text()
