"""Attachments as callers write them become files with a content and a media type."""

import base64
import binascii
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from consortium_mcp._util.lazy import llm_utils
from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.records import AttachmentFile
from consortium_mcp.records.request import ConsultRequest
from consortium_mcp.service.attachments.access import FileAccess
from consortium_mcp.service.attachments.paths import read_path, too_large
from consortium_mcp.service.attachments.urls import fetch
from consortium_mcp.text.templates import plain

LONGEST_NAME = 100
"""Characters of a name that are kept, counted from its end."""

_UNKNOWN = ("application/octet-stream", "binary/octet-stream", "text/plain")
"""Types that a server states when it does not know better."""


def with_files_read(request: ConsultRequest, access: FileAccess) -> ConsultRequest:
    """The request with the content of each attachment. Raises InvalidConsortiumError."""
    if not request.attachments:
        return request
    return request.model_copy(update={"attachments": read_attachments(request.attachments, access)})


def read_attachments(written: Sequence[str | AttachmentFile], access: FileAccess) -> tuple[AttachmentFile, ...]:
    """The attachments with their contents, in their order.

    Raises:
        InvalidConsortiumError: one cannot or may not be read, its type is unknown, or all together are too large.
    """
    left = access.most_bytes
    files: list[AttachmentFile] = []
    for one in written:
        read = one if isinstance(one, AttachmentFile) else read_attachment(one, access, left, place=len(files) + 1)
        left -= read.size
        if left < 0:
            raise too_large(read.name, access)
        files.append(read)
    return tuple(files)


def read_attachment(
    written: str, access: FileAccess, left: int | None = None, *, type: str | None = None, place: int = 1
) -> AttachmentFile:
    """One attachment with its content.

    Args:
        written: a path, a file: URI, an http(s) URL or a data: URI.
        left: how many bytes may still be read; None means as many as the access allows.
        type: the media type; None finds it out.
        place: the number of the attachment in its question, from 1, which names one without a name.

    Raises:
        InvalidConsortiumError: it cannot or may not be read, is empty, or its type is unknown.
    """
    left = access.most_bytes if left is None else left
    stated: str | None = None
    scheme = written.partition(":")[0].lower()
    if scheme == "data":
        content, stated = _of_data_uri(written)
        name = ""
        if len(content) > left:
            raise too_large("data: URI", access)
    elif scheme in ("http", "https"):
        content, name, stated = fetch(written, access, left)
    else:
        content, name = read_path(_path_in(written), access, left)
    return file_of(content, name, type=type, stated=stated, place=place)


def file_of(
    content: bytes, name: str = "", *, type: str | None = None, stated: str | None = None, place: int = 1
) -> AttachmentFile:
    """An attachment of this content.

    Args:
        name: as its path or URL has it; empty where it has none.
        type: the media type, as a person gives it; None finds it out.
        stated: the media type that a server or a data: URI states; None where there is none.

    Raises:
        InvalidConsortiumError: the content is empty, or the type is unknown.
    """
    shown = " ".join(plain(unquote(name)).split())[-LONGEST_NAME:]
    if not content:
        raise InvalidConsortiumError(f"The attachment {shown or place!r} is empty. Leave it out.")
    found = type or _type_of(content, shown, stated)
    if found is None:
        raise InvalidConsortiumError(
            f"The type of the attachment {shown or place!r} is unknown. Give it, as in data:image/png;base64,…"
        )
    found = found.lower()
    return AttachmentFile.of(content, found, shown or f"attachment-{place}{mimetypes.guess_extension(found) or ''}")


def _type_of(content: bytes, name: str, stated: str | None) -> str | None:
    """The media type: as stated, else by the content, else by the name; None if it is unknown."""
    if stated and stated not in _UNKNOWN:
        return stated
    by_name = mimetypes.guess_type(name)[0]
    if _is_text(content):  # the first bytes of a text are no evidence
        return by_name or "text/plain"
    return llm_utils.mimetype_from_string(content) or by_name


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode("utf-8") and not content.startswith(b"%PDF-")
    except UnicodeDecodeError:
        return False


def _of_data_uri(written: str) -> tuple[bytes, str]:
    """The content and the media type of a data: URI. Raises InvalidConsortiumError."""
    head, comma, data = written[len("data:") :].partition(",")
    kind, *parameters = (part.strip() for part in head.split(";"))
    if not comma:
        raise InvalidConsortiumError("An attachment is no data: URI. Write it as data:image/png;base64,…")
    if "base64" not in [one.lower() for one in parameters]:
        return unquote_to_bytes(data), kind or "text/plain"
    try:
        return base64.b64decode("".join(unquote(data).split()), validate=True), kind or "text/plain"
    except (binascii.Error, ValueError) as error:
        raise InvalidConsortiumError(
            f"The data of an attachment of type {kind[:80]!r} is no base64. Encode the file again."
        ) from error


def is_path(written: str | AttachmentFile) -> bool:
    """Whether an attachment is written as a path or a file: URI."""
    return isinstance(written, str) and written.partition(":")[0].lower() not in ("data", "http", "https")


def folder_of(uri: str) -> Path:
    """The folder that a client names as a root; a URI of another kind is no folder that can be read."""
    return Path(_path_in(uri))


def _path_in(written: str) -> str:
    """The path in a file: URI; any other text is a path."""
    if not written.lower().startswith("file:"):
        return written
    parts = urlsplit(written)
    if parts.netloc not in ("", "localhost"):
        raise InvalidConsortiumError(f"The attachment {written[:200]!r} is on another machine. Give it as a data: URI.")
    return url2pathname(parts.path)
