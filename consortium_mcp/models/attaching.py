"""Decides which of a question's files a model gets, and how the others are described to it."""

from collections.abc import Iterable
from typing import Any

from consortium_mcp._util.lazy import llm
from consortium_mcp.models.catalogue import ModelEntry
from consortium_mcp.records import Attachment, AttachmentFile, CallSpec
from consortium_mcp.records.attachment import listed


def takes(entry: ModelEntry, type: str) -> bool:
    """Whether a model takes files of this media type."""
    return type in entry.attachment_types


def fitted(entry: ModelEntry, spec: CallSpec) -> CallSpec:
    """The question with the files that the model takes, and with a sentence that names the others."""
    files = [*(one for turn in spec.history for one in turn.attachments), *spec.attachments]
    unseen = listed(one for one in files if not _is_shown(entry, one))
    if not unseen:
        return spec
    told = f"{spec.prompt}\n\n[Files of this question that you are not shown: {unseen}.]"
    turns = tuple(
        turn.model_copy(update={"attachments": _shown(entry, turn.attachments)}) if turn.attachments else turn
        for turn in spec.history
    )
    shown = _shown(entry, spec.attachments)
    return spec.model_copy(update={"prompt": told, "history": turns, "attachments": shown, "unseen": unseen})


def as_llm_attachments(attachments: Iterable[Attachment]) -> list[Any]:
    """The files as llm sends them."""
    return [
        llm.Attachment(type=one.type, content=one.content) for one in attachments if isinstance(one, AttachmentFile)
    ]


def _shown(entry: ModelEntry, attachments: Iterable[Attachment]) -> tuple[Attachment, ...]:
    return tuple(one for one in attachments if _is_shown(entry, one))


def _is_shown(entry: ModelEntry, attachment: Attachment) -> bool:
    """Whether a model gets a file; a file whose content is no longer stored goes to no model."""
    return isinstance(attachment, AttachmentFile) and takes(entry, attachment.type)
