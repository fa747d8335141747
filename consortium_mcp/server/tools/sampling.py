"""The calling client's own model as a member: sends a run's calls to it over the caller's connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    CreateMessageResultWithTools,
    InputRequests,
    InputRequiredResult,
    InputResponse,
    SamplingMessage,
    TextContent,
)
from mcp_types.version import is_version_at_least
from pydantic import ValidationError

from consortium_mcp.models.failures import reply_failure
from consortium_mcp.models.sampling_queue import ClientCall, SamplingQueue
from consortium_mcp.records import CallResult, CallSpec
from consortium_mcp.server.base.mcp_server import InputNeeded
from consortium_mcp.service.spending import ASSUMED_OUTPUT_TOKENS
from consortium_mcp.text.masking import masked
from consortium_mcp.text.templates import storable
from consortium_mcp.text.thinking import told_apart

SETTLE_SECONDS = 0.05
"""The seconds to wait for further calls of the same iteration, so that the client gets all of them at once."""

_STATE = "run:"
_INPUT_REQUIRED = "2026-07-28"


def lends_its_model(ctx: Context[Any, Any]) -> bool:
    """Whether the client declares that it answers sampling requests."""
    return ctx.client_capabilities is not None and ctx.client_capabilities.sampling is not None


def asks_in_results(ctx: Context[Any, Any]) -> bool:
    """Whether the client is asked through the result of its request, as since revision 2026-07-28."""
    version = ctx.protocol_version
    return version is not None and is_version_at_least(version, _INPUT_REQUIRED)


def follows_run(ctx: Context[Any, Any]) -> bool:
    """Whether this is the repeated request of a consult whose run is already open."""
    return (ctx.request_state or "").startswith(_STATE)


def take_answers(ctx: Context[Any, Any], calls: SamplingQueue) -> str | None:
    """Deliver the client's answers from its repeated request; the run that it follows, None for a new request."""
    state = ctx.request_state
    if state is None or not state.startswith(_STATE):
        return None
    run_id = state.removeprefix(_STATE)
    for call_id, answer in (ctx.input_responses or {}).items():
        calls.answer(run_id, call_id, _result(answer))
    return run_id


@asynccontextmanager
async def lent_model(ctx: Context[Any, Any], calls: SamplingQueue, run_id: str) -> AsyncIterator[None]:
    """In this context, the client gets the run's calls to its model, if it offers its model.

    Raises InputNeeded if the client's protocol revision receives questions as the result of its request.
    """
    if not lends_its_model(ctx):
        yield
        return
    needed: list[InputRequiredResult] = []
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        taking = anyio.CancelScope()

        async def ask_by_result() -> None:
            with taking:
                needed.append(await _needed_input(calls, run_id))
                group.cancel_scope.cancel()

        async def ask_at_once() -> None:
            with taking:
                while True:
                    for call in await calls.wait(run_id):
                        group.start_soon(_ask, ctx, calls, run_id, call)
                    await anyio.lowlevel.checkpoint()  # each call is taken there

        group.start_soon(ask_by_result if asks_in_results(ctx) else ask_at_once)
        try:
            yield
        except Exception as error:  # raised again outside the group, which would wrap it
            failure = error
            group.cancel_scope.cancel()
        taking.cancel()  # a question that a person sees now may still be answered
    if failure:
        raise failure
    if needed:
        raise InputNeeded(needed[0])


async def _needed_input(calls: SamplingQueue, run_id: str) -> InputRequiredResult:
    """The calls that the client must answer before the run continues; waits until there is one."""
    await calls.wait(run_id)
    await anyio.sleep(SETTLE_SECONDS)
    requests: InputRequests = {call.spec.call_id: _request(call.spec) for call in calls.waiting(run_id)}
    return InputRequiredResult(input_requests=requests, request_state=f"{_STATE}{run_id}")


async def _ask(ctx: Context[Any, Any], calls: SamplingQueue, run_id: str, call: ClientCall) -> None:
    """Make a call through a client of revision 2025-11-25, while the run waits for it."""

    async def ask() -> None:
        calls.answer(run_id, call.spec.call_id, await _reply(ctx, call.spec))

    with calls.taken(run_id, call):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await call.over.wait()
            group.cancel_scope.cancel()


async def _reply(ctx: Context[Any, Any], spec: CallSpec) -> CallResult:
    related = ServerMessageMetadata(related_request_id=ctx.request_id)
    try:
        return _result(await ctx.session.send_request(_request(spec), CreateMessageResultWithTools, metadata=related))
    except (MCPError, ValidationError) as error:
        why = masked(storable(str(error)))
        return CallResult(error_kind="cancelled", error=f"The client did not lend its model: {why}")


def _request(spec: CallSpec) -> CreateMessageRequest:
    turns = [*((turn.role, turn.text) for turn in spec.history), ("user", spec.prompt)]
    limit = spec.options.get("max_tokens")
    return CreateMessageRequest(
        params=CreateMessageRequestParams(
            messages=[SamplingMessage(role=role, content=TextContent(type="text", text=text)) for role, text in turns],
            system_prompt=spec.system,
            max_tokens=limit if isinstance(limit, int) else ASSUMED_OUTPUT_TOKENS,
        )
    )


def _result(reply: InputResponse) -> CallResult:
    if not isinstance(reply, CreateMessageResult | CreateMessageResultWithTools):
        return CallResult(error_kind="invalid_reply", error="The client's reply is not a message.")
    blocks = reply.content if isinstance(reply.content, list) else [reply.content]
    said = storable("".join(block.text for block in blocks if isinstance(block, TextContent)))
    thinking, text = told_apart(said)
    failure = reply_failure(None, reply.stop_reason, text, thinking=thinking)
    return CallResult(
        text=text or None,
        thinking=thinking or None,
        error_kind=failure.kind if failure else None,
        error=failure.message if failure else None,
        finish_reason=reply.stop_reason,
        resolved_model=reply.model,
    )
