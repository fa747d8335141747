"""Checks Python, packages, settings, the database, the embedded model and llm's log."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator

from packaging.requirements import Requirement

from consortium_mcp.installation.doctor.check import Check
from consortium_mcp.models.llm_log import log_state
from consortium_mcp.models.local import local_model_problem
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import PREFIX, Settings, load_settings

PACKAGE = "consortium-mcp"


def check_python() -> Check:
    """The Python version; an older one than required cannot run this code."""
    return Check(about="Python", state="ok", found=f"{platform.python_version()} ({sys.executable})")


def check_packages() -> Iterator[Check]:
    """Whether the required packages are installed in supported versions."""
    try:
        wanted = [Requirement(text) for text in importlib.metadata.requires(PACKAGE) or []]
    except importlib.metadata.PackageNotFoundError:
        remedy = f"Install it: `pip install {PACKAGE}`."
        yield Check(about="Packages", state="problem", found=f"{PACKAGE} is not installed here.", remedy=remedy)
        return
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    if problems := [problem for one in needed if (problem := _package_problem(one))]:
        remedy = f"`{sys.executable} -m pip install -U {PACKAGE}` repairs it."
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


def check_settings() -> Iterator[Check]:
    """Our environment variables."""
    load_settings()
    given = [name for name in sorted(os.environ) if name.startswith(PREFIX)]
    unknown = [name for name in given if name.removeprefix(PREFIX).lower() not in Settings.model_fields]
    for name in unknown:
        remedy = "Correct or unset it; `consortium-mcp serve --help` lists them all."
        yield Check(about="Settings", state="warning", found=f"Unknown setting {name}.", remedy=remedy)
    if not unknown:
        yield Check(about="Settings", state="ok", found=", ".join(given) or "none is set; the defaults apply")


def check_database() -> Iterator[Check]:
    """Whether the database can be opened, read completely and written."""
    with ConsortiumService() as service:
        store = service.store
        yield Check(about="Database", state="ok", found=f"{store.database.path}, {store.database.check()}")


def check_local_model() -> Check:
    """Whether the embedded model can be loaded."""
    problem = local_model_problem(load_settings().local_model) or _import_problem()
    if problem:
        return Check(about="Local model", state="warning", found=problem)
    return Check(about="Local model", state="ok", found="ready")


def _import_problem() -> str | None:
    """Why the engine cannot be loaded, tested in a process of its own, because it may crash; None if it can."""
    done = subprocess.run([sys.executable, "-c", "import xllamacpp"], capture_output=True, text=True)
    if done.returncode == 0:
        return None
    why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return f"xllamacpp cannot be loaded ({why}); `pip install -U 'consortium-mcp[local]'` may repair it."


def check_log() -> Check:
    """Whether llm's log can be used."""
    state, problem = log_state()
    if problem is None:
        return Check(about="llm logs", state="ok", found=state)
    remedy = "Move the file away, or switch it off with `llm logs off`; runs are not affected."
    return Check(about="llm logs", state="warning", found=f"{state} cannot be used: {problem}", remedy=remedy)
