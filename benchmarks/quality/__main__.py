"""`python -m benchmarks.quality`: asks the questions, and prints the tables."""

import time
from collections.abc import Sequence

import anyio
import click

from benchmarks.quality.evaluate import Result, Side, check, evaluate, temporary_consultancy
from benchmarks.quality.questions import WRONG_ANSWERS, Question, make_questions
from benchmarks.quality.report import calibration_table, quality_table
from benchmarks.quality.sides import comparable_methods, local_sides, named_sides, simulated_sides
from benchmarks.quality.simulated import Simulation, registered
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.service.spending import calls_per_iteration
from consortium_mcp.settings import load_settings
from consortium_mcp.store import Store

SIMULATED_QUESTIONS = 300
LOCAL_QUESTIONS = 3
"""One of each kind, for some minutes on two cores, to show that everything works. Accuracy needs `--questions`."""

AT_ONCE = 4
"""The number of simultaneous consults; more would only wait for each other and for the embedded model's slots."""

_FRACTION = click.FloatRange(0, 1)


@click.command()
@click.option("--simulated", "kind", flag_value="simulated", help="Simulated models (the default).")
@click.option("--local", "kind", flag_value="local", help="The embedded model.")
@click.option("--consortium", "consortiums", multiple=True, help="A saved consortium.")
@click.option("--model", "-m", "models", multiple=True, help="A single model.")
@click.option("--judging-method", "methods", multiple=True, help="Under this method; every one when none is given.")
@click.option("--questions", "count", type=click.IntRange(1, 10_000), help="How many.  [300; 3 for real models]")
@click.option("--seed", default=2026, show_default=True, help="Makes other questions, and simulated models draw anew.")
@click.option("--members", default=5, show_default=True, type=click.IntRange(3, 50), help="Simulated ones.")
@click.option("--accuracy", default=0.7, show_default=True, type=_FRACTION, help="Of a simulated member.")
@click.option("--correlation", "correlations", multiple=True, type=_FRACTION, help="Of their errors.  [0, 0.5 and 1]")
@click.option(
    "--alternatives", default=1, show_default=True, type=click.IntRange(1, WRONG_ANSWERS), help="Among wrong answers."
)
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Ask for at most so long.")
@click.option("--reliability", default=0.8, show_default=True, type=_FRACTION, help="Of simulated judges.")
def main(
    kind: str | None,
    consortiums: Sequence[str],
    models: Sequence[str],
    methods: Sequence[str],
    count: int | None,
    seed: int,
    members: int,
    accuracy: float,
    correlations: Sequence[float],
    alternatives: int,
    minutes: float | None,
    reliability: float,
) -> None:
    """Ask questions with known answers, and print who was right how often, at what cost, and how well calibrated."""
    began = time.monotonic()
    try:
        _check_methods(methods)
        if kind == "local" or consortiums or models:
            sides = local_sides(methods or comparable_methods()) if kind == "local" else []
            sides += named_sides(models, _saved(consortiums), methods)
            ends = None if minutes is None else began + 60 * minutes
            _real(sides, make_questions(count or LOCAL_QUESTIONS, seed), ends)
        else:
            for correlation in correlations or (0.0, 0.5, 1.0):
                simulation = Simulation(
                    members=members,
                    accuracy=accuracy,
                    correlation=correlation,
                    alternatives=alternatives,
                    reliability=reliability,
                    seed=seed,
                )
                questions = make_questions(count or SIMULATED_QUESTIONS, seed)
                _simulated(simulation, methods or comparable_methods(), questions)
    except ConsortiumError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"All of it took {time.monotonic() - began:.0f} s.")


def _check_methods(methods: Sequence[str]) -> None:
    for method in methods:
        if method not in judging_methods():
            raise ConsortiumError(f"There is no judging method {method!r}. There are: {', '.join(judging_methods())}.")


def _saved(names: Sequence[str]) -> dict[str, Consortium]:
    """The user's saved consortiums with these names; the store is only read."""
    if not names:
        return {}
    store = Store(load_settings().database_path)
    try:
        return {name: store.consortiums.load.sync(name) for name in names}
    finally:
        store.close()


def _simulated(simulation: Simulation, methods: Sequence[str], questions: Sequence[Question]) -> None:
    click.echo(
        f"# {simulation.members} simulated members, each right with {simulation.accuracy:g}; errors decided together "
        f"with {simulation.correlation:g}, over {simulation.alternatives} wrong answers; judges reliable with "
        f"{simulation.reliability:g}\n"
    )
    sides = simulated_sides(simulation, methods)
    with temporary_consultancy(own_llm_folder=True) as service, registered(simulation, questions):
        _report(service, sides, questions)


def _real(sides: Sequence[Side], questions: Sequence[Question], ends: float | None) -> None:
    calls = sum(calls_per_iteration(side.consortium) for side in sides) * len(questions)
    click.echo(f"# {len(questions)} questions for {len(sides)} sides: {calls} calls or more\n")
    with temporary_consultancy(own_llm_folder=False) as service:
        _report(service, sides, questions, ends)


def _report(
    service: ConsortiumService, sides: Sequence[Side], questions: Sequence[Question], ends: float | None = None
) -> None:
    check(service, sides)
    results = anyio.run(_evaluated, service, sides, questions, ends)
    asked = sum(len(result.answers) for result in results)
    if asked < len(sides) * len(questions):
        click.echo(f"The time was over after {asked} of {len(sides) * len(questions)} consults.\n")
    click.echo(f"{quality_table(results)}\n\n{calibration_table(results)}\n")


async def _evaluated(
    service: ConsortiumService, sides: Sequence[Side], questions: Sequence[Question], ends: float | None
) -> list[Result]:
    left = None if ends is None else lambda: ends - time.monotonic()
    results = []
    for side in sides:
        result = await evaluate(service, side, questions, AT_ONCE, left)
        if not result.answers:
            continue
        results.append(result)
        click.echo(f"{side.name}: {results[-1].accuracy:.3f} in {results[-1].seconds:.1f} s", err=True)
    return results


if __name__ == "__main__":
    main()
