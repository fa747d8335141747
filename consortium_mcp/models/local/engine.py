"""Runs llama.cpp in this process: loads a GGUF file at the first prompt, and writes replies in parallel slots.

Knows neither llm nor where the file came from.
"""

import atexit
import json
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from consortium_mcp.models.local.errors import LocalModelError
from consortium_mcp.models.local.weights import weights_status

SLOTS = 4
"""The number of replies that are written at once; further ones wait."""

SLOT_TOKENS = 4096
"""The tokens of prompt and reply together. Four such slots of the default model take 500 MB; twice as long, 900."""

_BATCH_TOKENS = 256  # the tokens between two checks of the stop flag: two seconds on one old core
_STRING_LENGTH = 300
_ARRAY_LENGTH = 3
_MAX_THREADS = 8  # further ones would only use memory

# llama.cpp's own repetition penalty also punishes the words of the question ("capital", "France"); DRY punishes only
# the repetition of whole sequences, which is how a small model gets stuck.
AGAINST_LOOPS: dict[str, JsonValue] = {"dry_multiplier": 0.8, "dry_allowed_length": 6, "dry_penalty_last_n": 128}
"""Sent with every request."""

# LLGuidance builds the grammar: no free white space, in which small models get lost; skip unsupported keywords.
_GRAMMAR_STYLE: dict[str, JsonValue] = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": True,
}


@dataclass(frozen=True)
class Finished:
    """The end of a reply."""

    finish_reason: str | None
    """`stop`; `length` if the reply, or a text in its JSON, was cut at a limit; None if unknown."""

    input_tokens: int | None
    """Tokens of the prompt; None if llama.cpp does not say."""

    output_tokens: int | None
    """Tokens of the reply; None if llama.cpp does not say."""


Event = str | Finished | Exception
"""An event of a reply: a piece of text, its end, or its failure."""


def local_model_problem(weights: Path | None = None) -> str | None:
    """Why the embedded model cannot be used now, and what to do; None if it can. Loads nothing.

    Args:
        weights: a GGUF file; None means the fetched weights.
    """
    if find_spec("xllamacpp") is None:
        return "The local model needs llama.cpp: `pip install 'consortium-mcp[local]'` installs it."
    return weights_status(weights).problem


class Reply:
    """A reply that a worker thread writes, delivered event by event."""

    def __init__(
        self,
        weights: Path | None,
        request: dict[str, JsonValue],
        schema: dict[str, Any] | None,
        deliver: Callable[[Event], None],
    ) -> None:
        self.weights = weights
        self.request = request
        self.schema = schema
        self._deliver = deliver
        self._stopped = threading.Event()
        self._ended = False
        self._text = ""
        self._finish_reason: str | None = None
        _workers.add(self)

    def stop(self) -> None:
        """Stop delivering; writing stops when all replies of the same group are stopped.

        Safe at any time.
        """
        self._stopped.set()

    @property
    def is_shareable(self) -> bool:
        """Whether other replies may be written together with it; llama.cpp gives each its own seed."""
        return "seed" not in self.request

    @property
    def question(self) -> object:
        """A key that is equal for replies that can be written together."""
        return json.dumps([str(self.weights), self.request, self.schema]) if self.is_shareable else self

    @property
    def is_over(self) -> bool:
        """Whether no caller waits any longer; at exit, the interpreter waits for the worker that checks this."""
        return self._stopped.is_set() or not threading.main_thread().is_alive()

    def receive(self, choice: dict[str, Any]) -> None:
        """Take a piece of it from llama.cpp."""
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        if text := choice.get("delta", {}).get("content"):
            self._text += text
            self._hand_on(text)

    def finish(self, usage: dict[str, int]) -> None:
        """Take llama.cpp's figures after the last piece."""
        if self.schema is not None and self._finish_reason == "stop" and not _is_json(self._text):
            self.end(LocalModelError("The local model does not support this JSON schema. Ask with a simpler schema."))
            return
        self.end(
            Finished(
                finish_reason="length"
                if self.schema is not None and holds_cut_text(self._text)
                else self._finish_reason,
                input_tokens=usage.get("prompt_tokens"),
                output_tokens=usage.get("completion_tokens"),
            )
        )

    def end(self, event: Finished | Exception) -> None:
        """Deliver its end, unless it has already ended."""
        if not self._ended:
            self._ended = True
            self._hand_on(event)

    def _hand_on(self, event: Event) -> None:
        if not self._stopped.is_set():
            try:
                self._deliver(event)
            except RuntimeError:  # the event loop of the caller has closed
                self.stop()


class _Writing:
    """Replies to the same request, written in parallel after one reading of the prompt.

    llama.cpp reads a prompt again for each request; only the completions of one request share the reading. So the
    worker of the first reply reads the prompt. Then it writes its reply together with those that have arrived
    meanwhile, one slot for each, while their workers wait.
    """

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.ended = threading.Semaphore(0)
        """Gets one permit for each written reply, which frees its slot."""

        self._written: list[Reply] = []
        self._at_work: Reply | None = None
        self._error: dict[str, Any] | None = None

    def write(self, close: Callable[[], None]) -> None:
        """Write and deliver all replies; called by the first reply's worker. Raises nothing.

        Args:
            close: called when no further reply can join.
        """
        end: Exception = LocalModelError("The local model stopped, because the program is ending.")
        try:
            try:
                if self.replies[0].is_shareable:
                    self._read()
            finally:
                close()
            self._write()
            if self._error is not None:
                end = _failure(self._error)
        except Exception as error:  # the edge of the thread: the waiting caller gets the exception
            end = error
        for reply in self.replies:
            reply.end(end)
            self.ended.release()

    def _read(self) -> None:
        """Read the prompt into a slot, where the following request finds it."""
        self._ask({"messages": self.replies[0].request["messages"], "max_tokens": 0}, self._is_over)

    def _write(self) -> None:
        first = self.replies[0]
        self._written = [reply for reply in self.replies if not reply.is_over]
        request = first.request | AGAINST_LOOPS | {"n": len(self._written), "stream_options": {"include_usage": True}}
        if first.schema is not None:
            request["grammar"] = _grammar(first.schema)
        self._ask(request, self._receive)

    def _ask(self, request: dict[str, JsonValue], receive: Callable[[dict[str, Any]], bool]) -> None:
        if self._is_over():
            return
        server = _loaded_server(self.replies[0].weights)
        try:
            # With progress reports, a chunk arrives after each batch of a long prompt, and the stop flags are checked.
            server.handle_chat_completions(request | {"stream": True, "return_progress": True}, receive)
        except (RuntimeError, ValueError) as error:
            raise LocalModelError(f"The local model could not answer: {error}") from error

    def _receive(self, chunk: dict[str, Any]) -> bool:
        """Take one chunk from llama.cpp; returns True to stop it."""
        self._error = chunk.get("error", self._error)
        for choice in chunk.get("choices", ()):
            self._at_work = self._written[choice["index"]]
            self._at_work.receive(choice)
        if self._at_work is not None and (usage := chunk.get("usage")):  # right after the reply's last piece
            self._at_work.finish(usage)
            self.ended.release()
        return self._is_over()

    def _is_over(self, _: object = None) -> bool:
        return all(reply.is_over for reply in self.replies)


class _Workers:
    """At most SLOTS threads, each alive while there is something to write.

    They are no daemons, even if a daemon thread starts them: a thread that returns from C++ during the interpreter's
    shutdown aborts the process. A ThreadPoolExecutor does not fit: at exit it would finish every reply, even if no
    caller waits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Reply] = deque()
        self._open: dict[object, _Writing] = {}
        self._count = 0

    def add(self, reply: Reply) -> None:
        with self._lock:
            self._waiting.append(reply)
            if self._count < SLOTS:
                threading.Thread(target=self._work, name="consortium-local", daemon=False).start()
                self._count += 1

    def _work(self) -> None:
        while reply := self._next():
            writing = self._join(reply)
            if writing.replies[0] is reply:
                writing.write(partial(self._close, reply))
            else:
                writing.ended.acquire()

    def _next(self) -> Reply | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._count -= 1
            return None

    def _join(self, reply: Reply) -> _Writing:
        with self._lock:
            writing = self._open.setdefault(reply.question, _Writing())
            writing.replies.append(reply)
            return writing

    def _close(self, first: Reply) -> None:
        with self._lock:
            del self._open[first.question]


_workers = _Workers()
_loading = threading.Lock()
_servers: dict[Path, Any] = {}


def _loaded_server(weights: Path | None) -> Any:
    """The one server of this process for this file, loaded at the first call."""
    path = weights_status(weights).path
    with _loading:
        if path not in _servers:
            if problem := local_model_problem(weights):
                raise LocalModelError(problem)
            if not _servers:
                atexit.register(_servers.clear)  # llama.cpp's threads must end before the interpreter's shutdown
            _servers[path] = _load(path)
        return _servers[path]


def _load(path: Path) -> Any:
    import xllamacpp  # an import here is allowed: an optional extra of 100 MB that most processes never need

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * SLOT_TOKENS
    params.n_batch = params.n_ubatch = _BATCH_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = idle_cores()
    params.cache_ram_mib = 0  # else up to 8 GB of old prompts
    params.fit_params = False  # else it may change the context without notice
    params.force_pure_content_parser = True  # else an unexpected form of reply raises
    params.verbosity = -1  # no log; errors arrive as exceptions
    _close_the_door(params)
    try:
        return xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        raise LocalModelError(
            f"llama.cpp could not load {path}: {error} `consortium-mcp local-model fetch` checks the default weights. "
            "Another GGUF file must be supported by this version of xllamacpp."
        ) from error


def _close_the_door(params: Any) -> None:
    """Make the server's loopback port, which it always opens, useless: a secret key, one thread, no pages."""
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [os.urandom(16).hex()]
    params.n_threads_http = 1
    params.ui = params.endpoint_slots = params.endpoint_props = False


def idle_cores() -> int:
    """All cores of this process but one; one thread too many makes llama.cpp a hundred times slower."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no container, or no limit
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, int(quota) // int(period))
    return max(1, min(cores - 1, _MAX_THREADS))


def _grammar(schema: dict[str, Any]) -> str:
    import xllamacpp  # allowed as above

    styled = _kept_short(schema) | {"x-guidance": _GRAMMAR_STYLE}
    return str(xllamacpp.json_schema_to_grammar(styled))


def _kept_short(schema: Any) -> Any:
    """The schema with default bounds, so that a small model completes its JSON before its tokens run out."""
    if isinstance(schema, list):
        return [_kept_short(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    defaults: dict[str, Any] = {}
    if "required" in schema and isinstance(schema.get("properties"), dict):
        required = {name: field for name, field in schema["properties"].items() if name in schema["required"]}
        schema = {**schema, "properties": required}
    if schema.get("type") == "number":
        defaults = {"multipleOf": 0.01}
    if schema.get("type") == "object" and "properties" in schema:
        defaults = {"additionalProperties": False}
    if schema.get("type") == "string" and "enum" not in schema:
        defaults = {"maxLength": _STRING_LENGTH}
    if schema.get("type") == "array":
        defaults = {"maxItems": _ARRAY_LENGTH}
    return defaults | {name: _kept_short(value) for name, value in schema.items()}


def holds_cut_text(text: str) -> bool:
    """Whether the model's JSON has a text that was cut at our limit for texts."""
    try:
        values = [json.loads(text)]
    except ValueError:
        return False
    for value in values:  # which grows by its content
        if isinstance(value, dict | list):
            values += value.values() if isinstance(value, dict) else value
    return any(isinstance(value, str) and len(value) == _STRING_LENGTH for value in values)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _failure(error: dict[str, Any]) -> LocalModelError:
    if error.get("type") != "exceed_context_size_error":
        return LocalModelError(f"The local model could not answer: {error.get('message')}")
    return LocalModelError(
        f"The prompt has {error.get('n_prompt_tokens')} tokens; the local model takes at most {error.get('n_ctx')}. "
        "Shorten it, or ask another model.",
        code="context_length_exceeded",
    )
