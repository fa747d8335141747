"""Asks each hosted model that a consult would ask one tiny question, to see whether it answers."""

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.installation.doctor.check import Check
from consortium_mcp.installation.live_calls import ask_models
from consortium_mcp.models.catalogue import Catalogue, ModelEntry, load_catalogue
from consortium_mcp.models.local import LOCAL_MODEL_ID
from consortium_mcp.records import CallResult
from consortium_mcp.records.consortium import Consortium, models_of
from consortium_mcp.service.definitions import with_arbiter
from consortium_mcp.service.service import ConsortiumService


async def call_models() -> list[Check]:
    """Call every hosted model that a consult would ask, all at once."""
    with ConsortiumService() as service:
        entries = _hosted(service, load_catalogue())
        results = await ask_models(service, entries)
    none_asked = Check(about="Live calls", state="ok", found="no hosted model would be asked")
    return [_called(entry, results[entry.model_id]) for entry in entries] or [none_asked]


def _hosted(service: ConsortiumService, catalogue: Catalogue) -> list[ModelEntry]:
    """The usable hosted models, without consortiums, that saved consortiums or the default name."""
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
            continue  # the consortium's own check reports it
        if entry.model_id != LOCAL_MODEL_ID:
            found[entry.model_id] = entry
    return list(found.values())


def _called(entry: ModelEntry, result: CallResult) -> Check:
    about = f"Live: {entry.model_id}"
    if result.ok:
        return Check(about=about, state="ok", found=f"answered in {result.duration_ms / 1000:.1f} s")
    found = f"{result.error_kind or 'internal'}: {result.error}"
    return Check(about=about, state="problem", found=found)
