"""`runs`: the history of runs."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import click
from click.core import ParameterSource
from pydantic import Field

from consortium_mcp._util.counts import counted
from consortium_mcp.cli.completion import complete_consortiums, complete_runs
from consortium_mcp.cli.consult import work_on
from consortium_mcp.cli.json_output import JsonOutput, RunOutput, json_option, print_json, run_output
from consortium_mcp.cli.options import COUNT, STDOUT, field_option, output_option
from consortium_mcp.cli.screen import is_terminal, print_run, say, told_where_kept, write_file
from consortium_mcp.cli.value_types import Number
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.records import LONGEST_NOTE, Iteration, Rating, Run, Status
from consortium_mcp.records.request import ConsultRequest
from consortium_mcp.reports.export import EXPORT_FORMATS, ExportFormat, exported
from consortium_mcp.reports.markdown import transcript
from consortium_mcp.service.answers import answered, require_answer
from consortium_mcp.service.replay import open_replay
from consortium_mcp.service.run_ids import find_run_id
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import MOST

MOST_DAYS = 36_500
"""The largest age of runs to prune: no date is before the year 1."""

run_argument = click.argument("run_id", metavar="RUN", shell_complete=complete_runs)


class ListedRun(Run):
    """A run without its iterations."""

    iterations: tuple[Iteration, ...] = Field(default=(), exclude=True)
    """The iterations; a list of runs does not include them."""

    rating: Rating | None
    """A person's rating of the answer; None if it is not rated."""


class RunListOutput(JsonOutput):
    """Past consultations."""

    runs: tuple[ListedRun, ...]
    """The runs, newest first."""


class RatedRunOutput(RunOutput):
    """The whole run, with its rating."""

    rating: Rating | None
    """A person's rating of the answer; None if it is not rated."""


class PrunedOutput(JsonOutput):
    """The runs that were removed."""

    removed: tuple[str, ...]
    """The ids of the runs."""

    bytes_given_back: int
    """The disk space that is free again, in bytes."""


class PrunableOutput(JsonOutput):
    """The runs that would be removed."""

    would_remove: tuple[str, ...]
    """The ids of the runs."""


class RatingOutput(Rating, JsonOutput):
    """The rating as it is kept."""


class CancelledOutput(JsonOutput):
    """How the run stands after the request to stop it."""

    run_id: str
    """The run."""

    status: Status
    """The status of the run."""

    held_until: str | None
    """Until when another process still holds the run, ISO 8601 in UTC; None if no process holds it."""


@click.group(invoke_without_command=True)
@click.option("--query", help='Words and "phrases"; the prompt or the answer must contain all of them.')
@click.option("--consortium", help="Only runs of this saved consortium.", shell_complete=complete_consortiums)
@click.option("--status", type=click.Choice(get_args(Status)), help="Only runs with this status.")
@click.option("--limit", type=COUNT, default=20, help="The largest number of runs. [20]")
@json_option(RunListOutput)
@click.pass_context
def runs(
    ctx: click.Context, query: str | None, consortium: str | None, status: Status | None, limit: int, as_json: bool
) -> None:
    """List past consultations, newest first.

    Put a phrase in quotation marks: --query '"capital of" spain'. No other character has a special meaning there.

    For RUN, give the run's id, at least the first six characters of the id, or its consortium:// URI.
    """
    if command := ctx.invoked_subcommand:
        typed = ParameterSource.COMMANDLINE
        given = [one.opts[0] for one in ctx.command.params if ctx.get_parameter_source(one.name or "") is typed]
        if given:  # if one were ignored, `prune` would remove all other runs too
            raise click.UsageError(
                f"{given[0]} is an option of the list of runs; `runs {command} --help` lists the options of {command}."
            )
        return
    with ConsortiumService() as service:
        found = service.store.runs.find.sync(query, consortium, status, limit)
        ratings = service.store.ratings.find.sync([run.run_id for run in found])
    if as_json:
        listed = (ListedRun.model_construct(**dict(run), rating=ratings.get(run.run_id)) for run in found)
        print_json(RunListOutput(runs=tuple(listed)))
        return
    for run in found:
        confidence = "" if run.confidence is None else f" ({run.confidence:.2f})"
        prompt = " ".join(run.prompt.split())
        rated = f" rated {ratings[run.run_id].score:g}" if run.run_id in ratings else ""
        say(f"{run.run_id}  {run.created_utc[:16]}  {run.status}{confidence}{rated}  {prompt[:60]}")
    if not found:
        chosen = query or consortium or status
        say(
            "No run matches." if chosen else "No runs yet; `consortium-mcp consult 'your question'` makes one.",
            err=True,
        )


@runs.command()
@run_argument
@json_option(RatedRunOutput)
def show(run_id: str, as_json: bool) -> None:
    """Show the transcript of RUN: every question, response and verdict."""
    with ConsortiumService() as service:
        run = service.store.runs.load.sync(find_run_id(service.store, run_id))
        ratings = service.store.ratings.find.sync([run.run_id])
    if as_json:
        print_json(RatedRunOutput.model_construct(**dict(run), rating=ratings.get(run.run_id)))
    else:
        say(transcript(run, ratings.get(run.run_id)))


@runs.command()
@run_argument
@json_option(RunOutput)
def resume(run_id: str, as_json: bool) -> None:
    """Continue the interrupted RUN. Calls that were paid for are not repeated.

    If another process works on RUN, this command follows it.
    """
    with ConsortiumService() as service:
        run_id = find_run_id(service.store, run_id)
        run = service.store.runs.load.sync(run_id)
        if run.ended_utc is None:
            if until := service.store.leases.held_until.sync(run_id):
                click.echo(
                    f"Another process works on {run_id}; this command follows it. "
                    f"If that process has died, the run continues here at {until:%X}.",
                    err=True,
                )
            run = work_on(service, run_id)
    _print_answered(run, as_json)


def _print_answered(run: Run, as_json: bool) -> None:
    """Print a run that has ended; raises RunFailedError if it has no answer."""
    with told_where_kept(run.run_id):
        if as_json:
            print_json(run_output(run))
        else:
            print_run(answered(run))
    answered(run)


@runs.command()
@click.argument("run_ids", metavar="[RUN]...", nargs=-1, shell_complete=complete_runs)
@click.option(
    "--format", "form", type=click.Choice(EXPORT_FORMATS), default="jsonl", help="The format of the export. [jsonl]"
)
@output_option("Write to this file instead of stdout.")
def export(run_ids: tuple[str, ...], form: ExportFormat, output: Path | None) -> None:
    """Export each RUN, or all runs, newest first.

    The formats are JSON lines, Markdown, and one HTML page that needs no other file.
    """
    with ConsortiumService() as service:
        store = service.store
        named = [find_run_id(store, run_id) for run_id in run_ids]
        chosen = dict.fromkeys(named or store.outlines.list_ids.sync())
        pieces = exported((store.attachments.with_contents.sync(store.runs.load.sync(one)) for one in chosen), form)
        if output in (None, STDOUT):
            for piece in pieces:
                say(piece, nl=False)
            return
        write_file(output, pieces)
    click.echo(f"Wrote {counted(len(chosen), 'run')} to {output}.", err=True)


@runs.command()
@click.option(
    "--older-than", metavar="DAYS", type=Number(0, MOST_DAYS), help="Only runs that were opened more than DAYS ago."
)
@click.option("--keep", metavar="N", type=click.IntRange(0, MOST), help="Keep the newest N runs.")
@click.option("--yes", is_flag=True, help="Do not ask; without it, the command asks first.")
@click.option("--dry-run", is_flag=True, help="Only list the runs that would be removed.")
@json_option(PrunedOutput, PrunableOutput)
def prune(older_than: float | None, keep: int | None, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Remove old runs with all their texts, and free their disk space.

    With both options, a run must meet both conditions to be removed. Active runs stay. What the removed runs spent
    still counts against the day's budgets.
    """
    if older_than is None and keep is None:
        raise click.UsageError("Name the runs to remove: give --older-than DAYS, --keep N, or both.")
    before = None if older_than is None else (datetime.now(UTC) - timedelta(days=older_than)).isoformat()
    with ConsortiumService() as service:
        store = service.store
        chosen = store.pruning.list_prunable(before, keep)
        if dry_run:
            _print_prunable(chosen, as_json)
            return
        if chosen and not yes:
            _confirm_pruning(chosen)
        removed: list[str] = []
        hidden = not is_terminal(sys.stderr)
        with click.progressbar(length=len(chosen), label="Removing", file=sys.stderr, hidden=hidden) as progress:
            for step in store.pruning.delete_runs(chosen):
                removed += step
                progress.update(len(step))
        freed = store.pruning.give_back_space() if removed else 0
    if as_json:
        print_json(PrunedOutput(removed=tuple(removed), bytes_given_back=freed))
    else:
        click.echo(f"Removed {counted(len(removed), 'run')}; freed {freed:,} bytes.")


def _print_prunable(chosen: Mapping[str, str], as_json: bool) -> None:
    """List the runs that would be removed, each with its opening time."""
    if as_json:
        print_json(PrunableOutput(would_remove=tuple(chosen)))
        return
    for run_id, opened in chosen.items():
        click.echo(f"{run_id}  {opened[:16]}")
    click.echo(f"Would remove {counted(len(chosen), 'run')}; nothing is removed.", err=True)


def _confirm_pruning(chosen: Mapping[str, str]) -> None:
    """Ask for confirmation. Raises ConsortiumError without it."""
    opened = [moment[:16] for moment in chosen.values()]
    what = f"{counted(len(chosen), 'run')}, opened from {opened[0]} to {opened[-1]} (UTC)"
    if sys.stdin is None:
        raise ConsortiumError("Removing runs needs a confirmation, and stdin is closed. Give --yes.")
    try:
        is_wanted = click.confirm(f"Remove {what}? This cannot be undone.", err=True)
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise
        click.echo(err=True)  # the question is on this line
        raise ConsortiumError("Removing runs needs a confirmation, and stdin has none. Give --yes.") from abort
    if not is_wanted:
        raise ConsortiumError("Nothing is removed.")


@runs.command()
@run_argument
@click.option("--correct", is_flag=True, help="The answer was right.")
@click.option("--wrong", is_flag=True, help="The answer was wrong.")
@click.option("--score", type=Number(0, 1), help="How right the answer was, 0-1.")
@click.option("--note", help="The reason for the rating, in words.")
@json_option(RatingOutput)
def rate(run_id: str, correct: bool, wrong: bool, score: float | None, note: str | None, as_json: bool) -> None:
    """Rate the answer of RUN; `stats` and later confidences use the ratings."""
    if correct + wrong + (score is not None) != 1:
        raise click.UsageError("The rating is missing or doubled. Give exactly one of --correct, --wrong and --score.")
    if note is not None and len(note) > LONGEST_NOTE:
        raise click.UsageError(
            f"The note has {len(note)} characters, more than the limit of {LONGEST_NOTE}. Shorten it."
        )
    score = float(correct) if score is None else score
    with ConsortiumService() as service:
        run_id = find_run_id(service.store, run_id)
        require_answer(service.store.runs.load.sync(run_id), "to rate")
        rating = Rating(run_id=run_id, score=score, note=note)
        service.store.ratings.save.sync(rating)
    if as_json:
        print_json(RatingOutput.model_construct(**dict(rating)))
    else:
        click.echo(f"Rated {run_id}: {score:g}.")


@runs.command()
@run_argument
@field_option("arbiter", ConsultRequest, "Another arbiter.")
@field_option("judging_method", ConsultRequest, "Another judging method; see `strategies`.")
@click.option("--without", multiple=True, help="A model or an instance whose responses are left out.")
@field_option("confidence_threshold", ConsultRequest, "Another confidence threshold.")
@json_option(RunOutput)
def replay(
    run_id: str,
    arbiter: str | None,
    judging_method: str | None,
    without: tuple[str, ...],
    confidence_threshold: float | None,
    as_json: bool,
) -> None:
    """Judge the stored responses of RUN again, in a new run. No member is asked."""
    with ConsortiumService() as service:
        opened = open_replay(
            service,
            find_run_id(service.store, run_id),
            arbiter=arbiter,
            judging_method=judging_method,
            without=without,
            confidence_threshold=confidence_threshold,
        )
        run = work_on(service, opened.run_id)
    _print_answered(run, as_json)


@runs.command()
@run_argument
@json_option(CancelledOutput)
def cancel(run_id: str, as_json: bool) -> None:
    """Stop RUN, whichever process works on it."""
    with ConsortiumService() as service:
        store = service.store
        run_id = find_run_id(store, run_id)
        before = store.progress.load.sync(run_id).status
        store.leases.request_cancel.sync(run_id)
        until = store.leases.held_until.sync(run_id)
        status = store.progress.load.sync(run_id).status
    if as_json:
        held = None if until is None else until.isoformat()
        print_json(CancelledOutput(run_id=run_id, status=status, held_until=held))
    elif before not in ("running", "interrupted"):
        click.echo(f"{run_id} had already ended ({before}).")
    elif until is None:
        click.echo(f"{run_id} has ended ({status}).")
    else:
        click.echo(
            f"Asked {run_id} to stop; its process sees the request within seconds. "
            f"If that process has died, cancel the run again after {until:%X}."
        )
