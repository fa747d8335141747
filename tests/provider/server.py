"""The Provider: its connections, its gates, and the counts of requests by result."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import anyio
import anyio.to_thread

from . import completions, http1
from .answers import Answer, Fault, Reply, Request, Script, to_json

API_KEY_NAME = "tests-provider"
API_KEY = "key-of-the-tests"


class Gate:
    """Holds the requests to some models until it is opened; made by `Provider.gate`."""

    def __init__(self, provider: Provider, models: tuple[str, ...]) -> None:
        self._provider = provider
        self._models = models
        self._opened = asyncio.Event()
        self._waiting: list[Request] = []

    @property
    def waiting(self) -> list[Request]:
        """The requests that wait at the gate now, in order of arrival."""
        with self._provider._changed:
            return list(self._waiting)

    def open(self) -> None:
        """Let all waiting and future requests pass."""
        self._provider._call_soon(self._opened.set)

    def wait_for(self, n: int, timeout: float = 30) -> None:
        """Return when at least n requests wait at once."""
        try:
            self._provider.wait_until(lambda: len(self._waiting) >= n, timeout)
        except TimeoutError:
            raise TimeoutError(f"{len(self._waiting)} of {n} requests reached the gate in {timeout} s") from None

    async def wait_for_async(self, n: int) -> None:
        """`wait_for` for a test that runs in an event loop."""
        await _in_thread(self.wait_for, n)

    async def _pass(self, request: Request) -> None:
        if self._opened.is_set() or (self._models and request.model not in self._models):
            return
        with self._provider._changed:
            self._waiting.append(request)
            self._provider._changed.notify_all()
        try:
            await self._opened.wait()
        finally:
            with self._provider._changed:
                self._waiting.remove(request)
                self._provider._changed.notify_all()


class Provider:
    """An OpenAI-compatible endpoint on a free loopback port, in its own thread, inside a `with`.

    An exception in a script is answered with 500 and raised again when the `with` ends; so is an unreadable call.

    Args:
        keep_alive: False ends each connection with its answer. llm never closes the client that it makes for a call, so
            a kept connection stays open until the garbage collector finds it, with a ResourceWarning.
    """

    def __init__(self, *, keep_alive: bool = False) -> None:
        self._keep_alive = keep_alive
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._url = _base_url(self._listener)
        self._closed_port = socket.socket()
        self._closed_port.bind(("127.0.0.1", 0))  # bound, never listening: the port stays reserved
        self._refusing_url = _base_url(self._closed_port)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="tests-provider", daemon=True)
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

        self._changed = threading.Condition()  # guards all following fields; notified at each change
        self._scripts: dict[str, _Played] = {}
        self._gates: list[Gate] = []
        self._requests: list[Request] = []
        self._model_numbers: Counter[str] = Counter()
        self._answered: list[Request] = []
        self._open: set[int] = set()
        self._peak = 0
        self._disconnects = self._connected = 0
        self._errors: list[Exception] = []

    def __enter__(self) -> Provider:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, _: TracebackType | None) -> None:
        self._call_soon(self._stop.set)
        self._thread.join()
        self._closed_port.close()
        if self._errors and raised is None:
            raise self._errors[0]

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return self._url

    def closed_port(self) -> str:
        """A base URL where every connection is refused, while the provider lives."""
        return self._refusing_url

    def write_llm_config(
        self,
        folder: Path,
        models: Iterable[str],
        *,
        schema: Iterable[str] = (),
        refused: Iterable[str] = (),
        vision: Iterable[str] = (),
        can_stream: bool = True,
    ) -> Path:
        """Make the folder an LLM_USER_PATH with our models, and return it.

            Args:
                        schema: the models that support schemas; they need not be in `models` too.
                vision: the models that take pictures and PDFs; they need not be in `models` too.
        refused: the models behind the closed port; they need not be in `models` too.
        """
        with_schema, behind_closed_port, seeing = set(schema), set(refused), set(vision)
        lines = [
            {
                "model_id": model,
                "model_name": model,
                "api_base": self.closed_port() if model in behind_closed_port else self.url,
                "api_key_name": API_KEY_NAME,
                "can_stream": can_stream,
                "supports_schema": model in with_schema,
                "vision": model in seeing,
            }
            for model in dict.fromkeys([*models, *schema, *refused, *vision])
        ]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "extra-openai-models.yaml").write_text(json.dumps(lines, indent=2))  # JSON is YAML
        (folder / "keys.json").write_text(json.dumps({API_KEY_NAME: API_KEY}))
        return folder

    def on(self, model: str, script: Script) -> None:
        """Set the script of a model from now on.

        Args:
            script: one answer for every call; a list, one for each call, the last repeating; or a function of the
                request, called in the provider's thread after all gates (it must not block).
        """
        with self._changed:
            self._scripts[model] = _Played(script)

    def gate(self, *models: str) -> Gate:
        """A closed gate before these models; before all if none is named."""
        gate = Gate(self, models)
        with self._changed:
            self._gates.append(gate)
        return gate

    @property
    def requests(self) -> list[Request]:
        """All requests so far, in order of arrival."""
        return self.requests_to()

    def requests_to(self, model: str | None = None) -> list[Request]:
        """The requests to one model so far, in order of arrival."""
        with self._changed:
            return [request for request in self._requests if model in (None, request.model)]

    def answered(self, model: str | None = None) -> list[Request]:
        """The requests with a complete answer, billable in the real world, in order of their last byte.

        Error statuses, garbage, resets and hangs are not among them; empty and truncated answers are. When a client has
        read its answer, it is counted.
        """
        with self._changed:
            return [request for request in self._answered if model in (None, request.model)]

    def count(self, model: str | None = None) -> int:
        """The number of requests, whatever their result."""
        return len(self.requests_to(model))

    def finished(self, model: str | None = None) -> int:
        """The number of requests with a complete answer; see `answered`."""
        return len(self.answered(model))

    @property
    def in_flight(self) -> int:
        """The number of requests that are neither answered nor given up."""
        with self._changed:
            return len(self._open)

    @property
    def peak_in_flight(self) -> int:
        """The largest number of simultaneous requests."""
        with self._changed:
            return self._peak

    @property
    def connections(self) -> int:
        """The number of connections that clients opened."""
        with self._changed:
            return self._connected

    @property
    def disconnects(self) -> int:
        """The number of requests that the client gave up before their answer was complete."""
        with self._changed:
            return self._disconnects

    def wait_until(self, condition: Callable[[], bool], timeout: float = 30) -> None:
        """Return when a condition on this provider holds, e.g. `lambda: provider.disconnects == 1`."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError(f"the condition did not hold within {timeout} s")

    async def wait_until_async(self, condition: Callable[[], bool]) -> None:
        """`wait_until` for a test that runs in an event loop."""
        await _in_thread(self.wait_until, condition)

    # The life of the server, its connections and its requests, all in the provider's thread.

    def _call_soon(self, callback: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve_connection, sock=self._listener)
        self._started.set()
        await self._stop.wait()
        server.close()
        for writer in self._connections.values():
            writer.transport.abort()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        with self._changed:
            self._connected += 1
        http1.send_at_once(writer)
        try:
            first_byte = b""
            while call := await http1.read_call(reader, first_byte):
                first_byte = await self._respond(call, reader, writer)
                if not self._keep_alive:
                    break
        except Exception as error:  # any exception is reported to the test that caused it
            self._errors.append(error)
        finally:
            del self._connections[task]
            writer.close()

    async def _respond(self, call: http1.Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Answer one call, unless the client leaves first; returns the bytes that were read of the next call."""
        if (call.method, call.path) == ("GET", "/v1/models"):
            writer.write(http1.whole(200, "application/json", self._models_list(), [self._connection_header]))
            return b""
        if (call.method, call.path) != ("POST", "/v1/chat/completions"):
            error = to_json({"error": {"message": f"Invalid URL ({call.method} {call.path})", "code": "unknown_url"}})
            writer.write(http1.whole(404, "application/json", error, [self._connection_header]))
            return b""
        request = self._arrive(call)
        answering = asyncio.create_task(self._answer(request, writer))
        leaving = asyncio.create_task(http1.next_byte(reader))
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if leaving.done() and not leaving.result():
            self._leave(request, disconnected=not self._stop.is_set())
            answering.cancel()
        await asyncio.wait([answering])
        leaving.cancel()
        await asyncio.wait([leaving])
        self._leave(request)
        if not answering.cancelled():
            answering.result()
        return b"" if leaving.cancelled() else leaving.result()

    def _arrive(self, call: http1.Call) -> Request:
        with self._changed:
            request = completions.read_request(call, len(self._requests) + 1, self._model_numbers)
            self._requests.append(request)
            self._open.add(request.number)
            self._peak = max(self._peak, len(self._open))
            self._changed.notify_all()
        return request

    def _leave(self, request: Request, *, answered: bool = False, disconnected: bool = False) -> None:
        """Count the result of a request; the first result counts."""
        with self._changed:
            if request.number in self._open:
                self._open.remove(request.number)
                if answered:
                    self._answered.append(request)
                self._disconnects += disconnected
                self._changed.notify_all()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        for gate in list(self._gates):
            await gate._pass(request)
        answer = self._play(request)
        fault = answer if isinstance(answer, Fault) else Fault("none", answer)
        fault = replace(fault, headers=(*fault.headers, self._connection_header))
        pieces = completions.pieces(request, fault)
        if fault.ending == "whole":
            await self._send(request, pieces, fault, writer)
            return
        # A hang or reset after n chunks keeps at least the last piece back, so that the answer never becomes complete.
        writer.writelines(pieces[: min(fault.after_chunks + 1, len(pieces) - 1)] if fault.after_chunks else [])
        if fault.ending == "reset":
            self._leave(request)
            http1.reset(writer)
        else:
            await asyncio.get_running_loop().create_future()

    async def _send(self, request: Request, pieces: list[bytes], fault: Fault, writer: asyncio.StreamWriter) -> None:
        if fault.seconds_per_byte:
            pieces = [bytes([byte]) for piece in pieces for byte in piece]
        for number, piece in enumerate(pieces, 1):
            if fault.seconds_per_byte:
                await asyncio.sleep(fault.seconds_per_byte)
            if number == len(pieces):
                self._leave(request, answered=fault.body is None)
            writer.write(piece)
            with suppress(ConnectionError):  # the client has left, which the watching code reports
                await writer.drain()

    def _play(self, request: Request) -> Reply | Fault:
        with self._changed:
            script = self._scripts.setdefault(request.model, _Played(f"answer of {request.model}"))
            try:
                answer = script.next(request)
            except Exception as error:  # a test's code may raise anything, which is reported to the test
                self._errors.append(error)
                answer = Fault.refused("script", 500, None, f"the script of {request.model} raised {error!r}")
        return Reply(answer) if isinstance(answer, str) else answer

    @property
    def _connection_header(self) -> tuple[str, str]:
        return "connection", "keep-alive" if self._keep_alive else "close"

    def _models_list(self) -> bytes:
        with self._changed:
            data = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self._scripts]
        return to_json({"object": "list", "data": data})


@dataclass
class _Played:
    """A model's script and the position in it."""

    script: Script
    calls: int = 0

    def next(self, request: Request) -> Answer:
        self.calls += 1
        if isinstance(self.script, (str, Reply, Fault)):
            return self.script
        if isinstance(self.script, Sequence):
            return self.script[min(self.calls, len(self.script)) - 1]
        return self.script(request)


def _base_url(bound: socket.socket) -> str:
    return f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


async def _in_thread(wait: Callable[..., None], *arguments: object) -> None:
    # With a limiter of its own, because the tested code may use all threads of the default one.
    await anyio.to_thread.run_sync(wait, *arguments, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
