"""The kind of a call's failure: by status, then the provider's codes and words, then the exception's type."""

import logging
import math
import re
import ssl
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp._util.lazy import llm
from consortium_mcp.models.error_kinds import kind_of_status, kind_of_words, kind_said
from consortium_mcp.models.error_words import OWN_FAULT, PYTHON, words_of
from consortium_mcp.models.provider_errors import body_of, parameter_of, said_by, status_of, wait_in, wait_of
from consortium_mcp.models.reaching import proxy_named_in
from consortium_mcp.models.reply_faults import ReplyFault, broken_off
from consortium_mcp.models.reply_reader import is_broken
from consortium_mcp.models.watching import Reader
from consortium_mcp.records import ErrorKind
from consortium_mcp.text.masking import masked

logger = logging.getLogger(__name__)

# Finish reasons of OpenAI, Anthropic, Gemini, Bedrock, Cohere, watsonx and Zhipu with the same two meanings.
_TRUNCATED = frozenset(
    "length max_tokens maxtokens max_output_tokens model_length max_length token_limit error_limit "
    "model_context_window_exceeded repetition_truncation".split()
)
_FILTERED = frozenset(
    "content_filter content_filtered error_toxic guardrail_intervened safety image_safety refusal recitation "
    "blocklist prohibited_content sensitive spii language".split()
)

RETRIED: frozenset[ErrorKind] = frozenset({"rate_limit", "timeout", "network", "server", "broken_off"})
"""Kinds of failures that may pass without a change."""

RETRIED_ONCE: frozenset[ErrorKind] = frozenset({"empty", "invalid_reply"})
"""Kinds of failures that a second attempt often repairs, and a third one seldom."""

_VALIDATION = re.compile(r"validation errors? for")
"""The beginning of a pydantic error, raised if a plugin cannot read a reply."""

_UNTRUSTED = re.compile(r"certificate verify failed: ([^()\[\]]{1,200}?) ?(?:\(_ssl|$)")
"""The reason in Python's error for a certificate; aiohttp and httpx quote it in errors of their own."""

_LONGEST_READ = 10_000
"""The number of characters of a provider's message that are read; far fewer are shown."""

INTERNAL = "An error in consortium-mcp itself; the log on stderr explains it."
"""The whole message for users about an internal error of ours."""

_IN_A_LOOP = "The model's address redirects in a loop. Check its api_base."

CLOSED_EARLY = "Connection error: the provider closed the connection before its reply was complete."
"""The message of a connection that was reached, and lost."""

_NOT_DECOMPRESSED = "The provider's reply is not compressed as its Content-Encoding says."

_OURS = Path(__file__).parents[1]


class Failure(FrozenModel):
    """Why a call failed."""

    kind: ErrorKind
    """The kind of the failure."""

    message: str
    """The message: one sentence, without secrets."""

    retry_after_seconds: float | None = None
    """The wait that the provider asks for, in seconds; None if it states none."""

    said: str = ""
    """The provider's own words, also where they are not shown; empty if it has none."""

    parameter: str | None = None
    """The parameter that the provider's error names as its cause; None if it names none."""

    is_forbidden: bool = False
    """Whether the provider accepts the key, but its account may not do what was asked (403)."""


def classify(error: BaseException, plugin: str = "llm", secrets: Collection[str] = ()) -> Failure:
    """The failure that an exception means.

    Args:
        plugin: the package of the llm plugin that raised it.
        secrets: the credentials of the model's calls, which no message may show.
    """
    chain = list(_chain(error))
    hidden = list(_chain(error, suppressed=True))
    told = next((one for one in chain if isinstance(one, ReplyFault)), None)
    if told is not None:
        chain = [told]
    if any(type(one).__name__ == "TooManyRedirects" for one in chain):
        return Failure(kind="invalid_request", message=_IN_A_LOOP)
    if any(type(one).__name__ in ("ContentEncodingError", "DecodingError") for one in hidden):
        return Failure(kind="invalid_reply", message=_NOT_DECOMPRESSED)
    kinds = [kind for kind in map(_kind, chain) if kind]
    # An unreadable reply may have been an error's body, which has more information.
    kind = next((kind for kind in kinds if kind != "invalid_reply"), kinds[0] if kinds else _unknown(error))
    if any(map(_is_no_http, chain)):
        return Failure(kind="network", message="Connection error.")
    if any(map(_is_unreachable, chain)):  # the OpenAI SDK reports it as a timeout
        kind = "network"
    wait = next((wait for one in hidden if (wait := wait_of(one)) is not None), None)
    if wait is None and isinstance(error, llm.ModelError):
        wait = wait_in(str(error))
    message = masked(" ".join(_sentence(chain, kind, plugin)[:_LONGEST_READ].split()), *secrets)[:500]
    if wait:
        message = f"{message.rstrip('.')}. Try again in {math.ceil(wait)} seconds."
    parameter = next((name for one in chain if (name := parameter_of(one))), None)
    said = masked((next((words for one in chain if (words := words_of(body_of(one)))), "")[:_LONGEST_READ]), *secrets)
    if OWN_FAULT[1:] in message:
        logger.warning("The provider's own program failed: %s", " ".join(said.split())[:500])
    forbidden = any(status_of(one) == 403 for one in chain)
    return Failure(
        kind=kind, message=message, retry_after_seconds=wait, said=said, parameter=parameter, is_forbidden=forbidden
    )


def reply_failure(
    payload: Any,
    finish_reason: str | None,
    text: str,
    reader: Reader | None = None,
    thinking: str = "",
    tool: str | None = None,
) -> Failure | None:
    """The fault of a reply that raised no exception; None if it ended normally.

    Args:
        payload: the provider's response as llm keeps it, or None.
        reader: the reader of the reply; None if a plugin read it.
        thinking: the model's thinking.
        tool: the tool that the model called; None if it called none.
    """
    reason = (finish_reason or "").lower().removeprefix("finish_reason_")
    if reason in _FILTERED:
        return Failure(kind="content_filter", message=f"The provider withheld the reply ({finish_reason}).")
    if reason in _TRUNCATED:
        where = "" if text.strip() or not thinking else " while the model was still thinking"
        return Failure(kind="truncated", message=f"The reply was cut at its length limit{where} ({finish_reason}).")
    if finish_reason and is_broken(finish_reason):
        return Failure(kind="broken_off", message=str(broken_off(len(text), finish_reason)))
    if reader is None and not finish_reason and lacks_its_end(payload):
        return Failure(kind="broken_off", message=str(broken_off(len(text))))
    # llm reads a body that is no event stream as an empty stream, and keeps only this.
    if payload == {"content": ""} and not text and reader is None:
        return Failure(kind="invalid_reply", message="The provider's reply is not in the form of a model's reply.")
    if text.strip():
        return None
    return _why_empty(reader, thinking, tool)


def _why_empty(reader: Reader | None, thinking: str, tool: str | None) -> Failure:
    """The failure of a reply without text, by what it has instead."""
    if reader is not None and reader.refusal:
        refusal = masked(" ".join(reader.refusal[:_LONGEST_READ].split()))[:300]
        return Failure(kind="content_filter", message=f"The model refused to answer: {refusal}")
    tool = reader.tools[0] if reader is not None and reader.tools else tool
    if tool is not None:
        name = " ".join(tool.split())[:60] or "without a name"
        return Failure(kind="invalid_reply", message=f"The model called a tool ({name}) and gave no answer.")
    if thinking:
        return Failure(kind="empty", message="The model thought, and gave no answer.")
    return Failure(kind="empty", message="The model gave an empty reply.")


def find_model(payload: Any) -> str | None:
    """The model that a provider's response names; None if it names none."""
    model = payload.get("model") if isinstance(payload, dict) else None
    return model if isinstance(model, str) else None


def find_finish_reason(value: Any) -> str | None:
    """The finish reason in a provider's response, at any depth; None if there is none."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if _names_an_end(name) and isinstance(inner, str):
                return inner
        return next((found for inner in value.values() if (found := find_finish_reason(inner))), None)
    if isinstance(value, list):
        return next((found for inner in reversed(value) if (found := find_finish_reason(inner))), None)
    return None


def lacks_its_end(payload: Any) -> bool:
    """Whether a plugin's payload has a field for the finish reason with the value None, as in a broken-off reply.

    A chunk from Gemini (`candidates`) has that field only if it is the last one.
    """
    if isinstance(payload, dict):
        here = any(_names_an_end(name) or name == "candidates" for name in payload)
        return here or any(map(lacks_its_end, payload.values()))
    return isinstance(payload, list) and any(map(lacks_its_end, payload))


def _names_an_end(name: str) -> bool:
    return name.lower().replace("_", "") in ("finishreason", "stopreason", "donereason")


def _chain(error: BaseException, suppressed: bool = False) -> Iterator[BaseException]:
    """The exception and its causes.

    Args:
        suppressed: whether to include causes that `raise … from None` hides from a traceback.
    """
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ and not suppressed else seen.__context__)


def _is_no_http(error: BaseException) -> bool:
    """Whether it is aiohttp's error for a reply that is not HTTP, to which aiohttp itself gives the status 400."""
    return any(one.__name__ == "ClientResponseError" for one in type(error).__mro__)


def _is_unreachable(error: BaseException) -> bool:
    """Whether it is aiohttp's error for a failed connection, which the OpenAI SDK reports as a timeout."""
    names = {one.__name__ for one in type(error).__mro__}
    return "ClientConnectionError" in names and not isinstance(error, TimeoutError)


def _kind(error: BaseException) -> ErrorKind | None:
    if isinstance(error, llm.NeedsKeyException):
        return "auth"
    if isinstance(error, ReplyFault) and error.kind:
        return error.kind
    if _is_unreachable(error):
        return "network"
    status, said = status_of(error), words_of(body_of(error)) or ""
    if status is not None:
        return kind_of_status(status, error, said)
    if found := kind_said(error, said):
        return found
    return "server" if isinstance(error, ReplyFault) else _of_type(error)


def _of_type(error: BaseException) -> ErrorKind | None:
    """The kind by the exception's class: our own timeout, and transport errors of httpx, urllib3 and requests."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionError | ssl.SSLError):
        return "network"
    names = {one.__name__ for one in type(error).__mro__}
    if names & {"TimeoutException", "APITimeoutError", "Timeout", "ConnectTimeout", "ReadTimeout"}:
        return "timeout"
    if names & {"TransportError", "APIConnectionError", "ConnectError", "NetworkError", "RemoteProtocolError"}:
        return "network"
    if names & {"JSONDecodeError", "APIResponseValidationError"}:
        return "invalid_reply"
    if isinstance(error, NotImplementedError):
        return "invalid_request"
    if isinstance(error, ImportError):
        return "model_unavailable"
    # A plugin read a field that the reply does not have, as with a proxy's login page.
    if isinstance(error, AttributeError | LookupError | TypeError) and not _is_ours(error):
        return "invalid_reply"
    return None


def _unknown(error: BaseException) -> ErrorKind:
    """The kind of an error that no rule matches: ours, one of our own models', or a plugin's."""
    if isinstance(error, llm.ModelError):
        return "model_unavailable" if _is_raised_here(error) else kind_of_words(str(error))
    return "internal" if _is_ours(error) else "invalid_reply"


def _is_ours(error: BaseException) -> bool:
    """Whether the error comes from the code of this package."""
    return _is_raised_here(error) and not isinstance(error, llm.ModelError)


def _is_raised_here(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(_OURS)


def _sentence(chain: list[BaseException], kind: ErrorKind, plugin: str) -> str:
    """The message: in the provider's words if there are any, never in Python's."""
    error = chain[0]
    if isinstance(error, ReplyFault):
        return str(error)
    if why := next(
        (found[1] for one in _chain(error, suppressed=True) if (found := _UNTRUSTED.search(str(one)))), None
    ):
        return f"Connection error: the server's certificate is not trusted ({why}). SSL_CERT_FILE can name another one."
    if unreachable := next(filter(_is_unreachable, chain), None):
        said = str(unreachable)
        if "<" not in said:  # aiohttp shows the beginning of a reply as a Python object
            sentence = f"Connection error: {_why_unreachable(unreachable) or said}." if said else "Connection error."
            proxy = proxy_named_in(said)
            return f"{sentence} {proxy} names that proxy: correct it, or unset it." if proxy else sentence
        return CLOSED_EARLY
    if type(error).__name__ == "RemoteProtocolError":  # from httpx, not handled by a plugin
        return CLOSED_EARLY
    for one in chain:
        if said := said_by(one):
            return said
    if kind == "internal":
        return INTERNAL
    words = str(error).strip()
    if isinstance(error, AttributeError | LookupError | TypeError) or (
        PYTHON.search(words) or "validation error" in words
    ):
        return f"The plugin {plugin} cannot read the provider's reply. `llm install -U {plugin}` may repair it."
    if isinstance(error, ValueError) and type(error).__name__ == "JSONDecodeError":
        return "The provider's reply is not valid JSON."
    return words or f"The plugin {plugin} failed, and gave no reason."


def _why_unreachable(error: BaseException) -> str | None:
    """The server of a failed connection, and the reason; None if the error does not name them."""
    host, port = getattr(error, "host", None), getattr(error, "port", None)
    cause = getattr(error, "os_error", None)
    names = {one.__name__ for one in type(error).__mro__}
    if not host or not isinstance(cause, OSError) or "ClientSSLError" in names:
        return None
    if "ClientConnectorDNSError" in names:
        return f"the host {host} is not found"
    why = "connection refused" if isinstance(cause, ConnectionRefusedError) else cause.strerror or str(cause)
    return f"cannot connect to {host}:{port} ({why})"
