"""The contents of attachments: each is stored once, by its hash, as long as a run refers to it."""

import json
import sqlite3
from collections.abc import Iterable, Iterator

from consortium_mcp.errors import NotFoundError
from consortium_mcp.records import Attachment, AttachmentFile, Run
from consortium_mcp.store.part import Part, reads


class StoredAttachments(Part):
    """The contents of the files of questions."""

    @reads
    def with_contents(self, run: Run) -> Run:
        """The run with the contents of its own attachments and of those of earlier turns.

        A content that is not stored any more is missing: its attachment stays as it is.
        """
        rows = self.database.read(
            "SELECT sha256, content FROM run_attachments JOIN attachments USING (sha256) WHERE run_id = ?",
            [run.run_id],
        )
        contents: dict[str, bytes] = {row["sha256"]: row["content"] for row in rows}

        def loaded(attachments: Iterable[Attachment]) -> tuple[Attachment, ...]:
            return tuple(
                AttachmentFile(**one.record.model_dump(), content=contents[one.sha256])
                if one.sha256 in contents
                else one
                for one in attachments
            )

        turns = tuple(turn.model_copy(update={"attachments": loaded(turn.attachments)}) for turn in run.history)
        return run.model_copy(update={"attachments": loaded(run.attachments), "history": turns})


def lacks_contents(run: Run) -> bool:
    """Whether the prompt or an earlier turn has files whose contents are not loaded."""
    return not all(isinstance(one, AttachmentFile) for one in attachments_of(run))


def attachments_of(run: Run) -> Iterator[Attachment]:
    """The attachments of the prompt and of earlier turns."""
    yield from run.attachments
    for turn in run.history:
        yield from turn.attachments


def dump_attachments(attachments: Iterable[Attachment]) -> str:
    """The metadata of attachments, as JSON."""
    return json.dumps([one.record.model_dump() for one in attachments], ensure_ascii=False)


def keep_attachments(connection: sqlite3.Connection, run: Run) -> None:
    """Store the contents of a new run's files, once each. Raises NotFoundError if an earlier turn's content is gone."""
    for one in attachments_of(run):
        if isinstance(one, AttachmentFile):
            connection.execute("INSERT OR IGNORE INTO attachments VALUES (?, ?)", [one.sha256, one.content])
        elif not connection.execute("SELECT 1 FROM attachments WHERE sha256 = ?", [one.sha256]).fetchone():
            raise NotFoundError(f"The content of the attachment {one.name!r} is not stored any more. Attach it again.")
        connection.execute("INSERT OR IGNORE INTO run_attachments VALUES (?, ?)", [run.run_id, one.sha256])
