"""The command line: train, learn, transfer, resume, evaluate, compare, reproduce, report, check-env, list.

AGENT, ENV and OUTER are registry names or a user's own `package.module:Name` or `file.py:Name`; the
options of each command are the fields of frozen dataclasses. Bad input is one line on stderr and
exit code 2; a run that cannot go on, 1; an interrupt, 130, after saving.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from quickstudy.arguments import expect, option, out_directory, parse, tell
from quickstudy.cli_lives import learn_command, transfer_command
from quickstudy.errors import InputError, RunError, unknown
from quickstudy.experiment import Experiment
from quickstudy.options import (
    CompareOptions,
    EvaluateOptions,
    EvaluateRunOptions,
    ListOptions,
    NoOptions,
    ReproduceOptions,
    ResumeOptions,
    TrainOptions,
)
from quickstudy.types import TrialShape

USAGE = """usage: quickstudy COMMAND …

  train AGENT ENV [options]      meta-train an agent on a task family, evaluate it, write a report
  learn AGENT ENV [options]      let an agent learn each task from scratch: ordinary reinforcement learning
  transfer ENV [--teacher AGENT] [options]
                                 known tasks, one policy, new tasks: fine-tuned, judged, kept or discarded
  resume DIR [options]           go on with one of these from its last checkpoint
  evaluate DIR [options]         measure a trained agent on held-out tasks …
  evaluate AGENT ENV [options]   … or one that needs no training
  compare DIR… [options]         several runs side by side
  reproduce STUDY [options]      our figures beside a published table; alone, it lists the studies
  report DIR                     write the run's report.html again
  check-env ENV                  what is wrong with a task family, each with the mend
  list [agents|envs|outers|presets|studies] [--json]

`quickstudy COMMAND … --help` lists the options; for train and evaluate name AGENT and ENV first:
`quickstudy train rl2 bandit --help`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command -> the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = _show_warning
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has gone (`… | head`): no more is wanted, at the interpreter's exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InputError as error:
        _say(str(error))
        return 2
    except RunError as error:
        _say(str(error))
        return 1
    except OSError as error:
        # A path that was given and cannot be used; a full disk while running is a RunError.
        _say(f"{error.filename or 'file'}: {error.strerror or error}")
        return 2
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _say("out of memory: fewer tasks (--num-tasks), shorter trials or a smaller agent need less")
        return 1
    except KeyboardInterrupt as error:
        _say(str(error) or "stopped")
        return 128 + getattr(error, "signal_number", 2)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from quickstudy import __version__

        print(f"quickstudy {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    split = next((i for i, a in enumerate(rest) if a.startswith("-")), len(rest))
    positional, options = rest[:split], rest[split:]
    if not positional and options[:1] in (["-h"], ["--help"]) and name != "list":
        print(USAGE)
        return 0
    return COMMANDS[name](positional, options) or 0


def _train(positional: list[str], arguments: list[str]) -> None:
    from quickstudy.presets import preset
    from quickstudy.train import train

    agent, env = expect(positional, "train AGENT ENV", 2)
    outer, arguments = option(arguments, "--outer")
    prog = f"quickstudy train {agent} {env}"
    options = parse(TrainOptions(preset(agent, env, outer)), arguments, prog)
    out = out_directory(options.out, (agent, env), options.experiment.seed)
    result = train(options.experiment, out, wandb=options.wandb)
    _finish(options.experiment, result, options.json)


def _resume(positional: list[str], arguments: list[str]) -> None:
    from quickstudy.cli_lives import resume_lives
    from quickstudy.reporting.steps import is_of_steps
    from quickstudy.run import Run
    from quickstudy.train import resume

    (directory,) = expect(positional, "resume DIR", 1)
    if is_of_steps(Path(directory)):
        resume_lives(Path(directory), arguments)
        return
    options = parse(ResumeOptions(), arguments, f"quickstudy resume {directory}")
    result = resume(directory, wandb=options.wandb, allow_code=options.allow_code)
    _finish(Run.open(directory, options.allow_code).experiment, result, options.json)


def _evaluate(positional: list[str], arguments: list[str]) -> None:
    if len(positional) == 2:
        agent, env = positional
        evaluation, as_json = _evaluate_new(agent, env, arguments)
    else:
        (directory,) = expect(positional, "evaluate DIR, or evaluate AGENT ENV", 1)
        evaluation, as_json = _evaluate_run(directory, arguments)
    _print_evaluation(evaluation, as_json)


def _evaluate_new(agent: str, env: str, arguments: list[str]) -> tuple[dict[str, Any], bool]:
    from quickstudy.evaluation import evaluate
    from quickstudy.presets import preset

    tuned = preset(agent, env)
    defaults = EvaluateOptions(tuned.agent, tuned.env, tuned.trial, tuned.num_test_tasks)
    options = parse(defaults, arguments, f"quickstudy evaluate {agent} {env}")
    _check_sample(options.num_tasks, options.seed)
    evaluation = evaluate(
        options.agent,
        options.env,
        options.trial,
        num_tasks=options.num_tasks,
        seed=options.seed,
        progress=True,
    )
    return evaluation, options.json


def _evaluate_run(directory: str, arguments: list[str]) -> tuple[dict[str, Any], bool]:
    from quickstudy.evaluation import evaluate
    from quickstudy.files import write_json
    from quickstudy.greedy import Greedy
    from quickstudy.run import EVALUATION, Run
    from quickstudy.session import load

    run = Run.open(directory, allow_code="--allow-code" in arguments)
    defaults = EvaluateRunOptions(run.experiment.trial, run.experiment.num_test_tasks)
    options = parse(defaults, arguments, f"quickstudy evaluate {directory}")
    _check_sample(options.num_tasks, options.seed)
    loaded = load(directory, checkpoint=_checkpoint(options.checkpoint), allow_code=options.allow_code)
    agent, env = loaded.experiment.learner, loaded.experiment.env
    agent = Greedy(agent) if options.greedy else agent
    evaluation = evaluate(
        agent,
        env,
        options.trial,
        loaded.meta_params,
        num_tasks=options.num_tasks,
        seed=options.seed,
        checkpoint=loaded.update,
        progress=True,
    )
    if options.save:
        write_json(run.directory / EVALUATION, evaluation)
        _save_episodes(run.directory, agent, env, options.trial, loaded.meta_params, options.seed)
        _write_report(run.directory)
    return evaluation, options.json


def _compare(positional: list[str], arguments: list[str]) -> None:
    from quickstudy.learning_table import print_steps
    from quickstudy.reporting import compare_page, load_summary
    from quickstudy.reporting.steps import is_of_steps, methods
    from quickstudy.reporting.steps_page import steps_page
    from quickstudy.run import Run
    from quickstudy.tables import print_comparison

    if not positional:
        raise InputError("compare: got no run; expected compare DIR…")
    options = parse(CompareOptions(), arguments, "quickstudy compare DIR…")
    if options.out is not None:
        _check_new_file(Path(options.out))
    if any(is_of_steps(Path(directory)) for directory in positional):
        found = methods([Path(directory) for directory in positional])
        print_steps(found)
        _write_page(options.out, steps_page(found))
        return
    summaries = [load_summary(Run.locate(directory)) for directory in positional]
    print_comparison(summaries)
    _write_page(options.out, compare_page(summaries))


def _write_page(out: str | None, page: str) -> None:
    from quickstudy.files import write_text

    if out is not None:
        write_text(Path(out), page)
        print(f"comparison: {out}")


def _reproduce(positional: list[str], arguments: list[str]) -> None:
    from quickstudy.files import plain_json
    from quickstudy.reproduction import STUDIES, reproduce
    from quickstudy.reproduction.run import PAGE
    from quickstudy.reproduction.terminal import print_result

    if not positional:
        _list(["studies"], arguments)
        return
    (name,) = expect(positional, "reproduce STUDY", 1)
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    study = STUDIES[name]
    defaults = ReproduceOptions(seeds=study.num_seeds, num_test_tasks=study.num_test_tasks)
    options = parse(defaults, arguments, f"quickstudy reproduce {name}")
    if "--cells" in arguments and not options.cells:
        # An empty list is one, for the parser; meant it was hardly, as it would train for hours.
        raise InputError("cells: got none; expected names of cells, or no --cells for all of them")
    out = Path(options.out if options.out is not None else Path("runs") / name)
    result = reproduce(
        study,
        out,
        cells=options.cells,
        seeds=options.seeds,
        num_test_tasks=options.num_test_tasks,
        say=tell,
    )
    if options.json:
        print(json.dumps(plain_json(result)))
        return
    print_result(result)
    print(f"table: {out / PAGE}")


def _report(positional: list[str], arguments: list[str]) -> None:
    from quickstudy.run import Run

    (directory,) = expect(positional, "report DIR", 1)
    parse(NoOptions(), arguments, f"quickstudy report {directory}")
    print(_write_report(Run.locate(directory)))


def _check_env(positional: list[str], arguments: list[str]) -> int:
    from quickstudy.check_env import main as check
    from quickstudy.registry import resolve

    (target,) = expect(positional, "check-env ENV", 1)
    parse(NoOptions(), arguments, f"quickstudy check-env {target}")
    return check(resolve("env", target))


def _list(positional: list[str], arguments: list[str]) -> None:
    from quickstudy.tables import print_listing

    options = parse(ListOptions(), arguments, "quickstudy list")
    kinds = ("agents", "envs", "outers", "presets")
    for kind in positional:
        if kind not in (*kinds, "studies"):
            raise unknown("list", kind, (*kinds, "studies"))
    chosen = {kind: _entries(kind) for kind in positional or kinds}
    if options.json:
        print(json.dumps(chosen, indent=2))
    else:
        print_listing(chosen)


def _entries(kind: str) -> list[dict[str, Any]]:
    """What there is of a kind."""
    if kind == "studies":
        from quickstudy.reproduction.published import listing as studies

        return studies()
    from quickstudy.tables import listing

    return listing(kind)


COMMANDS: dict[str, Callable[[list[str], list[str]], int | None]] = {
    "train": _train,
    "learn": learn_command,
    "transfer": transfer_command,
    "resume": _resume,
    "evaluate": _evaluate,
    "compare": _compare,
    "reproduce": _reproduce,
    "report": _report,
    "check-env": _check_env,
    "list": _list,
}


def _finish(experiment: Experiment, trained: Any, as_json: bool) -> None:
    """Write the report of a finished training and print what it found."""
    seed = trained.evaluation["seed"]
    _save_episodes(
        trained.directory, experiment.learner, experiment.env, experiment.trial, trained.meta_params, seed
    )
    report = _write_report(trained.directory)
    _print_evaluation(trained.evaluation, as_json)
    where = sys.stderr if as_json else sys.stdout
    print(f"run: {trained.directory}   trained in {trained.seconds:.1f} s", file=where)
    print(f"report: {report}", file=where)


def _save_episodes(
    directory: Path, agent: Any, env: Any, trial: TrialShape, meta_params: Any, seed: int
) -> None:
    """Draw the first and the last episode, or say why that cannot be."""
    from quickstudy.watch import save_episodes

    reason = save_episodes(directory, agent, env, trial, meta_params, seed)
    if reason is not None:
        _say(f"warning: {reason}")


def _write_report(directory: Path) -> Path:
    from quickstudy.files import write_text
    from quickstudy.reporting import load_summary, report_page
    from quickstudy.run import REPORT

    path = directory / REPORT
    write_text(path, report_page(load_summary(directory)))
    return path


def _print_evaluation(evaluation: dict[str, Any], as_json: bool) -> None:
    from quickstudy.files import plain_json

    if as_json:
        # The drawn examples are for the report; a program has no use for them.
        print(json.dumps(plain_json({name: x for name, x in evaluation.items() if name != "examples"})))
        return
    from quickstudy.tables import print_evaluation

    print_evaluation(evaluation)


def _check_sample(num_tasks: int, seed: int) -> None:
    if num_tasks < 2:
        raise InputError(f"num_tasks: got {num_tasks}; expected at least 2")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed: got {seed}; expected between 0 and 2**32 - 1")


def _check_new_file(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise InputError(f"out: {str(path)!r} exists; expected a new file")
    if not path.parent.is_dir():
        raise InputError(f"out: got {str(path)!r}; expected a file in a directory that exists")


def _checkpoint(text: str) -> Any:
    if text in ("last", "best"):
        return text
    if not text.isdigit():
        raise InputError(f"checkpoint: got {text!r}; expected last, best or a number of updates")
    return int(text)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    _say(f"warning: {message}")


def _say(text: str) -> None:
    print(f"quickstudy: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
