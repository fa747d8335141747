"""`python -m benchmarks.quality.trust`: the accuracy of each method's confidence, before and after ratings.

The engine runs without a store: a consult takes milliseconds, and the whole table about a minute.
"""

from collections.abc import Mapping, Sequence
from math import comb
from typing import NamedTuple

import anyio
import click

from benchmarks.quality.predicted import Interval, predicted, wilson
from benchmarks.quality.questions import Question, make_questions
from benchmarks.quality.report import table
from benchmarks.quality.sides import comparable_methods, simulated_sides
from benchmarks.quality.simulated import ARBITERS, Simulated, Simulation
from consortium_mcp.engine.loop import iterations
from consortium_mcp.engine.outcome import closed
from consortium_mcp.engine.track_record import track_record
from consortium_mcp.records import CallResult, CallSpec, Run, TrackRecord, Trust
from consortium_mcp.records.consortium import Consortium

CORRELATIONS = (0.0, 0.3, 0.5, 1.0)
ACCURACIES = (0.6, 0.7)

RATED = 100
"""The number of questions that are asked and rated before the "rated" measurement."""


class Said(NamedTuple):
    """The result of one question."""

    confidence: float | None
    """The stated confidence, 0.0-1.0; None if there is none."""

    right: bool
    """Whether the answer was right."""


class Row(NamedTuple):
    """The results of one side."""

    name: str
    """The judging method and its arbiter, or `single`."""

    unrated: Sequence[Said]
    """The results without ratings; for `single`, the figures of each member for each question."""

    rated: Sequence[Said]
    """The results for the same questions, after `RATED` others were rated."""

    calls: float
    """Model calls for each question."""

    predicted: float | None
    """The computed accuracy, 0.0-1.0; None if it cannot be computed."""


def brier(said: Sequence[Said]) -> float:
    """Mean squared difference of confidence and correctness; an unknown confidence counts as 0.5."""
    return sum(((0.5 if one.confidence is None else one.confidence) - one.right) ** 2 for one in said) / len(said)


def accuracy(said: Sequence[Said], questions: int) -> Interval:
    """The 95 % confidence interval of the accuracy.

    Args:
        questions: the number of questions; several members' answers to one question may err together.
    """
    return wilson(round(sum(one.right for one in said) / len(said) * questions), questions)


def optimum(simulation: Simulation) -> tuple[float, float]:
    """Accuracy and Brier score of an optimal judge who knows accuracy and correlation, and only sees the answers.

    For one family with one wrong answer, without refusals: with k of n for an answer, Bayes' rule gives its
    probability.
    """
    n, p, r = simulation.members, simulation.accuracy, simulation.correlation
    best = squares = 0.0
    for k in range(n + 1):
        right = (1 - r) * comb(n, k) * p**k * (1 - p) ** (n - k) + (r * p if k == n else 0.0)
        wrong = (1 - r) * comb(n, k) * (1 - p) ** k * p ** (n - k) + (r * (1 - p) if k == n else 0.0)
        if right + wrong and 2 * k > n:  # the other half is symmetric
            chance = right / (right + wrong)
            best += max(right, wrong)
            squares += (right + wrong) * chance * (1 - chance)
        elif 2 * k == n:  # both answers are equally probable
            best, squares = best + right / 2, squares + right / 4
    return best, squares


async def rows(simulation: Simulation, questions: Sequence[Question], methods: Sequence[str] = ()) -> list[Row]:
    """Each side's row, single members first; the first `RATED` questions are only rated.

    Args:
        methods: the judging methods; none means all comparable ones.
    """
    known = {question.prompt: question for question in questions}
    models = {name: Simulated(name, "knows", simulation, known) for name in simulation.member_names}
    models |= {name: Simulated(name, judge, simulation, known) for judge, name in ARBITERS.items()}
    members = [models[name] for name in simulation.member_names]
    single = [_alone(member, question) for question in questions[RATED:] for member in members]
    found = [Row("single", single, single, 1.0, simulation.accuracy)]
    for side in simulated_sides(simulation, methods or comparable_methods())[1:]:
        found.append(await _row(side.name, side.consortium, simulation, questions, models))
    return found


def _alone(member: Simulated, question: Question) -> Said:
    """The stated figure of one member for its own answer; a refusal states none."""
    text = member.reply(question.prompt, None)
    stated = text.rpartition("Confidence: ")[2].rstrip("%")
    return Said(int(stated) / 100 if stated.isdigit() else None, question.is_right(text))


async def _row(
    name: str,
    consortium: Consortium,
    simulation: Simulation,
    questions: Sequence[Question],
    models: Mapping[str, Simulated],
) -> Row:
    calls = 0

    async def call(spec: CallSpec) -> CallResult:
        nonlocal calls
        calls += 1
        await anyio.lowlevel.checkpoint()
        return CallResult(text=models[spec.model].reply(spec.prompt, spec.output_schema))

    async def asked(question: Question, record: TrackRecord) -> tuple[Said, Trust | None]:
        async def known() -> TrackRecord:
            return record

        run = _run(question, consortium)
        async for state in iterations(run, call, lambda model: True, record=known):
            run = state
        run = closed(run)
        said = Said(run.confidence, run.answer is not None and question.is_right(run.answer))
        return said, run.iterations[0].trust

    history = [await asked(question, TrackRecord()) for question in questions[:RATED]]
    record = track_record([(trust, float(said.right)) for said, trust in history if trust])
    calls = 0
    unrated = [(await asked(question, TrackRecord()))[0] for question in questions[RATED:]]
    per_question = calls / len(unrated)
    rated = [(await asked(question, record))[0] for question in questions[RATED:]]
    method, _, arbiter = name.partition(", arbiter ")
    return Row(name, unrated, rated, per_question, predicted(simulation, method, arbiter or None))


def _run(question: Question, consortium: Consortium) -> Run:
    """A newly opened run, which is not stored."""
    return Run(
        run_id="simulated",
        status="running",
        prompt=question.prompt,
        consortium=consortium,
        shuffle_seed=len(question.prompt),
        fence_token="f00dfacecafe",
        created_utc="2026-11-29T00:00:00+00:00",
        deadline_utc="2026-11-30T00:00:00+00:00",
    )


def shown(simulation: Simulation, found: Sequence[Row]) -> str:
    """The table of one simulation, as Markdown."""
    best, least = optimum(simulation)
    single, questions = brier(found[0].unrated), len(found[-1].unrated)
    lines = [
        [
            row.name,
            f"{sum(one.right for one in row.unrated) / len(row.unrated):.2f}",
            f"{accuracy(row.unrated, questions).low:.2f}-{accuracy(row.unrated, questions).high:.2f}",
            "unknown" if row.predicted is None else f"{row.predicted:.2f}",
            f"{row.calls:.1f}",
            f"{brier(row.unrated):.3f}{'' if brier(row.unrated) <= single else ' (!)'}",
            f"{brier(row.rated):.3f}{'' if brier(row.rated) <= single else ' (!)'}",
        ]
        for row in found
    ]
    lines.append(["computed optimum", f"{best:.2f}", "", "", "", f"{least:.3f}", f"{least:.3f}"])
    return table(("side", "accuracy", "95 % interval", "predicted", "calls", "Brier", "Brier, rated"), lines)


@click.command()
@click.option("--correlation", "correlations", multiple=True, type=float, help="Of errors.  [0, 0.3, 0.5 and 1]")
@click.option("--accuracy", "accuracies", multiple=True, type=float, help="Of a member.  [0.6 and 0.7]")
@click.option("--questions", default=100, show_default=True, help="How many count; others are rated before.")
@click.option("--families", default=1, show_default=True, help="In how many families members err together.")
@click.option("--refusals", default=0.1, show_default=True, help="Which part of the errors is a refusal.")
@click.option("--liars", default=0.5, show_default=True, help="How often a confidence of 0.99 is stated.")
@click.option("--seed", default=2026, show_default=True)
def main(
    correlations: Sequence[float],
    accuracies: Sequence[float],
    questions: int,
    families: int,
    refusals: float,
    liars: float,
    seed: int,
) -> None:
    """Print accuracy, calls and Brier score of each judging method on simulated members."""
    for chance in accuracies or ACCURACIES:
        for correlation in correlations or CORRELATIONS:
            simulation = Simulation(
                accuracy=chance, correlation=correlation, families=families, refusals=refusals, liars=liars, seed=seed
            )
            found = anyio.run(rows, simulation, make_questions(RATED + questions, seed))
            click.echo(f"### Accuracy {chance:g}, correlation {correlation:g}\n\n{shown(simulation, found)}\n")


if __name__ == "__main__":
    main()
