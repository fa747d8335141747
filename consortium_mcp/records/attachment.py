"""Attachments: the files that a question has beside its text."""

import hashlib
from collections.abc import Iterable
from typing import Self

from pydantic import Field

from consortium_mcp._util.frozen_model import FrozenModel


class Attachment(FrozenModel):
    """One file's metadata; its content is in the store."""

    sha256: str
    """The SHA-256 of the content in hex, the key under which the store keeps it once."""

    type: str
    """The media type, as `image/png`."""

    name: str
    """The file's name without its folder."""

    size: int
    """The length of the content in bytes."""

    def __str__(self) -> str:
        return f"{self.name} ({self.type})"

    @property
    def record(self) -> "Attachment":
        """The same without a content."""
        return Attachment(sha256=self.sha256, type=self.type, name=self.name, size=self.size)


class AttachmentFile(Attachment):
    """An attachment with its content, which the JSON of runs does not contain."""

    content: bytes = Field(repr=False, exclude=True)
    """The bytes of the file."""

    @classmethod
    def of(cls, content: bytes, type: str, name: str = "file") -> Self:
        """The attachment of this content."""
        digest = hashlib.sha256(content).hexdigest()
        return cls(sha256=digest, type=type, name=name, size=len(content), content=content)


def described(attachment: Attachment) -> str:
    """Name, media type and size, as `x.png (image/png, 1,204 bytes)`."""
    return f"{attachment.name} ({attachment.type}, {attachment.size:,} bytes)"


def listed(attachments: Iterable[Attachment]) -> str:
    """Attachments by name and type within a sentence, each once."""
    return ", ".join(dict.fromkeys(map(str, attachments)))
