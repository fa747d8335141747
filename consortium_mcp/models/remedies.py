"""Adds the repair to a failed call's message: the key's command, the address, or another model."""

from consortium_mcp.models.catalogue import ModelEntry
from consortium_mcp.models.failures import CLOSED_EARLY, INTERNAL, Failure
from consortium_mcp.models.reaching import proxies
from consortium_mcp.records import ErrorKind

_REMEDIES: dict[ErrorKind, str] = {
    "billing": "Check the account of its key.",
    "rate_limit": "Wait, or raise the limits of the account of its key.",
    "model_unavailable": "Choose another model, or correct its name: the provider lists its models.",
    "server": "Try again later, or choose another model.",
    "context_length": "Shorten the question, or choose a model that reads more.",
}
"""The repairs that are the same for every model."""

_NAMED_ALREADY = ("try again", "api_base", "unset it", "ssl_cert_file", "llm install")
"""The words of messages that say what to do."""


def with_remedy(failure: Failure, entry: ModelEntry) -> Failure:
    """The failure of a call to this model, with the repair at the end of its message, unless it names one."""
    if failure.message == INTERNAL or any(words in failure.message.lower() for words in _NAMED_ALREADY):
        return failure
    remedy = _remedy(failure, entry)
    if remedy is None:
        return failure
    end = "" if failure.message.endswith(("?", "!")) else "."
    return failure.model_copy(update={"message": f"{failure.message.rstrip('.')}{end} {remedy}"})


def _remedy(failure: Failure, entry: ModelEntry) -> str | None:
    if failure.kind == "auth":
        return _of_key(failure, getattr(entry.model, "needs_key", None))
    if failure.message == CLOSED_EARLY:
        return _REMEDIES["server"]
    if failure.kind == "network":
        return _of_address(getattr(entry.model, "api_base", None))
    return _REMEDIES.get(failure.kind)


def _of_key(failure: Failure, name: object) -> str | None:
    """The repair of a rejected key; None for a model without a key of llm's."""
    if not isinstance(name, str):
        return None
    if failure.is_forbidden:
        return f"The account of the key {name} may not do this: change its rights at the provider, or use another key."
    return f"Set the key with `llm keys set {name}`."


def _of_address(address: object) -> str:
    """The repair of a failed connection."""
    if isinstance(address, str) and address:
        remedy = "Start the server, correct the model's api_base, or check the network"
    else:
        remedy = "Check the network"
    return f"{remedy}, and the proxy in {' and '.join(proxies())}." if proxies() else f"{remedy}."
