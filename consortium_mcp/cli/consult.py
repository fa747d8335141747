"""`consult`: one question, one answer, with live progress on a terminal."""

import math
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import click

from consortium_mcp._util.iterating import LOOK_SECONDS, UnreadError
from consortium_mcp._util.output import has_no_reader
from consortium_mcp.cli.json_output import JsonOutput, RunOutput, json_option, print_json, run_output
from consortium_mcp.cli.live import LiveTable, live_table
from consortium_mcp.cli.options import STDOUT, check_typed, output_option, read_typed, request_options
from consortium_mcp.cli.screen import print_run, say, told_where_kept, write_file
from consortium_mcp.errors import ConsortiumError, NextStep, OutputError
from consortium_mcp.records import AttachmentFile, Run
from consortium_mcp.records.request import ConsultRequest
from consortium_mcp.reports.plans import plan_text
from consortium_mcp.service.answers import answered
from consortium_mcp.service.attachments.access import FileAccess, access_of_user
from consortium_mcp.service.attachments.reading import file_of, read_attachment, with_files_read
from consortium_mcp.service.estimate import Estimate
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService


class EstimateOutput(Estimate, JsonOutput):
    """What the consult would do and cost."""


class _Consult(click.Command):
    """A command whose usage error explains how to give a prompt that looks like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.possibilities:
                raise
            hint = "Write '--' before a prompt that begins with '-'."
            raise click.UsageError(f"{error.format_message()} {hint}", ctx) from error


@click.command(cls=_Consult)
@click.argument("prompt", required=False)
@request_options(ConsultRequest)
@click.option(
    "--at",
    "--attachment-type",
    "typed_attachments",
    metavar="FILE TYPE",
    type=(str, str),
    multiple=True,
    help="An attachment with its media type.",
)
@click.option("--dry-run", is_flag=True, help="Show what the consult would do and cost, without any call.")
@output_option("Also write the whole run to this file, as JSON.")
@click.option(
    "--stdin/--no-stdin",
    "read_stdin",
    default=True,
    help="Read stdin when it is piped; its text comes before PROMPT. [yes]",
)
@click.option("--raw", is_flag=True, help="Print the arbiter's unchanged reply.")
@json_option(RunOutput, EstimateOutput)
def consult(
    prompt: str | None,
    given: dict[str, Any],
    typed_attachments: tuple[tuple[str, str], ...],
    output: Path | None,
    read_stdin: bool,
    raw: bool,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Ask a consortium PROMPT, the text on stdin, or both.

    Without --consortium and --model the default consortium is asked. Ctrl-C interrupts the run; `runs resume`
    continues it.
    """
    if output == STDOUT:
        as_json, output = True, None
    untyped = given.pop("attachments", ())
    is_attached = STDIN in (*untyped, *(path for path, _ in typed_attachments))
    request = read_typed(ConsultRequest, {"prompt": _with_stdin(prompt, read_stdin and not is_attached), **given})
    with ConsortiumService() as service:
        access = access_of_user(service.settings)
        attached = [*((one, None) for one in untyped), *typed_attachments]
        files = [_attachment(path, kind, access, place) for place, (path, kind) in enumerate(attached, start=1)]
        request = with_files_read(request.model_copy(update={"attachments": files}), access)
        service.catalogue.use(lambda catalogue: check_typed(service.definitions, catalogue, request))
        if dry_run:
            plan = service.opener.plan(request)
            if as_json:
                print_json(EstimateOutput.model_construct(**dict(plan)))
            else:
                say(plan_text(plan))
            return
        opened = service.opener.open_run(request, join=True)
        run = work_on(service, opened.run_id)
    try:  # a program gets the whole run, even without an answer
        with told_where_kept(run.run_id):
            if as_json:
                print_json(run_output(run))
            else:
                print_run(answered(run), raw=raw)
    finally:
        if output is not None:
            write_file(output, [run_output(run).model_dump_json(indent=1), "\n"])
    answered(run)


def work_on(service: ConsortiumService, run_id: str) -> Run:
    """The run when it has ended; its progress is shown meanwhile.

    Ctrl-C, SIGTERM and a stdout without a reader interrupt it. Raises ConsortiumError for the last, KeyboardInterrupt
    for the others.
    """
    kept, step = "The run is kept with every response that arrived.", NextStep.CONTINUE_RUN
    try:
        return anyio.run(_follow, service, run_id)
    except UnreadError as unread:
        raise OutputError(f"The reader of stdout closed the pipe. {kept}", step, run_id=run_id) from unread
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(ConsortiumError(kept, step, run_id=run_id)) from interrupt


async def _follow(service: ConsortiumService, run_id: str) -> Run:
    async with anyio.create_task_group() as group:
        group.start_soon(_end_on_sigterm, group.cancel_scope)
        group.start_soon(_end_without_reader, group.cancel_scope)
        async with Runner(service) as runner:
            with live_table() as table:
                run = await _end_of(run_id, runner, table)
            await service.note_received(run_id)
        group.cancel_scope.cancel()
        return run
    raise UnreadError if has_no_reader(sys.stdout) else KeyboardInterrupt


async def _end_of(run_id: str, runner: Runner, table: LiveTable) -> Run:
    """The run when it has ended; if another process holds it and dies, resume it here."""
    while True:
        runner.submit(run_id)
        async for progress in runner.follow(run_id, math.inf):
            table.show(progress)
        run = await runner.load(run_id)
        if run.status != "interrupted" or run.error:  # the error is the reason why it cannot continue
            return run


async def _end_on_sigterm(scope: anyio.CancelScope) -> None:
    """Treat SIGTERM like Ctrl-C, which a shell's background job does not receive."""
    with suppress(NotImplementedError), anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def _end_without_reader(scope: anyio.CancelScope) -> None:
    """Stop work whose output a pipe's reader will never see, as in `consult … | head`."""
    while not has_no_reader(sys.stdout):  # noqa: ASYNC110 - no event tells of it
        await anyio.sleep(LOOK_SECONDS)
    scope.cancel()


STDIN = "-"
"""The value of an attachment option for stdin."""


def _attachment(path: str, kind: str | None, access: FileAccess, place: int) -> AttachmentFile:
    """The attachment at a path, a URL, or on stdin. Raises ConsortiumError."""
    if path != STDIN:
        return read_attachment(path, access, type=kind, place=place)
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("The attachment '-' is stdin, and nothing is piped in.")
    return file_of(sys.stdin.buffer.read(access.most_bytes + 1), type=kind, place=place)


def _with_stdin(prompt: str | None, read_stdin: bool) -> str:
    """The text on stdin, then the prompt, as in llm, but on separate lines."""
    is_piped = read_stdin and sys.stdin is not None and not sys.stdin.isatty()
    parts = (sys.stdin.read().strip() if is_piped else "", prompt or "")
    if not any(part.strip() for part in parts):
        raise click.UsageError("The prompt is missing: give it as an argument or on stdin.")
    return "\n".join(part for part in parts if part)
