"""Checks which members accept which attachments, before any model is asked."""

from collections.abc import Iterable, Sequence

from consortium_mcp._util.counts import counted
from consortium_mcp.models.attaching import takes
from consortium_mcp.models.catalogue import Catalogue, Models
from consortium_mcp.records import Attachment
from consortium_mcp.records.attachment import listed
from consortium_mcp.records.consortium import Consortium

NAMED = 5
"""The number of models that are named for a media type."""


def attachment_problems(
    attachments: Sequence[Attachment], consortium: Consortium, models: Models, catalogue: Catalogue
) -> list[str]:
    """Why no member accepts an attachment, with models that do; empty if at least one member accepts it.

    Args:
        models: the models to be called; empty when one of them cannot be.
    """
    if not models:
        return []
    entries = [entry for model in _members(consortium) for entry in models.get(model, ())]
    lost = [one for one in attachments if not any(takes(entry, one.type) for entry in entries)]
    if not lost:
        return []
    able = [
        entry.model_id
        for entry in catalogue.entries
        if entry.problem() is None and all(takes(entry, one.type) for one in lost)
    ]
    others = f"Models here that do: {', '.join(able[:NAMED])}{', …' if len(able) > NAMED else ''}."
    remedy = others if able else "No model here does; leave it out, or put its text into the prompt."
    return [f"No member takes {listed(lost)}. {remedy}"]


def unseen_by_whom(attachments: Sequence[Attachment], consortium: Consortium, models: Models) -> list[str]:
    """The models that do not get some attachments, one sentence each; empty if all models get all."""
    sentences = []
    for model in [*_members(consortium), consortium.arbiter or ""]:
        entries = models.get(model, ())
        unseen = [one for one in attachments if entries and not takes(entries[0], one.type)]
        if unseen:
            sentences.append(f"{model} does not take {listed(unseen)}.")
    return list(dict.fromkeys(sentences))


def not_counted(attachments: Sequence[Attachment]) -> str | None:
    """The sentence that an estimate leaves attachments out; None without any."""
    if not attachments:
        return None
    what = counted(len(attachments), "attachment")
    return f"The tokens of {what} are not counted: they depend on each provider, and count when it has replied."


def _members(consortium: Consortium) -> Iterable[str]:
    return dict.fromkeys(member.model for member in consortium.members if member.response is None)
