"""The order of the folders: each imports only what its rule allows, and no import is circular."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGE = ROOT / "consortium_mcp"

FOUNDATION = {"_util", "settings", "text", "records"}

FILES = {"errors": "settings"}
"""Files at the root that stand under the rule of another one: neither is a room."""

RULES: dict[str, set[str]] = {
    "_util": set(),
    "settings": {"_util"},
    "text": {"_util", "settings"},
    "records": {"_util", "settings", "text"},
    "models.local": set(),
    "models": FOUNDATION | {"models.local"},
    "store": {"_util", "settings", "records"},
    "engine": {"_util", "settings", "text", "records", "models"},
    "service": FOUNDATION | {"models", "models.local", "store", "engine"},
    "reports": {"_util", "text", "records", "engine", "service"},
    "installation": FOUNDATION | {"models", "models.local", "engine", "service"},
    "api": {"settings", "records", "models", "store", "service", "reports"},
    "server.base": {"_util", "settings", "text", "models", "engine"},
    "server.tools": FOUNDATION | {"models", "engine", "service", "reports", "server.base"},
    "server.resources": FOUNDATION | {"store", "service", "reports", "server.base", "server.tools"},
    "server.web": FOUNDATION | {"models", "service", "reports"},
    "server.network": {"_util", "settings", "models", "service", "server.base", "server.web", "server"},
    "server": {"_util", "settings", "store", "service"}
    | {"server.base", "server.tools", "server.resources", "server.network", "server.web"},
    "cli": FOUNDATION | {"models", "models.local", "store", "engine", "service", "reports", "installation", "server"},
    "llm_plugin": FOUNDATION | {"models", "models.local", "store", "service", "reports", "api", "cli"},
}
"""The allowed imports of each folder, or file beside them; from the ground up."""

ALLOWED_LOCAL_IMPORTS = {("models.local.engine", "xllamacpp")}
"""Imports inside a function: the embedded model's engine is an optional extra."""


def name_of(path: Path) -> str:
    """The module's name below the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
DOORSTEP = {"", "__main__"}
"""The package itself, which exports all names, and its command."""


def room_of(name: str) -> str:
    """The folder of RULES in which a module stands."""
    name = FILES.get(name, name)
    return max((room for room in RULES if f"{name}.".startswith(f"{room}.")), key=len, default="")


ORDER = sorted(set(MODULES) - DOORSTEP, key=lambda name: (list(RULES).index(room_of(name)), name))
"""Every module, from the ground up."""

OFFERING = {"server", "store", "records", "models.local"}
"""Packages whose names are imported from their modules at their first use."""


def imports_of(name: str) -> set[str]:
    """The modules of ours that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("consortium_mcp"):
            module = (node.module or "").removeprefix("consortium_mcp").removeprefix(".")
            found |= {f"{module}.{one.name}" if f"{module}.{one.name}" in MODULES else module for one in node.names}
        elif isinstance(node, ast.Import):
            found |= {one.name.removeprefix("consortium_mcp.") for one in node.names if "consortium_mcp" in one.name}
    return found


def reached_from(name: str) -> set[str]:
    """Every module of ours that a module imports, directly or indirectly."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        for module in imports_of(waiting.pop()) - reached:
            reached.add(module)
            waiting.append(module)
    return reached


def test_every_module_stands_in_a_folder_that_has_a_rule() -> None:
    assert [name for name in MODULES if name not in DOORSTEP and not room_of(name)] == []
    assert len(RULES) <= 20


@pytest.mark.parametrize("room", RULES)
def test_a_folder_imports_only_what_its_rule_names(room: str) -> None:
    imported = {
        room_of(other): f"{name} imports {other}"
        for name in ORDER
        if room_of(name) == room
        for other in imports_of(name)
        if room_of(other) != room
    }

    assert {other: why for other, why in imported.items() if other not in RULES[room]} == {}


def test_no_import_runs_in_a_circle() -> None:
    list(TopologicalSorter({name: imports_of(name) for name in ORDER if name not in OFFERING}).static_order())


def test_the_embedded_model_is_reached_through_llm_and_its_public_names() -> None:
    outside = [name for name in ORDER if room_of(name) != "models.local"]

    assert {one for name in outside for one in imports_of(name) if room_of(one) == "models.local"} == {"models.local"}


def test_only_these_files_stand_at_the_root() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {
        "__init__.py",
        "__main__.py",
        "api.py",
        "errors.py",
        "settings.py",
    }


def test_no_module_is_longer_than_400_lines() -> None:
    assert [path for path in PACKAGE.rglob("*.py") if len(path.read_text().splitlines()) > 400] == []


def test_the_store_and_the_engine_do_not_know_each_other() -> None:
    assert "store" not in {room_of(name) for name in reached_from("engine.loop")}
    assert "engine.loop" not in reached_from("store.store")


def test_imports_stand_at_the_top() -> None:
    inside = {
        (name, imported.name if isinstance(node, ast.Import) else node.module)
        for name, tree in MODULES.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for imported in node.names
    }

    assert inside <= ALLOWED_LOCAL_IMPORTS


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_importing_the_package_loads_neither_mcp_nor_llm_nor_openai() -> None:
    assert loaded_by("import consortium_mcp") & {"mcp", "llm", "openai", "pydantic", "anyio", "sqlite3"} == set()


def test_help_imports_no_command() -> None:
    heavy = {"mcp", "llm", "openai", "pydantic", "anyio", "sqlite3", "rich"}

    assert loaded_by("from consortium_mcp.cli import main; main(['--help'], standalone_mode=False)") & heavy == set()


def test_the_plugin_imports_no_package_that_llm_does_not_import() -> None:
    code = "import llm.plugins; llm.plugins.pm.set_blocked('consortium'); import llm.cli"

    added = loaded_by(f"{code}; import consortium_mcp.llm_plugin.hooks") - loaded_by(code)
    assert added <= {"consortium_mcp", *sys.stdlib_module_names}


def test_the_plugin_reaches_no_server() -> None:
    assert not any(name.startswith("server") for name in reached_from("llm_plugin.hooks"))
    assert loaded_by("import consortium_mcp.llm_plugin.hooks") & {"mcp", "openai", "xllamacpp"} == set()


def test_what_every_llm_command_imports_of_us_is_almost_nothing() -> None:
    code = "import llm, consortium_mcp.llm_plugin.hooks, sys; print(*(n for n in sys.modules if 'consortium_mcp' in n))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = {name.removeprefix("consortium_mcp").removeprefix(".") for name in done.stdout.split()}
    assert loaded <= {
        *{"", "errors", "_util", "_util.lazy", "text", "text.hidden", "text.templates", "cli", "cli.groups"},
        "cli.failures",
        *{"llm_plugin", "llm_plugin.hooks"},
    }


def test_B17_importing_any_module_writes_nothing_and_configures_no_logging(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    names = [f"consortium_mcp.{name}" for name in ORDER]
    code = "import importlib, logging\n" + "".join(f"importlib.import_module({name!r})\n" for name in names)
    done = subprocess.run(
        [sys.executable, "-c", f"{code}assert not logging.root.handlers"],
        capture_output=True,
        text=True,
        env={"LLM_USER_PATH": str(home / "llm"), "HOME": str(home), "PATH": ""},
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.iterdir()) == []


def test_B17_llm_starts_on_a_machine_where_it_has_no_folder_yet(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llm", "consortium", "--help"],
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "nothing"), "PATH": ""},
    )

    assert (done.returncode, done.stderr) == (0, "") and "consult" in done.stdout
