"""The results of tools: a short text for the model, and the same as structured content."""

from typing import Any

from mcp_types import Annotations, CallToolResult, ContentBlock, ResourceLink, TextContent

from consortium_mcp._util.counts import counted
from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.errors import ConsortiumError, NextStep, words_for
from consortium_mcp.records import (
    Claim,
    ErrorKind,
    Iteration,
    Measures,
    Progress,
    Run,
    RunOutline,
    Status,
    Trust,
    Usage,
)
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.reports.foreign_text import under_heading
from consortium_mcp.reports.markdown import outcome_text, short_report, transcript
from consortium_mcp.reports.plans import plan_text
from consortium_mcp.reports.trust import trust_of
from consortium_mcp.server.base.result_size import (
    ANSWER_TOKENS,
    TEXT_TOKENS,
    fits,
    fitted,
    most_tokens,
    parts_of,
    shortened,
)
from consortium_mcp.service.estimate import Estimate
from consortium_mcp.text.templates import clip, plain

MOST_SENTENCES = 5
LONGEST_SENTENCE = 200
"""How many sentences on what is missing stand beside a part, and how many characters each may have."""


class ResponseSummary(FrozenModel):
    """Who was asked, and how that went."""

    response_id: str
    """The place of the response in the run, as in `i1/m3`."""

    label: str
    """The instance that was asked, as in `gpt-5#2`."""

    error_kind: ErrorKind | None
    """The kind of failure; null if there is a usable text."""

    error: str | None
    """The failure in one sentence."""

    duration_ms: int
    """The duration of the last attempt, in milliseconds."""

    answered_by: str | None = None
    """The backup model that answered; null if the named model answered."""

    text: str | None = None
    """The text of the response, if the request asked for texts."""


class ConsultResult(FrozenModel):
    """The state of a run, and its answer once there is one."""

    run_id: str | None
    """The id of the run, for get_run and the resources; null for a dry run."""

    status: Status | None
    """running, converged, exhausted, deadline, budget, failed, cancelled or interrupted."""

    answer: str | None = None
    """The consortium's answer; null until there is one."""

    confidence: float | None = None
    """Trust in the answer, 0.0-1.0, bounded by the measurements; null if unknown."""

    trust: Trust | None = None
    """The basis of the confidence, and its bounds; null until there is an answer."""

    dissent: str = ""
    """Disagreement that the answer does not include."""

    claims: tuple[Claim, ...] = ()
    """The disputed claims, each with the instances that support and oppose it, if the arbiter listed them."""

    measures: Measures | None = None
    """Measurements of the iteration that gave the answer; null until it is judged."""

    degraded: tuple[str, ...] = ()
    """What the answer lacks, a sentence each; empty if it is complete."""

    iterations: int = 0
    """The number of iterations so far."""

    selected_iteration: int | None = None
    """The iteration that gave the answer, from 1."""

    responses: tuple[ResponseSummary, ...] = ()
    """The responses of the selected iteration, or of the last one."""

    usage: Usage = Usage()
    """Calls, tokens and US dollars of the whole run."""

    run_uri: str | None = None
    """The URI of the run as JSON."""

    transcript_uri: str | None = None
    """The URI of the transcript."""

    next_part: int | None = None
    """The `part` with which get_run reads on; null if the answer is whole, or ends here."""

    plan: Estimate | None = None
    """The estimate of a dry run; null for a real run."""


class ConsortiumSummary(FrozenModel):
    """A saved consortium."""

    name: str
    """The name for consults."""

    problem: str | None
    """Why it cannot run now and what to do; null if it can run."""

    definition: Consortium | None
    """The saved definition; null if its row is damaged."""


class Choice(FrozenModel):
    """A part of a consortium that can be chosen by name."""

    name: str
    """The name to choose it by."""

    description: str
    """What it does."""


class ConsortiumList(FrozenModel):
    """Every saved consortium, and the parts for a new one."""

    consortiums: tuple[ConsortiumSummary, ...]
    strategies: tuple[Choice, ...]
    judging_methods: tuple[Choice, ...]
    presets: tuple[Choice, ...]
    roles: tuple[Choice, ...]


class SavedConsortium(FrozenModel):
    """A definition and its name."""

    name: str
    definition: Consortium | None


class RunSummary(FrozenModel):
    """One run in a list."""

    run_id: str
    status: Status
    prompt: str
    """The first 200 characters of the prompt."""

    confidence: float | None
    consortium: str | None
    """The name of the saved consortium; null for one given inline."""

    inside: str | None
    """The outer run that asked it; null for a caller's run."""

    created_utc: str
    run_uri: str

    @classmethod
    def of(cls, run: RunOutline) -> "RunSummary":
        """The summary of a run."""
        return cls(
            run_id=run.run_id,
            status=run.status,
            prompt=run.prompt,
            confidence=run.confidence,
            consortium=run.consortium_name,
            inside=run.parent_run,
            created_utc=run.created_utc,
            run_uri=run.uri,
        )


class RunList(FrozenModel):
    """Runs, newest first."""

    runs: tuple[RunSummary, ...]
    next_cursor: str | None
    """The `cursor` of the next page; null on the last page."""


def consult_result(run: Run, progress: Progress, detail: str = "answer", note: str | None = None) -> CallToolResult:
    """The result of consult_consortium, get_run and cancel_run.

    Args:
        note: a sentence about the call at the end of the text; None for none.
        detail: `answer`, `responses` (with the selected iteration's texts) or `full` (with the whole transcript).
    """
    parts = [] if run.answer is None else _answer_parts(run.answer)
    answer = parts[0] if parts else None
    shown = _shown_iteration(run)
    structured = ConsultResult(
        run_id=run.run_id,
        status=run.status,
        answer=answer,
        confidence=run.confidence,
        trust=trust_of(run),
        dissent=run.dissent,
        claims=shown.verdict.claims if shown and shown.verdict else (),
        measures=shown.measures if shown else None,
        degraded=run.degraded,
        iterations=len(run.iterations),
        selected_iteration=run.selected_iteration,
        responses=_summaries(shown, with_texts=detail == "responses"),
        usage=run.usage,
        run_uri=run.uri,
        transcript_uri=run.transcript_uri,
        next_part=2 if len(parts) > 1 else None,
    )
    text = _consult_text(run.model_copy(update={"answer": answer}), progress, detail)
    text = f"{text}\n{note}" if note else text
    if len(parts) > 1 and detail == "answer":
        text = f"{_part_note(1, len(parts))}\n\n{text}"
        if most_tokens(plain(text)) > TEXT_TOKENS or not fits(_plain(structured.model_dump(mode="json"))):
            return part_result(run, detail, 1)
    failed = run.status != "running" and run.answer is None
    rest = f"call get_run with part=1 to read it in parts, or read {run.uri} or {run.transcript_uri}"
    return result(text, structured, rest, links=_links(run), is_error=failed)


def part_result(run: Run, detail: str, part: int) -> CallToolResult:
    """A part of a run's answer or, by `detail`, of its responses or its transcript.

    Args:
        part: from 1.

    Raises:
        ConsortiumError: there is no such part.
    """
    if detail == "answer":
        parts = _answer_parts(run.answer or "")
    else:
        parts = parts_of(plain(_consult_text(run, None, detail)))
    if part > len(parts):
        raise ConsortiumError(f"part is {part}, and this text has {counted(len(parts), 'part')}. Give a lower number.")
    text = parts[part - 1]
    structured = ConsultResult(
        run_id=run.run_id,
        status=run.status,
        answer=text if detail == "answer" else None,
        confidence=run.confidence,
        degraded=tuple(clip(one, LONGEST_SENTENCE) for one in run.degraded[:MOST_SENTENCES]),
        run_uri=run.uri,
        transcript_uri=run.transcript_uri,
        next_part=part + 1 if part < len(parts) else None,
    )
    first = [f"Incomplete: {one}" for one in structured.degraded] if part == 1 else []
    said = "\n".join([*first, _part_note(part, len(parts)), "", text])
    return result(said, structured, f"the full record is in {run.uri}", links=_links(run))


def _part_note(part: int, count: int) -> str:
    """Which part follows, and how to read the next one."""
    which = f"This is part {part} of {count}."
    return f"{which} Call get_run with part={part + 1} to read on." if part < count else which


def plan_result(plan: Estimate) -> CallToolResult:
    """The result of a dry run."""
    return result(
        plan_text(plan), ConsultResult(run_id=None, status=None, plan=plan), "ask fewer members to see the full plan"
    )


def result(
    text: str, structured: FrozenModel, rest: str, links: list[ResourceLink] | None = None, is_error: bool = False
) -> CallToolResult:
    """A tool result: the text for the model, and the same as structured content; both within clients' limits.

    Args:
        rest: how to get the rest, if the result must be cut.
    """
    text, whole = plain(text), _plain(structured.model_dump(mode="json"))
    if most_tokens(text) > TEXT_TOKENS or not fits(whole):
        cut = f"This result was too long and is cut: {rest}.\n\n"
        text = cut + shortened(text, TEXT_TOKENS - most_tokens(cut))
    content: list[ContentBlock] = [TextContent(type="text", text=text), *(links or [])]
    return CallToolResult(content=content, structured_content=fitted(whole), is_error=is_error)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(name): _plain(item) for name, item in value.items()}
    return value


def _answer_parts(answer: str) -> list[str]:
    """The answer in one part if it fits into a result, else in several."""
    answer = plain(answer)
    return [answer] if most_tokens(answer) <= ANSWER_TOKENS else parts_of(answer)


def _consult_text(run: Run, progress: Progress | None, detail: str) -> str:
    if detail == "full":
        return transcript(run)
    text = _running_text(run, progress) if progress and run.status == "running" else short_report(run)
    if run.status != "running" and run.answer is None:
        text += f"\n{words_for(NextStep.READ_RUN, run_id=run.run_id)}"
    shown = _shown_iteration(run)
    if detail == "responses" and shown is not None:
        text += "".join(f"\n\n## {one.label}\n{under_heading(one.text or one.error or '')}" for one in shown.responses)
    return text


def _shown_iteration(run: Run) -> Iteration | None:
    if not run.iterations:
        return None
    return run.iterations[(run.selected_iteration or len(run.iterations)) - 1]


def _summaries(iteration: Iteration | None, with_texts: bool) -> tuple[ResponseSummary, ...]:
    if iteration is None:
        return ()
    return tuple(
        ResponseSummary(
            response_id=one.response_id,
            label=one.label,
            error_kind=one.error_kind,
            error=one.error,
            duration_ms=one.duration_ms,
            answered_by=one.answered_by,
            text=one.text if with_texts else None,
        )
        for one in iteration.responses
    )


def _running_text(run: Run, progress: Progress) -> str:
    lines = [f"Still running: {progress.message}."]
    if shown := _shown_iteration(run):
        lines.append(f"So far: {', '.join(f'{one.label} {outcome_text(one)}' for one in shown.responses)}")
    lines.append(f'Call get_run with run_id="{run.run_id}" to wait for the answer; do not consult again.')
    return "\n".join(lines)


def _links(run: Run) -> list[ResourceLink]:
    audience: dict[str, Any] = {"annotations": Annotations(audience=["user", "assistant"], priority=0.3)}
    return [
        ResourceLink(
            type="resource_link",
            uri=run.transcript_uri,
            name=f"transcript of run {run.run_id}",
            description="Every response and verdict, as Markdown.",
            mime_type="text/markdown",
            **audience,
        ),
        ResourceLink(
            type="resource_link",
            uri=run.uri,
            name=f"run {run.run_id}",
            description="The whole record, as JSON.",
            mime_type="application/json",
            **audience,
        ),
    ]
