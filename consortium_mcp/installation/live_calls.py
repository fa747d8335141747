"""Asks several models one tiny question, all at once, to see whether they answer."""

from collections.abc import Sequence

import anyio

from consortium_mcp.errors import ModelUnavailableError
from consortium_mcp.models.calling import make_call
from consortium_mcp.models.catalogue import ModelEntry
from consortium_mcp.records import CallId, CallResult, CallSpec
from consortium_mcp.service.service import ConsortiumService

LIVE_SECONDS = 60
"""The seconds in which a model must answer the tiny question."""

_PROMPT = "Reply with the one word: ok"


async def ask_models(service: ConsortiumService, entries: Sequence[ModelEntry]) -> dict[str, CallResult]:
    """Ask every model at once; the results by model id. The service's clients are closed afterwards."""
    results: dict[str, CallResult] = {}

    async def ask(entry: ModelEntry) -> None:
        model = entry.model_id
        try:
            service.clients.use_in(entry)
        except ModelUnavailableError as error:  # of certificates or proxies, which affect all servers
            results[model] = CallResult(error_kind="network", error=str(error))
            return
        spec = CallSpec(call_id=CallId.of_member(1, 1), iteration=1, label=model, model=model, prompt=_PROMPT)
        results[model] = await make_call(entry, spec, service.limits, LIVE_SECONDS, service.llm_log.write)

    try:
        async with anyio.create_task_group() as group:
            for entry in entries:
                group.start_soon(ask, entry)
    finally:
        await service.clients.aclose()
    return results
