"""The commands of agents that learn each task as they go: learn, transfer, and the resuming of both."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from quickstudy.arguments import expect, option, out_directory, parse, tell
from quickstudy.errors import is_file
from quickstudy.options import LearnOptions, ResumeOptions, ResumeTransferOptions, TransferOptions


def learn_command(positional: list[str], arguments: list[str]) -> None:
    from quickstudy.learning import learn
    from quickstudy.life_presets import learning_preset

    agent, env = expect(positional, "learn AGENT ENV", 2)
    options = parse(LearnOptions(learning_preset(agent, env)), arguments, f"quickstudy learn {agent} {env}")
    out = out_directory(options.out, ("learn", agent, env), options.learning.seed)
    finish_learning(learn(options.learning, out), options.json)


def transfer_command(positional: list[str], arguments: list[str]) -> None:
    from quickstudy.life_presets import transfer_preset
    from quickstudy.transfer.pipeline import transfer

    (env,) = expect(positional, "transfer ENV", 1)
    teacher, arguments = option(arguments, "--teacher")
    made = transfer_preset(env, "ppo" if teacher is None else teacher)
    options = parse(TransferOptions(made), arguments, f"quickstudy transfer {env}")
    out = out_directory(options.out, ("transfer", env), options.transfer.seed)
    finish_transfer(out, transfer(options.transfer, out, until=options.until, say=tell), options.json)


def resume_lives(directory: Path, arguments: list[str]) -> None:
    """Go on with what `learn` or `transfer` began."""
    from quickstudy.learning import resume_learning
    from quickstudy.transfer.pipeline import resume_transfer
    from quickstudy.transfer.settings import TRANSFER

    prog = f"quickstudy resume {directory}"
    if is_file(directory / TRANSFER):
        wanted = parse(ResumeTransferOptions(), arguments, prog)
        result = resume_transfer(directory, until=wanted.until, say=tell, allow_code=wanted.allow_code)
        finish_transfer(directory, result, wanted.json)
        return
    options = parse(ResumeOptions(), arguments, prog)
    finish_learning(resume_learning(directory, allow_code=options.allow_code), options.json)


def finish_learning(learned: Any, as_json: bool) -> None:
    """Write the report of a finished learning and print what its exams found."""
    from quickstudy.files import plain_json, write_text
    from quickstudy.learning_table import print_exams
    from quickstudy.reporting.learning_page import learning_page
    from quickstudy.run import REPORT

    write_text(learned.directory / REPORT, learning_page(learned.exams, learned.directory.name))
    if as_json:
        print(json.dumps(plain_json(learned.exams)))
    else:
        print_exams(learned.exams)
    where = sys.stderr if as_json else sys.stdout
    print(f"run: {learned.directory}   {learned.exams['exams'][-1]['seconds']:.1f} s", file=where)
    print(f"report: {learned.directory / REPORT}", file=where)


def finish_transfer(directory: Path, result: dict[str, Any] | None, as_json: bool) -> None:
    """Write the report of a transfer that is judged, and print what was found."""
    from quickstudy.files import plain_json, write_text
    from quickstudy.learning_table import print_transfer
    from quickstudy.reporting.transfer_page import transfer_page
    from quickstudy.run import REPORT

    where = sys.stderr if as_json else sys.stdout
    if result is not None:
        write_text(directory / REPORT, transfer_page(result, directory.name))
        if as_json:
            print(json.dumps(plain_json(result)))
        else:
            print_transfer(result)
        print(f"report: {directory / REPORT}", file=where)
    print(f"run: {directory}", file=where)
