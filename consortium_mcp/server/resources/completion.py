"""Completion of arguments of templates and prompts while a user types them."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import anyio.to_thread
from mcp_types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.records.uris import CONSORTIUMS, RUNS
from consortium_mcp.server.base.mcp_server import StrictServer

if TYPE_CHECKING:  # the store is imported later than this module
    from consortium_mcp.store import Store

MOST = 100
"""The protocol's limit of values in one answer."""

Source = Callable[[str, Mapping[str, str]], Iterable[str]]
"""Candidates for a typed text, given the arguments that are already complete; called in a thread."""


class Completions:
    """The sources by reference (a template's URI or a prompt's name) and argument."""

    def __init__(self, server: StrictServer) -> None:
        self._sources: dict[tuple[str, str], Source] = {}
        server.completion()(self._complete)  # type: ignore[no-untyped-call]

    def add(self, reference: str, argument: str, source: Source) -> None:
        """Use a source for an argument."""
        self._sources[reference, argument] = source

    async def _complete(
        self,
        reference: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        """The matching values; None, which means no values, if the reference is unknown."""
        name = reference.uri if isinstance(reference, ResourceTemplateReference) else reference.name
        source = self._sources.get((name, argument.name))
        if source is None:
            return None
        filled = (context.arguments if context else None) or {}
        try:
            return await anyio.to_thread.run_sync(lambda: completion(source(argument.value, filled), argument.value))
        except ConsortiumError:
            return None


def completion(candidates: Iterable[str], typed: str) -> Completion:
    """Values that begin with the typed text, then those that contain it; lower case also matches capitals."""
    typed = typed.casefold()
    fitting = [one for one in dict.fromkeys(candidates) if typed in one.casefold()]
    fitting.sort(key=lambda one: not one.casefold().startswith(typed))
    more = len(fitting) > MOST
    return Completion(values=fitting[:MOST], total=None if more else len(fitting), has_more=more)


def add_completion(completions: Completions, store: "Store") -> None:
    """Add completion for the arguments of every resource template, and for the consortium of every prompt."""
    run = f"{RUNS}/{{run_id}}"
    iteration, response = f"{run}/iterations/{{iteration}}", f"{run}/responses/{{response_id}}"
    completions.add(f"{CONSORTIUMS}/{{name}}", "name", consortium_names(store))
    for template in (run, f"{run}/transcript.md", iteration, response):
        completions.add(template, "run_id", run_ids(store))
    completions.add(iteration, "iteration", _iterations(store))
    completions.add(response, "response_id", _responses(store))
    for prompt in ("second_opinion", "decide", "review"):
        completions.add(prompt, "consortium", consortium_names(store))


def consortium_names(store: "Store") -> Source:
    """The saved names."""
    return lambda typed, filled: store.consortiums.list_names.sync()


def run_ids(store: "Store") -> Source:
    """The ids of runs, newest first."""
    return lambda typed, filled: store.outlines.find_ids.sync(typed.lower(), MOST + 1)


def _iterations(store: "Store") -> Source:
    def numbers(typed: str, filled: Mapping[str, str]) -> list[str]:
        return [str(one.number) for one in store.runs.load.sync(filled.get("run_id", "")).iterations]

    return numbers


def _responses(store: "Store") -> Source:
    def segments(typed: str, filled: Mapping[str, str]) -> list[str]:
        run = store.runs.load.sync(filled.get("run_id", ""))
        return [one.response_id.segment for iteration in run.iterations for one in iteration.responses]

    return segments
