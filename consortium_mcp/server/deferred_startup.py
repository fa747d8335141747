"""Starts the rest of a stdio server after its first answers: all imports and parts that these did not need.

That takes longer than the first answers themselves; a request that needs the rest waits for it.
"""

import gc
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from consortium_mcp._util.lazy import LazyModule
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.server.base.mcp_server import failed_call
from consortium_mcp.server.handshake import Front
from consortium_mcp.settings import Settings

if TYPE_CHECKING:
    import consortium_mcp.server.app as app
    import consortium_mcp.server.resources.changes as changes
    import consortium_mcp.service.runner as runners
    import consortium_mcp.service.service as service
else:
    app = LazyModule("consortium_mcp.server.app")
    changes = LazyModule("consortium_mcp.server.resources.changes")
    service = LazyModule("consortium_mcp.service.service")
    runners = LazyModule("consortium_mcp.service.runner")

HELLO_SECONDS = 1.0
"""The longest wait for a request for tools after the handshake; then the rest starts, to announce changes."""

AT_ONCE = {"initialize", "server/discover", "ping", "logging/setLevel", "tools/list", "subscriptions/listen"}
"""The methods that are answered without the rest; a notification, which has no answer, does not wait either."""

PAUSE_SECONDS = 0.05
"""The pause of the work while the list of tools is written: two busy Python threads slow each other down."""


def needs_the_rest(method: str) -> bool:
    """Whether a request has to wait for the parts behind the front."""
    return method not in AT_ONCE and not method.startswith("notifications/")


class _Attempt:
    """One attempt to start the rest."""

    def __init__(self) -> None:
        self.wanted = anyio.Event()
        self.done = anyio.Event()
        self.replaced = anyio.Event()
        self.failure: ConsortiumError | None = None
        """Why it failed; None if it succeeded or is not done."""


class Later:
    """Middleware that starts the rest soon after the first answers, or when a request needs it.

    After a failure, each request tries again.
    """

    def __init__(self, settings: Settings, problem: ConsortiumError | None = None) -> None:
        """Create it; nothing is started.

        Args:
            problem: why the database could not be opened for the first answers; None if it could.
        """
        self._settings = settings
        self._problem = problem
        self._met = anyio.Event()
        self._listed = anyio.Event()
        self._attempt = _Attempt()
        self.runner: runners.Runner | None = None
        """The runner of all runs; None until the rest has started."""

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Pass on a request when the parts that it needs are ready."""
        if needs_the_rest(ctx.method):
            attempt = self._attempt
            if attempt.failure:
                self._attempt = _Attempt()
                attempt.replaced.set()
                attempt = self._attempt
            attempt.wanted.set()
            await attempt.done.wait()
            if attempt.failure and ctx.method == "tools/call":
                return failed_call(str(attempt.failure))
            if attempt.failure:
                raise MCPError(INTERNAL_ERROR, str(attempt.failure))
        try:
            return await call_next(ctx)
        finally:
            self._met.set()
            if ctx.method == "tools/list":
                self._listed.set()

    @property
    def failure(self) -> ConsortiumError | None:
        """Why the rest could not be started; None if it could, or was not needed."""
        return self._attempt.failure or (None if self.runner else self._problem)

    async def work(self, front: Front) -> None:
        """Import and start the rest, and keep it running until cancelled."""
        if self._settings.resume != "auto":
            await self._until_wanted()
        service = await self._opened()
        watch = changes.Changes(service.store, front.listeners, service.timing)
        with service:
            async with runners.Runner(service) as self.runner, watch.lifespan(front.server):
                await anyio.to_thread.run_sync(app.attach_tools, front, self.runner, abandon_on_cancel=True)
                front.menu.list_saved = service.store.consortiums.list_names.sync
                gc.freeze()  # a part that was built is kept
                gc.enable()
                self._attempt.done.set()
                self.runner.start(app.announce_models, front.menu, front.listeners)
                if self._settings.resume == "auto" and not self._settings.read_only:
                    await self.runner.recover()
                await anyio.sleep_forever()

    async def _opened(self) -> "service.ConsortiumService":
        """The service, as soon as an attempt to open it succeeds; the next attempt waits for the next request."""
        while True:
            attempt = self._attempt
            try:
                return await anyio.to_thread.run_sync(self._open, abandon_on_cancel=True)
            except ConsortiumError as error:
                attempt.failure = error
                attempt.done.set()
                await attempt.replaced.wait()

    async def _until_wanted(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._want_after_the_list)
            await self._attempt.wanted.wait()
            group.cancel_scope.cancel()

    async def _want_after_the_list(self) -> None:
        await self._met.wait()
        with anyio.move_on_after(HELLO_SECONDS):
            await self._listed.wait()
        await anyio.sleep(PAUSE_SECONDS)
        self._attempt.wanted.set()

    def _open(self) -> "service.ConsortiumService":
        """Open the service, in a thread because the import is slow."""
        _ = app.attach_tools, changes.Changes, runners.Runner
        return service.ConsortiumService(self._settings)
