"""The order of the modules: each imports only what stands above it, and some never meet."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "consortium_mcp"

ORDER = """
errors callers record lazy threads event_loop texts uris pieces thinking answers settings masking
confidence consortium
run.call run.response run.verdict run.iteration run.consultation run.progress run nesting tracing failures
local_model local_model.weights local_model.engine local_model.model
catalogue streaming clients model_call client_calls prices registry roles strategies members embeddings
arbiter.reader arbiter.beginning arbiter.question arbiter.asking arbiter.synthesize arbiter.choose arbiter.peer_rank
arbiter.vote arbiter.methods arbiter measures ending answer_stream orchestrator
store.writer store.migrations store.ownership store.database store.names store.consortiums store.leases store.rows
store.selection store.runs store.progress store.journal store.pruning store.ratings store.marks store.outlines
store.whole store
llm_log saved_rows takeover calls definitions plan stats report page
opening consultancy replay runner api
client_files doctor.check doctor.installation doctor.models doctor.live doctor.clients doctor.examination doctor
server.schemas server.limits server.results server.menu server.strict server.sampling server.lowlevel
server.cancellation server.cursors server.tools.parameters server.tools.confirming server.tools.consulting
server.tools.history server.tools.definitions server.tools server.listing server.resources server.prompts
server.completion server.listeners server.changes server.front server.app server.later
server.admission server.tokens server.web server.listening server.prompt_http server.exit
server.stdio server.http server
cli.logs cli.screen cli.completion cli.options cli.live cli.run_ids cli.serve cli.consult cli.consortiums cli.runs
cli.stats cli.models cli.strategies cli.local_model cli.install cli.doctor cli.demo cli.groups cli
llm_replies llm_models plugin
""".split()
"""From the top of the story to its end."""

LICENSED = {("local_model.engine", "xllamacpp")}
"""Imports inside a function: the embedded model's engine is an optional extra."""


def name_of(path: Path) -> str:
    """The module's name below the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
EDGES = {"", "__main__"}


def imports_of(name: str) -> set[str]:
    """The modules of ours that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("consortium_mcp"):
            module = (node.module or "").removeprefix("consortium_mcp").removeprefix(".")
            found |= {f"{module}.{one.name}" if f"{module}.{one.name}" in MODULES else module for one in node.names}
        elif isinstance(node, ast.Import):
            found |= {one.name.removeprefix("consortium_mcp.") for one in node.names if "consortium_mcp" in one.name}
    return found


def reached_from(name: str) -> set[str]:
    """Every module of ours that a module imports, directly or not."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        for module in imports_of(waiting.pop()) - reached:
            reached.add(module)
            waiting.append(module)
    return reached


def test_every_module_has_its_place_in_the_order() -> None:
    assert set(ORDER) == set(MODULES) - EDGES


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_only_what_stands_above_it(name: str) -> None:
    above = ORDER[: ORDER.index(name)]

    assert imports_of(name) <= set(above)


def test_the_store_and_the_orchestrator_do_not_know_each_other() -> None:
    assert "store" not in reached_from("orchestrator")
    assert "orchestrator" not in reached_from("store")


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

    assert inside <= LICENSED


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

    added = loaded_by(f"{code}; import consortium_mcp.plugin") - loaded_by(code)
    assert added <= {"consortium_mcp", *sys.stdlib_module_names}


def test_the_plugin_reaches_no_server() -> None:
    assert not any(name.startswith("server") for name in reached_from("plugin"))
    assert loaded_by("import consortium_mcp.plugin") & {"mcp", "openai", "xllamacpp"} == set()


def test_what_every_llm_command_imports_of_us_is_almost_nothing() -> None:
    code = "import llm, consortium_mcp.plugin, sys; print(*(name for name in sys.modules if 'consortium_mcp' in name))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = {name.removeprefix("consortium_mcp").removeprefix(".") for name in done.stdout.split()}
    assert loaded <= {"", "errors", "lazy", "texts", "cli", "cli.groups", "plugin"}


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
