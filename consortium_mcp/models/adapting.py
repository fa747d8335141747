"""Remembers what a provider rejects in requests, and omits or renames it for the rest of this process's life."""

import json
import logging
import re
import threading
from typing import Any

from consortium_mcp.models.catalogue import ModelEntry
from consortium_mcp.models.failures import Failure
from consortium_mcp.models.watching import watching
from consortium_mcp.records import CallSpec

logger = logging.getLogger(__name__)

_REJECTED = re.compile(
    r"unsupported|not (be )?(support|allow|permit|enabl|recogni|available)|does ?n.t support|unrecogni|unknown|"
    r"unexpected|invalid|extra inputs|unavailable|cannot|enabled only|should be|must (be false|alternate)|"
    r"extra_forbidden|deprecated|must be verified|only the default|use '?max_completion",
    re.IGNORECASE,
)
"""The words of a rejection, one of which stands near the name of the rejected parameter."""

_IS_OF_THE_REQUEST = re.compile(
    r"unsupported|not (be )?(support|recogni)|does ?n.t support|unrecogni|unexpected keyword|extra inputs|"
    r"extra_forbidden|unknown (parameter|argument|field|option)",
    re.IGNORECASE,
)
"""The words of a rejection that a provider reports as a fault of its server."""

SYSTEM, SCHEMA, STREAM, USAGE, LONG_NAME = "system", "schema", "stream", "stream_options", "max_completion_tokens"
"""What can be rejected besides llm's options; LONG_NAME is the new name of `max_tokens`."""

_NAMED = {
    USAGE: re.compile(r"stream_options|include_usage", re.IGNORECASE),
    LONG_NAME: re.compile(r"max_completion_tokens", re.IGNORECASE),
    SYSTEM: re.compile(r"system (role|prompt|message|instruction)|developer (instruction|role)|role.{0,3}system|"
                       r"['\"`]system['\"`]|roles must alternate", re.IGNORECASE),
    SCHEMA: re.compile(r"response.?format|json.?schema|response.?schema|structured output|json mode", re.IGNORECASE),
    STREAM: re.compile(r"\bto stream\b|\bstream(ing)?\b.{0,30}(\bnot\b|\bun|must be)|(support|for) streaming|'stream'",
                       re.IGNORECASE),
}  # fmt: skip

_SAID = {
    USAGE: "stream_options is left out, so its tokens may stay unknown",
    LONG_NAME: "max_tokens is sent as max_completion_tokens",
    SYSTEM: "the system prompt is put in front of the prompt",
    SCHEMA: "the schema is put into the prompt",
    STREAM: "its replies are not streamed",
}

_learned: dict[tuple[str, str], tuple[str, ...]] = {}
_learning = threading.Lock()


def adaptations_of(entry: ModelEntry) -> tuple[str, ...]:
    """The names of the parameters that the model's provider has rejected."""
    return _learned.get(_key(entry), ())


def learn(entry: ModelEntry, spec: CallSpec, failure: Failure) -> None:
    """Remember the rejected part of a request, if the provider names a part that was sent.

    If the error names no part and a schema was sent, the schema counts as rejected: providers use any words for that.
    """
    is_certain = failure.kind != "server" or _IS_OF_THE_REQUEST.search(failure.said or failure.message)
    name = _rejected_in(f"{failure.message} {failure.said} {failure.parameter or ''}", spec) if is_certain else None
    if name is None and spec.output_schema is not None and _may_be_the_schema(failure):
        name = SCHEMA
    if name is None:
        return
    with _learning:
        if name in adaptations_of(entry):
            return
        _learned[_key(entry)] = (*adaptations_of(entry), name)
    logger.warning("%s: its provider rejects a part of the request; %s.", entry.model_id, _said(name))


def adapted(entry: ModelEntry, spec: CallSpec) -> CallSpec:
    """The question without the parts that the model's provider rejects."""
    known = adaptations_of(entry)
    if not known:
        return spec
    changes: dict[str, Any] = {"options": {name: value for name, value in spec.options.items() if name not in known}}
    prompt = spec.prompt
    if SYSTEM in known and spec.system:
        prompt, changes["system"] = f"{spec.system}\n\n{prompt}", None
    if SCHEMA in known and spec.output_schema is not None:
        schema = json.dumps(spec.output_schema, ensure_ascii=False)
        prompt += f"\n\nReply with one JSON object that follows this schema, and with nothing else:\n{schema}"
        changes["output_schema"] = None
    return spec.model_copy(update={**changes, "prompt": prompt})


def note_of(entry: ModelEntry, spec: CallSpec) -> str | None:
    """What the answer lacks because the provider rejects a part of the request, in one sentence; None if nothing."""
    left_out = [name for name in adaptations_of(entry) if name in spec.options]
    if not left_out:
        return None
    remedies = "".join(f" {entry.default_remedy(name)}" for name in left_out if _is_default(entry, spec, name))
    return f"Asked without {' and '.join(left_out)}, which its provider rejects.{remedies}"


def _is_default(entry: ModelEntry, spec: CallSpec, name: str) -> bool:
    """Whether an option of a call is the default that the user has set in llm."""
    return name in entry.default_options and entry.options_for({}).get(name) == spec.options[name]


def adapted_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a chat completion, in the form that the provider of the current call accepts."""
    watch = watching.get()
    known = watch.adaptations if watch else ()
    if USAGE in known:
        parameters.pop("stream_options", None)
    if LONG_NAME in known and "max_tokens" in parameters:
        parameters[LONG_NAME] = parameters.pop("max_tokens")
    return parameters


def _rejected_in(sentence: str, spec: CallSpec) -> str | None:
    if not _REJECTED.search(sentence):
        return None
    sent = {SYSTEM: bool(spec.system), SCHEMA: spec.output_schema is not None, LONG_NAME: "max_tokens" in spec.options}
    for name, named in _NAMED.items():
        if sent.get(name, True) and named.search(sentence):
            return name
    return next((name for name in spec.options if _spelling(name).search(sentence)), None)


def _spelling(option: str) -> re.Pattern[str]:
    """A pattern of an option's name in its usual spellings: `top_p`, `topP`, `Top P`, `top.p`."""
    return re.compile(rf"\b{re.escape(option).replace('_', '[_ .]?')}\b", re.IGNORECASE)


def _may_be_the_schema(failure: Failure) -> bool:
    return failure.kind == "invalid_request" or "requested parameters" in failure.message


def _said(name: str) -> str:
    return _SAID.get(name, f"{name} is left out")


def _key(entry: ModelEntry) -> tuple[str, str]:
    model = entry.async_model or entry.sync_model  # the calling client's model has neither
    return entry.model_id, str(getattr(model, "api_base", None))
