"""One tiny question to each hosted model that would be asked, all at once: whether it really answers."""

import anyio

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.installation.doctor.check import Check
from consortium_mcp.models.calling import make_call
from consortium_mcp.models.catalogue import Catalogue, ModelEntry, load_catalogue
from consortium_mcp.models.local import LOCAL_MODEL_ID
from consortium_mcp.records import CallId, CallResult, CallSpec
from consortium_mcp.records.consortium import Consortium, models_of
from consortium_mcp.service.definitions import with_arbiter
from consortium_mcp.service.service import ConsortiumService

LIVE_SECONDS = 60
"""How long a model may take for its answer to the tiny question."""

_LIVE_PROMPT = "Reply with the one word: ok"

_LIVE_REMEDIES = {
    "billing": "Look at the account that its key belongs to.",
    "rate_limit": "Wait, or raise the limits of the account that its key belongs to.",
    "model_unavailable": "Take another model: `consortium-mcp models` lists them.",
    "network": "Look at the network, and at the proxy that this environment names.",
}


async def call_models() -> list[Check]:
    """Call every hosted model that would be asked, all at once."""
    with ConsortiumService() as service:
        entries = _hosted(service, load_catalogue())
        checks: dict[str, Check] = {}

        async def call(entry: ModelEntry) -> None:
            service.clients.use_in(entry)
            model = entry.model_id
            spec = CallSpec(call_id=CallId.of_member(1, 1), iteration=1, label=model, model=model, prompt=_LIVE_PROMPT)
            result = await make_call(entry, spec, service.limits, LIVE_SECONDS, service.llm_log.write)
            checks[entry.model_id] = _called(entry, result)

        try:
            async with anyio.create_task_group() as group:
                for entry in entries:
                    group.start_soon(call, entry)
        finally:
            await service.clients.aclose()
    none_asked = Check(about="Live calls", state="ok", found="no hosted model would be asked")
    return [checks[entry.model_id] for entry in entries] or [none_asked]


def _hosted(service: ConsortiumService, catalogue: Catalogue) -> list[ModelEntry]:
    """The usable models, neither embedded nor consortiums themselves, that saved consortiums name, or the default."""
    saved, _ = service.store.consortiums.list_all.sync()
    named: list[Consortium] = list(saved.values()) or [service.definitions.default(catalogue)[1]]
    allowed = service.settings.allowed_models
    found: dict[str, ModelEntry] = {}
    for name in (name for consortium in named for name in models_of(with_arbiter(consortium))):
        if name in saved:
            continue
        try:
            entry = catalogue.usable(name, allowed)
        except ConsortiumError:
            continue  # the consortium's own line says so
        if entry.model_id != LOCAL_MODEL_ID:
            found[entry.model_id] = entry
    return list(found.values())


def _called(entry: ModelEntry, result: CallResult) -> Check:
    about = f"Live: {entry.model_id}"
    if result.ok:
        return Check(about=about, state="ok", found=f"answered in {result.duration_ms / 1000:.1f} s")
    kind = result.error_kind or "internal"
    return Check(about=about, state="problem", found=f"{kind}: {result.error}", remedy=_LIVE_REMEDIES.get(kind))
