"""Answers llm's prompts to a saved consortium: consults it, and streams its answer to llm."""

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Any

import click
import llm
from llm.parts import AttachmentPart, ReasoningPart, TextPart

from consortium_mcp._util.iterating import UnreadError, iterate
from consortium_mcp._util.output import has_no_reader
from consortium_mcp.api import Event, consult_events
from consortium_mcp.errors import ConsortiumError, Door, speaking_at
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.records import AnswerPiece, AttachmentFile, Progress, Run, Turn
from consortium_mcp.records.consortium import alternatives
from consortium_mcp.reports.markdown import about_answer, answer_text
from consortium_mcp.reports.trust import trust_of
from consortium_mcp.service.attachments.access import FileAccess, access_of_user
from consortium_mcp.service.attachments.reading import file_of, read_attachment
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import Settings, current_settings
from consortium_mcp.text.member_system import own_system_prompt

WITHDRAWN = "[The partial answer above was discarded. Final answer:]"
"""Shown after pieces of an answer that turned out not to be its beginning."""

_KEPT = "The run is kept with every response that arrived: `consortium-mcp runs resume {}` continues it."


def reply(name: str, prompt: llm.Prompt, response: llm.Response, settings: Settings | None) -> Iterator[str]:
    """The answer in pieces, for a synchronous caller; progress goes to stderr if that is a terminal."""
    answer, kept = _Answer(response), ""
    try:
        question, terms = _asked(name, prompt, settings)
        consulted = iterate(lambda: consult_events(question, settings=settings, **terms), _is_unread)
        with closing(consulted) as events:
            for event in events:
                if isinstance(event, Progress):
                    kept = _KEPT.format(event.run_id)
                if isinstance(event, Progress) and not answer.shown and sys.stderr.isatty():
                    click.echo(event.message, err=True)
                if piece := answer.piece(event):
                    yield piece
                if isinstance(event, Run) and sys.stderr.isatty():
                    click.echo(f"\n{about_answer(event)}", err=True)
    except ConsortiumError as error:
        raise llm.ModelError(_said(error)) from error
    except UnreadError as error:
        raise llm.ModelError(f"The reader of stdout closed the pipe. {kept}".rstrip()) from error
    except KeyboardInterrupt:
        if kept and click.get_current_context(silent=True) is not None:
            click.echo(f"\nInterrupted. {kept}", err=True)
        raise


async def async_reply(
    name: str, prompt: llm.Prompt, response: llm.AsyncResponse, settings: Settings | None
) -> AsyncIterator[str]:
    """The answer in pieces."""
    answer = _Answer(response)
    try:
        question, terms = _asked(name, prompt, settings)
        async with aclosing(consult_events(question, settings=settings, **terms)) as events:
            async for event in events:
                if piece := answer.piece(event):
                    yield piece
    except ConsortiumError as error:
        raise llm.ModelError(str(error)) from error


def _said(error: ConsortiumError) -> str:
    """The error in the words of its reader: a person who types commands, or a program that uses llm."""
    if click.get_current_context(silent=True) is None:
        return str(error)
    with speaking_at(Door.COMMANDS):
        return str(error)


def _is_unread() -> bool:
    """Whether a command prints the reply, and the reader of its stdout has left."""
    return click.get_current_context(silent=True) is not None and has_no_reader(sys.stdout)


def list_problems(settings: Settings | None) -> Mapping[str, str | None]:
    """Why each saved consortium cannot run now; None if it can. Raises ConsortiumError."""
    with ConsortiumService(settings) as service:
        return service.definitions.list_problems(load_catalogue(settings))


class _Answer:
    """The answer as it is shown."""

    def __init__(self, response: Any) -> None:
        self.shown = ""
        self._response = response

    def piece(self, event: Event) -> str:
        """The text that an event adds; empty for none."""
        if isinstance(event, AnswerPiece):
            self.shown += event.text
            return event.text
        if isinstance(event, Run):
            self._record(event)
            return self._rest(event)
        return ""

    def _rest(self, run: Run) -> str:
        """The part of the answer that was not shown; before a complete answer that is not JSON, also what it lacks."""
        answer = run.answer or ""
        if run.output_schema:
            return answer
        if not self.shown:
            return answer_text(run)
        rest = answer[len(self.shown) :] if answer.startswith(self.shown) else f"\n\n{WITHDRAWN}\n\n{answer}"
        return rest + "".join(f"\n\nIncomplete: {sentence}" for sentence in run.degraded)

    def _record(self, run: Run) -> None:
        """Store in llm's own record the run's URI, its verdict without the text, and its total usage."""
        selected = run.iterations[(run.selected_iteration or 1) - 1].verdict
        self._response.response_json = {
            "run_id": run.run_id,
            "status": run.status,
            "confidence": run.confidence,
            "trust": trust.model_dump(mode="json") if (trust := trust_of(run)) else None,
            "degraded": list(run.degraded),
            "iterations": len(run.iterations),
            "selected_iteration": run.selected_iteration,
            "verdict": selected.model_dump(mode="json", exclude={"synthesis"}) if selected else None,
        }
        details = {"calls": run.usage.calls, "cost_usd": run.usage.cost_usd}
        self._response.set_usage(
            input=run.usage.input_tokens,
            output=run.usage.output_tokens,
            details={name: value for name, value in details.items() if value is not None},
        )


def attachment_types(name: str, settings: Settings | None) -> frozenset[str]:
    """The media types that any member of a saved consortium accepts; empty if that is unknown."""
    try:
        with ConsortiumService(settings) as service:
            catalogue = load_catalogue(settings)
            members = service.store.consortiums.load.sync(name).members
            found = [catalogue.find(model) for member in members for model in alternatives(member.model)]
            return frozenset(one for entry in found if entry is not None for one in entry.attachment_types)
    except ConsortiumError:
        return frozenset()


def _asked(name: str, prompt: llm.Prompt, settings: Settings | None) -> tuple[str, dict[str, Any]]:
    """The question, and the terms as `consult` takes them. Raises ConsortiumError for what cannot be passed on."""
    messages = prompt.messages
    if not messages or messages[-1].role != "user":
        raise ConsortiumError(
            "The conversation does not end with a user's message. A consortium answers only such a message."
        )
    access = access_of_user(settings or current_settings())
    terms = prompt.options.model_dump(exclude_none=True)
    turns = [_turn(message, access) for message in messages if message.role != "system"]
    terms |= {"consortium": name, "history": turns[:-1], "output_schema": prompt.schema}
    if turns[-1].attachments:
        terms["attachments"] = turns[-1].attachments
    earlier = [_text(message) for message in messages if message.role == "system"]
    if system := prompt.system or terms.get("system_prompt") or "".join(earlier[-1:]):
        # As a member of another consortium it gets every member's system text; its own system prompt has more.
        terms["system_prompt"] = own_system_prompt(system)
    return turns[-1].text, terms


def _turn(message: llm.Message, access: FileAccess) -> Turn:
    """A turn of the conversation; a question without an answer, as one that failed, is one of them.

    Raises ConsortiumError where it holds more than text and attachments, or where one of these cannot be read.
    """
    attached = [part.attachment for part in message.parts if isinstance(part, AttachmentPart) and part.attachment]
    return Turn(
        role="user" if message.role == "user" else "assistant",
        text=_text(message),
        attachments=tuple(_file(one, access, place) for place, one in enumerate(attached, start=1)),
    )


def _file(attachment: llm.Attachment, access: FileAccess, place: int) -> AttachmentFile:
    """An attachment of llm, with its content. Raises ConsortiumError."""
    if attachment.content:
        return file_of(attachment.content, type=attachment.type, place=place)
    return read_attachment(attachment.path or attachment.url or "", access, type=attachment.type, place=place)


def _text(message: llm.Message) -> str:
    """The text of a message, without thinking. Raises ConsortiumError if it contains a tool call or result."""
    if any(not isinstance(part, TextPart | ReasoningPart | AttachmentPart) for part in message.parts):
        raise ConsortiumError(
            "A consortium reads texts and attachments, but this conversation contains a tool call. "
            "Start a new conversation, or ask a single model."
        )
    return "".join(part.text for part in message.parts if isinstance(part, TextPart))
