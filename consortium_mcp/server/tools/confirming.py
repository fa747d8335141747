"""Asks the user before an overwrite or an expensive consult; without an answer there is no consent."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import anyio.to_thread
from mcp.server.mcpserver import AcceptedElicitation, Context, Elicit, ElicitationResult, Resolve
from pydantic import BaseModel, Field

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.records.request import ConsultRequest
from consortium_mcp.reports.definitions import definition_text
from consortium_mcp.reports.plans import plan_text
from consortium_mcp.server.tools.parameters import gatherer
from consortium_mcp.server.tools.sampling import follows_run, lends_its_model
from consortium_mcp.service.estimate import Estimate
from consortium_mcp.service.runner import Runner


class Confirmation(BaseModel):
    """The question to the user."""

    confirm: bool = Field(default=True, title="Go ahead", description="No leaves everything unchanged.")


Outcome = ElicitationResult[Confirmation]
"""The result of a question; accepted without a Confirmation if no question was needed."""


CONSULTED = ("prompt",)
"""The required fields of a consult."""

gather_consult = gatherer(ConsultRequest, CONSULTED)
"""Gathers the request of a consult once, for the question before it and for the consult itself."""


def overwriting(runner: Runner) -> Callable[..., Awaitable[Elicit[Confirmation] | None]]:
    """The question whether a saved consortium may be replaced."""

    async def confirm_overwriting(ctx: Context[Any, Any], name: str, overwrite: bool) -> Elicit[Confirmation] | None:
        store = runner.service.store
        if overwrite or not _can_ask(ctx) or name not in await store.consortiums.list_own_names():
            return None
        loaded, _ = await store.consortiums.list_all()
        saved = definition_text(name, loaded[name]) if name in loaded else f"{name} (damaged)"
        return Elicit(f"A consortium of this name is saved already: {saved}. Replace it?", Confirmation)

    return confirm_overwriting


def spending(
    runner: Runner, with_files: Callable[..., Awaitable[ConsultRequest]]
) -> Callable[..., Awaitable[Elicit[Confirmation] | None]]:
    """The question whether a consult may cost its estimate; raises if the user cannot be asked.

    Args:
        with_files: the resolver of the request with its attachments read.
    """
    service = runner.service

    async def confirm_spending(
        ctx: Context[Any, Any],
        request: Annotated[ConsultRequest, Resolve(with_files)],
        dry_run: bool,
    ) -> Elicit[Confirmation] | None:
        limit, own_limit = service.settings.confirm_cost_usd, request.max_cost_usd
        if limit is None or dry_run or follows_run(ctx) or (own_limit is not None and own_limit <= limit):
            return None
        plan = await anyio.to_thread.run_sync(lambda: service.opener.plan(request, has_client=lends_its_model(ctx)))
        if plan.problems or (plan.cost_usd is not None and plan.cost_usd[1] <= limit):
            return None
        if not _can_ask(ctx):
            if plan.cost_usd is None and request.max_calls is not None:
                return None  # its cost is unknown, so that only calls can bound it
            raise ConsortiumError(
                f"The consult was not started: {_estimate(plan, limit)}, and this client cannot ask its user. "
                f"{_ways_on(plan, limit)}\n{plan_text(plan)}"
            )
        return Elicit(f"Go ahead? {_estimate(plan, limit)}.\n{plan_text(plan)}", Confirmation)

    return confirm_spending


def was_asked(outcome: Outcome, kept: str) -> bool:
    """Whether the user was asked, and agreed.

    Args:
        kept: a sentence that says what stays unchanged without agreement.

    Raises:
        ConsortiumError: the user declined or cancelled.
    """
    if not isinstance(outcome, AcceptedElicitation):
        raise ConsortiumError(f"The user {'declined' if outcome.action == 'decline' else 'cancelled'}: {kept}")
    if outcome.data is not None and not outcome.data.confirm:
        raise ConsortiumError(f"The user declined: {kept}")
    return outcome.data is not None


def _can_ask(ctx: Context[Any, Any]) -> bool:
    """Whether the client shows forms to its user; a client that declares no modes counts as one that does."""
    capabilities = ctx.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _ways_on(plan: Estimate, limit: float) -> str:
    """The possible next steps of a caller whose user cannot be asked."""
    if plan.cost_usd is None:
        return (
            f"Give max_calls={plan.max_calls} once the user has agreed to this number of calls. "
            "Or the user gives prices with CONSORTIUM_PRICES."
        )
    return f"Ask fewer instances, give max_cost_usd of at most {limit:g}, or raise CONSORTIUM_CONFIRM_COST_USD."


def _estimate(plan: Estimate, limit: float) -> str:
    if plan.cost_usd is None:
        return f"the cost of this consult is unknown, and above ${limit:g} the user decides"
    return f"this consult may cost up to ${plan.cost_usd[1]:.2f}, and above ${limit:g} the user decides"
