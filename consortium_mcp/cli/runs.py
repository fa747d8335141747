"""`runs`: the history of consultations."""

import json

import click

from consortium_mcp.cli.consult import work_on
from consortium_mcp.cli.options import json_option
from consortium_mcp.cli.screen import print_run
from consortium_mcp.consult import Consultancy, answered
from consortium_mcp.replay import open_replay
from consortium_mcp.report import transcript
from consortium_mcp.run import Rating


@click.group(invoke_without_command=True)
@click.option("--query", help="Words that stand in the prompt or the answer.")
@click.option("--limit", type=click.IntRange(1), default=20, help="How many at most. [20]")
@json_option
@click.pass_context
def runs(ctx: click.Context, query: str | None, limit: int, as_json: bool) -> None:
    """List past consultations, newest first."""
    if ctx.invoked_subcommand is not None:
        return
    with Consultancy() as consultancy:
        found = consultancy.store.list_runs(query=query, limit=limit)
    if as_json:
        click.echo(json.dumps([run.model_dump(mode="json") for run in found], indent=1))
        return
    for run in found:
        confidence = "" if run.confidence is None else f" ({run.confidence:.2f})"
        prompt = " ".join(run.prompt.split())
        click.echo(f"{run.run_id}  {run.created_utc[:16]}  {run.status}{confidence}  {prompt[:60]}")
    if not found:
        click.echo(
            "No runs." if query else "No runs yet; `consortium-mcp consult 'your question'` makes one.", err=True
        )


@runs.command()
@click.argument("run_id", metavar="RUN")
@json_option
def show(run_id: str, as_json: bool) -> None:
    """Show everything that was said in RUN."""
    with Consultancy() as consultancy:
        run = consultancy.store.load_run(run_id)
    click.echo(run.model_dump_json(indent=1) if as_json else transcript(run))


@runs.command()
@click.argument("run_id", metavar="RUN")
@json_option
def resume(run_id: str, as_json: bool) -> None:
    """Go on with RUN where it was interrupted; what was paid for is not asked again."""
    with Consultancy() as consultancy:
        run = consultancy.store.load_run(run_id)
        if run.ended_utc is None:  # where another process works on it, that is followed
            run = work_on(consultancy, run_id)
    print_run(answered(run), as_json=as_json)


@runs.command()
@click.argument("run_id", metavar="RUN")
@click.option("--correct", is_flag=True, help="The answer was right.")
@click.option("--wrong", is_flag=True, help="The answer was wrong.")
@click.option("--score", type=click.FloatRange(0, 1), help="How right it was, 0-1.")
@click.option("--note", help="In words.")
def rate(run_id: str, correct: bool, wrong: bool, score: float | None, note: str | None) -> None:
    """Say how right the answer of RUN was; `stats` learns from it."""
    if correct + wrong + (score is not None) != 1:
        raise click.UsageError("How right was it? Give one of --correct, --wrong and --score.")
    score = float(correct) if score is None else score
    with Consultancy() as consultancy:
        consultancy.store.load_progress(run_id)
        consultancy.store.save_rating(Rating(run_id=run_id, score=score, note=note))
    click.echo(f"Rated {run_id}: {score:g}.")


@runs.command()
@click.argument("run_id", metavar="RUN")
@click.option("--arbiter", help="Another arbiter.")
@click.option("--judging-method", help="Another judging method; see `strategies`.")
@click.option("--without", help="A model or an instance whose responses are left out.")
@click.option("--threshold", type=click.FloatRange(0, 100), help="Another confidence threshold.")
@json_option
def replay(
    run_id: str,
    arbiter: str | None,
    judging_method: str | None,
    without: str | None,
    threshold: float | None,
    as_json: bool,
) -> None:
    """Judge the responses of RUN again, as a new run; no member is asked."""
    with Consultancy() as consultancy:
        opened = open_replay(
            consultancy,
            run_id,
            arbiter=arbiter,
            judging_method=judging_method,
            without=without,
            confidence_threshold=threshold,
        )
        run = work_on(consultancy, opened.run_id)
    print_run(answered(run), as_json=as_json)


@runs.command()
@click.argument("run_id", metavar="RUN")
def cancel(run_id: str) -> None:
    """Stop RUN, whichever process works on it."""
    with Consultancy() as consultancy:
        consultancy.store.load_progress(run_id)
        consultancy.store.request_cancel(run_id)
    click.echo(f"Asked {run_id} to stop; its process hears of it within seconds.")
