"""Train every cell of a published table on several seeds, measure it, and set the rows side by side.

    DIR/CELL/seedN/           a run directory for each training
    DIR/reproduction.json     every row, with what is needed to repeat it
    DIR/reproduction.html     the same for a person

What the directory holds of an earlier call is kept, and what was begun there is gone on with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from quickstudy.errors import unknown, wrong
from quickstudy.experiment import Experiment
from quickstudy.files import with_disk_errors, write_json, write_text
from quickstudy.progress import status_display
from quickstudy.reproduction import recipes
from quickstudy.reproduction.gathering import gathered
from quickstudy.reproduction.measuring import measured, measured_references
from quickstudy.reproduction.page import page
from quickstudy.reproduction.published import AnyCell, AnyStudy, Cell, Study
from quickstudy.reproduction.trainings import Clock, check, train_to_the_end, trainings_of
from quickstudy.run import Run

RESULT, PAGE = "reproduction.json", "reproduction.html"
MOST_SEEDS = 1000

Say = Callable[[str], None]


def reproduce(
    study: AnyStudy,
    directory: Path | str,
    *,
    cells: Sequence[str] = (),
    seeds: int | None = None,
    num_test_tasks: int | None = None,
    progress: bool = True,
    say: Say = lambda text: None,
    recipe: Callable[[str, str], Experiment] = recipes.recipe,
) -> dict[str, Any]:
    """Train and measure what is missing -> what reproduction.json holds.

    `cells` none means all of them; None means the study's own number of seeds and tasks. `say` is told what
    comes next, `progress` shows on stderr how far it is. Raises `InputError` where a cell is unknown, or where
    the directory holds another study or a run of another experiment.
    """
    directory = Path(directory)
    seeds = study.num_seeds if seeds is None else seeds
    num_tasks = study.num_test_tasks if num_test_tasks is None else num_test_tasks
    chosen = chosen_cells(study, cells)
    _check_numbers(seeds, num_tasks)
    trainings = trainings_of(study, chosen, seeds, directory, recipe)
    check(study, directory / RESULT, trainings)
    with_disk_errors(directory.mkdir, parents=True, exist_ok=True)

    def write() -> dict[str, Any]:
        result = gathered(study, directory, {cell.name: seeds for cell in chosen}, num_tasks)
        write_json(directory / RESULT, result)
        write_text(directory / PAGE, page(result))
        return result

    result: dict[str, Any] = {}
    clock = Clock(trainings)
    for index, training in enumerate(trainings):
        say(f"{study.name} {training.name}, run {index + 1} of {len(trainings)}{clock.said(index)}")
        clock.time(training, lambda training=training: train_to_the_end(training, progress))
        with status_display(progress) as show:
            measured(Run.open(training.directory), study, training.cell, num_tasks, show)
        if training is trainings[-1] or trainings[index + 1].cell is not training.cell:
            _measure_references(directory, study, training.cell, num_tasks, progress, say)
        # After each: a kill costs what falls in it.
        result = write()
    return result if trainings else write()


def chosen_cells(study: AnyStudy, names: Sequence[str]) -> list[AnyCell]:
    """In the order of the study; all of them where none is named."""
    known = {cell.name: cell for cell in study.cells}
    for name in names:
        if name not in known:
            raise unknown("cells", name, known)
    return [cell for cell in study.cells if not names or cell.name in names]


def _check_numbers(seeds: int, num_tasks: int) -> None:
    if not 1 <= seeds <= MOST_SEEDS:
        raise wrong("seeds", seeds, f"between 1 and {MOST_SEEDS:,}")
    if not 2 <= num_tasks <= 10_000_000:
        raise wrong("num_test_tasks", num_tasks, "between 2 and 10,000,000")


def _measure_references(
    directory: Path, study: AnyStudy, cell: AnyCell, num_tasks: int, progress: bool, say: Say
) -> None:
    """Beside a table; a published curve has lines of its own."""
    if not (isinstance(study, Study) and isinstance(cell, Cell)):
        return
    say(f"{study.name} {cell.name}, the classical learners")
    count = min(num_tasks, study.num_reference_tasks)
    with status_display(progress) as show:
        measured_references(directory / cell.name, study, cell, count, show)
