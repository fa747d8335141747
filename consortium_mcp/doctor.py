"""The installation examined: what works, what does not, and what mends it. Asks a model only where told to."""

import importlib.metadata
import json
import os
import platform
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Literal

import anyio
from packaging.requirements import Requirement

from consortium_mcp.arbiter import judging_methods
from consortium_mcp.catalogue import Catalogue, ModelEntry, load_catalogue
from consortium_mcp.client_files import ClientFile, client_files, command_problem, installed_entries
from consortium_mcp.consortium import Consortium, models_of
from consortium_mcp.consult import Consultancy
from consortium_mcp.definitions import with_arbiter
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.lazy import llm
from consortium_mcp.llm_log import log_state
from consortium_mcp.local_model import LOCAL_MODEL_ID
from consortium_mcp.local_model.engine import local_model_problem
from consortium_mcp.model_call import make_call
from consortium_mcp.record import Record
from consortium_mcp.run import CallResult, CallSpec
from consortium_mcp.settings import PREFIX, Settings, llm_user_path, load_settings
from consortium_mcp.strategies import strategies

PACKAGE = "consortium-mcp"

LIVE_SECONDS = 60
"""How long a model may take for its answer to the tiny question."""

_LIVE_PROMPT = "Reply with the one word: ok"

_LIVE_REMEDIES = {
    "auth": "Set its key again with `llm keys set NAME`.",
    "billing": "Look at the account that its key belongs to.",
    "rate_limit": "Wait, or raise the limits of the account that its key belongs to.",
    "model_unavailable": "Take another model: `consortium-mcp models` lists them.",
    "network": "Look at the network, and at the proxy that this environment names.",
}


class Check(Record):
    """What was found of one thing."""

    about: str
    """The thing."""

    state: Literal["ok", "warning", "problem"]
    """`warning`: something that may be wanted does not work; `problem`: something that is wanted does not."""

    found: str
    """What was found, in one sentence or a few words."""

    remedy: str | None = None
    """What mends it; None when nothing has to be mended, or when `found` says it."""


def examine(*, live: bool = False) -> Iterator[Check]:
    """Look at everything that a consult needs.

    Args:
        live: also call each hosted model that saved consortiums name, or the default does, once.
    """
    yield Check(about="Python", state="ok", found=f"{platform.python_version()} ({sys.executable})")
    yield from _packages()
    yield from _caught("Settings", _settings)
    yield from _caught("Database", _database)
    yield from _caught("Models", _models)
    yield from _caught("Consortiums", _consortiums)
    yield from _additions()
    if live:
        yield from _caught("Live calls", lambda: anyio.run(_call_models))
    yield _local_model()
    for client in client_files().values():
        yield from _caught(client.title, partial(_client, client), "warning")
    yield _log()


def _caught(
    about: str, look: Callable[[], Iterable[Check]], state: Literal["warning", "problem"] = "problem"
) -> Iterator[Check]:
    """What was found; what keeps one from looking is a finding too."""
    try:
        yield from look()
    except ConsortiumError as error:
        yield Check(about=about, state=state, found=str(error))


def _packages() -> Iterator[Check]:
    try:
        wanted = [Requirement(text) for text in importlib.metadata.requires(PACKAGE) or []]
    except importlib.metadata.PackageNotFoundError:
        remedy = f"Install it: `pip install {PACKAGE}`."
        yield Check(about="Packages", state="problem", found=f"{PACKAGE} is not installed here.", remedy=remedy)
        return
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    if problems := [problem for one in needed if (problem := _package_problem(one))]:
        remedy = f"`{sys.executable} -m pip install -U {PACKAGE}` mends it."
        yield Check(about="Packages", state="problem", found=" ".join(problems), remedy=remedy)
        return
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in (PACKAGE, *(one.name for one in needed)))
    yield Check(about="Packages", state="ok", found=found)


def _package_problem(wanted: Requirement) -> str | None:
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{wanted.name} is missing."
    fits = wanted.specifier.contains(version, prereleases=True)
    return None if fits else f"{wanted.name} is {version}; {wanted.specifier} is needed."


def _settings() -> Iterator[Check]:
    load_settings()
    given = [name for name in sorted(os.environ) if name.startswith(PREFIX)]
    unknown = [name for name in given if name.removeprefix(PREFIX).lower() not in Settings.model_fields]
    for name in unknown:
        remedy = "Correct or unset it; `consortium-mcp serve --help` lists them all."
        yield Check(about="Settings", state="warning", found=f"There is no setting {name}.", remedy=remedy)
    if not unknown:
        yield Check(about="Settings", state="ok", found=", ".join(given) or "none is set; the defaults hold")


def _database() -> Iterator[Check]:
    with Consultancy() as consultancy:
        store = consultancy.store
        yield Check(about="Database", state="ok", found=f"{store.path}, {store.check()}")


def _keys_file() -> Iterator[Check]:
    """What is wrong with llm's file of keys; nothing when it is right, or not there."""
    path = llm_user_path() / "keys.json"
    if not path.exists():
        return
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConsortiumError(f"{path} cannot be read ({error}): correct the file, or move it away.") from error
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        found = f"Other users can read {path}."
        yield Check(about="Keys", state="warning", found=found, remedy=f"`chmod 600 {path}` keeps them to you.")


def _models() -> Iterator[Check]:
    yield from _keys_file()
    catalogue = load_catalogue()
    for plugin, why in catalogue.broken_plugins.items():
        update = f"Update it with `llm install -U {plugin}`, or remove it with `llm uninstall {plugin}`."
        yield Check(about="Models", state="warning", found=f"The llm plugin {plugin} is broken: {why}", remedy=update)
    yield from _keys(catalogue)
    usable = [entry for entry, problem in catalogue.search() if problem is None]
    if usable:
        found = f"{len(usable)} of {len(catalogue.entries)} can be used"
        yield Check(about="Models", state="ok", found=found)
    else:
        mend = "Set a key (`llm keys set openai`) or fetch the embedded model (`consortium-mcp local-model fetch`)."
        yield Check(about="Models", state="problem", found="No model can be used.", remedy=mend)


def _keys(catalogue: Catalogue) -> Iterator[Check]:
    wanted = {str(needed): entry for entry in catalogue.entries if (needed := getattr(entry.model, "needs_key", None))}
    there = sorted(name for name, entry in wanted.items() if _has_key(entry))
    missing = sorted(set(wanted) - set(there))
    found = f"there: {', '.join(there) or 'none'}" + (f"; not set: {', '.join(missing)}" if missing else "")
    if there or not missing:
        yield Check(about="Keys", state="ok", found=found)
    else:
        yield Check(about="Keys", state="warning", found=found, remedy=f"`llm keys set {missing[0]}` sets one.")


def _has_key(entry: ModelEntry) -> bool:
    try:
        return bool(entry.model.get_key())
    except llm.NeedsKeyException:
        return False


def _consortiums() -> Iterator[Check]:
    catalogue = load_catalogue()
    with Consultancy() as consultancy:
        loaded, damaged = consultancy.store.list_consortiums()
        problems = {
            name: problem
            for name, one in loaded.items()
            if (problem := consultancy.definitions.problem(name, one, catalogue))
        }
        for name, problem in sorted((damaged | problems).items()):
            yield Check(about="Consortiums", state="warning", found=f"{name!r} cannot run: {problem}")
        if ready := sorted(set(loaded) - set(problems)):
            yield Check(about="Consortiums", state="ok", found=f"ready: {', '.join(ready)}")
        try:
            default_name, default = consultancy.definitions.resolve(catalogue)
        except ConsortiumError as error:
            yield Check(about="Default", state="warning", found=f"A consult that names nobody cannot run: {error}")
        else:
            asked = default_name or ", ".join(map(str, default.members))
            yield Check(about="Default", state="ok", found=f"a consult that names nobody asks {asked}")


def _additions() -> Iterator[Check]:
    """The strategies and judging methods of other packages that had to be left out."""
    for registry in (strategies(), judging_methods()):
        for name, why in registry.broken.items():
            found = f"The {registry.noun} {name!r} of {why}."
            yield Check(about="Additions", state="warning", found=found, remedy="Update that package, or uninstall it.")


async def _call_models() -> list[Check]:
    """Call every hosted model that would be asked, all at once."""
    with Consultancy() as consultancy:
        entries = _hosted(consultancy, load_catalogue())
        checks: dict[str, Check] = {}

        async def call(entry: ModelEntry) -> None:
            consultancy.clients.use_in(entry)
            spec = CallSpec(
                call_id="live", iteration=1, label=entry.model_id, model=entry.model_id, prompt=_LIVE_PROMPT
            )
            result = await make_call(entry, spec, consultancy.limits, LIVE_SECONDS, consultancy.llm_log.write)
            checks[entry.model_id] = _called(entry, result)

        try:
            async with anyio.create_task_group() as group:
                for entry in entries:
                    group.start_soon(call, entry)
        finally:
            await consultancy.clients.aclose()
    nobody = Check(about="Live calls", state="ok", found="no hosted model would be asked")
    return [checks[entry.model_id] for entry in entries] or [nobody]


def _hosted(consultancy: Consultancy, catalogue: Catalogue) -> list[ModelEntry]:
    """The usable models, neither embedded nor consortiums themselves, that saved consortiums name, or the default."""
    saved, _ = consultancy.store.list_consortiums()
    named: list[Consortium] = list(saved.values()) or [consultancy.definitions.resolve(catalogue)[1]]
    allowed = consultancy.settings.allowed_models
    found: dict[str, ModelEntry] = {}
    for name in (name for consortium in named for name in models_of(with_arbiter(consortium))):
        if name in saved:
            continue
        try:
            entry = catalogue.usable(name, allowed)
        except ConsortiumError:
            continue  # the consortium's own line says so
        if entry.model_id != LOCAL_MODEL_ID:
            found[entry.model_id] = entry
    return list(found.values())


def _called(entry: ModelEntry, result: CallResult) -> Check:
    about = f"Live: {entry.model_id}"
    if result.ok:
        return Check(about=about, state="ok", found=f"answered in {result.duration_ms / 1000:.1f} s")
    kind = result.error_kind or "internal"
    return Check(about=about, state="problem", found=f"{kind}: {result.error}", remedy=_LIVE_REMEDIES.get(kind))


def _local_model() -> Check:
    problem = local_model_problem() or _import_problem()
    if problem:
        return Check(about="Local model", state="warning", found=problem)
    return Check(about="Local model", state="ok", found="ready")


def _import_problem() -> str | None:
    """Why the engine cannot be loaded, tried in a process of its own, which it may take down; None when it can."""
    done = subprocess.run([sys.executable, "-c", "import xllamacpp"], capture_output=True, text=True)
    if done.returncode == 0:
        return None
    why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return f"xllamacpp cannot be loaded ({why}); `pip install -U 'consortium-mcp[local]'` may mend it."


def _client(client: ClientFile) -> Iterator[Check]:
    entries = installed_entries(client)
    if entries is None:
        yield Check(about=client.title, state="ok", found="no configuration on this machine")
    elif not entries:
        found = f"without an entry of ours; `consortium-mcp install {client.name}` adds it"
        yield Check(about=client.title, state="ok", found=found)
    for title, entry in (entries or {}).items():
        if problem := command_problem(entry):
            remedy = f"`consortium-mcp install {client.name} --name {title}` writes it anew."
            found = f"{title!r} in {client.path()}: {problem}."
            yield Check(about=client.title, state="problem", found=found, remedy=remedy)
        else:
            yield Check(about=client.title, state="ok", found=f"{title!r} starts {entry['command']}")


def _log() -> Check:
    state, problem = log_state()
    if problem is None:
        return Check(about="llm logs", state="ok", found=state)
    remedy = "Move the file away, or switch it off with `llm logs off`; runs are not affected."
    return Check(about="llm logs", state="warning", found=f"{state} cannot be used: {problem}", remedy=remedy)
