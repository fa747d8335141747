"""The docs are correct: parts are generated, examples run, links have targets. `make generate` writes the parts."""

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import anyio
import click
import pytest

from consortium_mcp.cli import main
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.strategies import strategies
from consortium_mcp.records import ErrorKind
from consortium_mcp.records.request import ConsultRequest
from consortium_mcp.records.roles import ROLES
from consortium_mcp.server import build_server
from consortium_mcp.server.base import toolset
from consortium_mcp.service.retry import ATTEMPTS, further_attempts
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import Settings
from tests.doors.test_cli import run_command
from tests.hosts_page import host_buttons, host_one_click, host_table
from tests.json_schemas import json_table
from tests.paths import ROOT, TESTS
from tests.plugins import install_plugin
from tests.provider import Fault, Provider, verdict
from tests.questions_page import comparison, limit_table, provider_table
from tests.unit.test_structure import MODULES, ORDER, PACKAGE, RULES

DOCS = ROOT / "docs"
README = ROOT / "README.md"
TOOLS = json.loads((PACKAGE / "server" / toolset.TOOLS_FILE).read_text())

PARTS = {
    "tools-short": README,
    "tools": DOCS / "tools.md",
    "resources": DOCS / "tools.md",
    "commands": DOCS / "commands.md",
    "settings": DOCS / "settings.md",
    "one-click": README,
    "json": DOCS / "json.md",
    "hosts": DOCS / "hosts.md",
    "host-links": DOCS / "hosts.md",
    "limits": DOCS / "questions.md",
    "providers": DOCS / "questions.md",
    "comparison": DOCS / "questions.md",
    "rooms": DOCS / "architecture.md",
    "tree": DOCS / "architecture.md",
}
"""Every generated part, and the page in which it stands."""

PAGES = [
    README,
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted(DOCS.glob("*.md")),
]
"""What people read."""

BENCHMARKS = [ROOT / "benchmarks" / "README.md", ROOT / "benchmarks" / "quality" / "README.md"]

PROGRAMS = {"consortium-mcp": ("-m", "consortium_mcp"), "llm": ("-m", "llm")}

SET_UP = (
    *("make ", "python3 -m venv ", ".venv/bin/", "llm install ", "git ", "pre-commit ", "pip install ", "export "),
    *("consortium-mcp setup", "consortium-mcp demo"),
)
"""How lines begin that set up a machine: the tests of `setup`, the demo and the local model run what they do."""

RUN_ELSEWHERE = {"serving.md", "performance.md"}
"""Pages whose commands start servers and profilers; the tests of serving run the former."""

EXAMPLES = [page for page in PAGES if page.name not in RUN_ELSEWHERE and "\n$ " in page.read_text()]


def _tools_short() -> str:
    lines = ["| tool | purpose |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{tool['name']}` | {_first_sentence(tool['description'])} |" for tool in TOOLS)])


def _tools() -> str:
    """Each tool with its whole description and its parameters."""
    lines: list[str] = []
    for tool in TOOLS:
        lines += [f"### {tool['name']}", "", tool["description"], ""]
        parameters = tool["inputSchema"]["properties"]
        if not parameters:
            lines += ["It has no parameters.", ""]
            continue
        lines += ["| parameter | type | meaning |", "|---|---|---|"]
        required = tool["inputSchema"].get("required", [])
        for name, schema in parameters.items():
            needed = " (required)" if name in required else ""
            kind = _type_text(schema) + _bounds(name)
            lines.append(f"| `{name}`{needed} | {kind} | {_cell(schema.get('description', ''))} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _type_text(schema: dict[str, Any]) -> str:
    """What a parameter takes, in a few words."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_type_text(schema['items'])}"
    return str(schema["type"])


def _bounds(name: str) -> str:
    """The limits of a field of a request; empty without limits, or if it is no such field."""
    field = ConsultRequest.model_fields.get(name)
    limits = {
        kind: getattr(one, kind)
        for one in (field.metadata if field else ())
        for kind in ("ge", "gt", "le")
        if hasattr(one, kind)
    }
    if "le" not in limits:
        return ""
    low = f"{limits['ge']:,}" if "ge" in limits else f"above {limits['gt']:,}"
    return f", {low} to {limits['le']:,}"


async def _resources(database: Path) -> str:
    with ConsortiumService(Settings(database=database)) as service:
        server = build_server(Runner(service))
        resources = await server.list_resources()
        templates = await server.list_resource_templates()
    lines = ["| resource | content |", "|---|---|"]
    lines += [f"| `{resource.uri}` | {_first_sentence(resource.description)} |" for resource in resources]
    lines += [f"| `{template.uri_template}` | {_first_sentence(template.description)} |" for template in templates]
    return "\n".join(lines)


def _settings() -> str:
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        shown = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        default = "" if shown in (None, "") else f"`{shown}`"
        lines.append(f"| `CONSORTIUM_{name.upper()}` | {default} | {_cell(field.description or '')} |")
    return "\n".join(lines)


def _rooms() -> str:
    """Each folder with its story and what it imports, the doors first."""
    lines = ["| room | story | imports |", "|---|---|---|"]
    for room in reversed(RULES):
        imports = ", ".join(f"`{other}`" for other in RULES if other in RULES[room]) or "nothing"
        lines.append(f"| `{room.replace('.', '/')}` | {_cell(_story(room))} | {imports} |")
    return "\n".join(lines)


def _tree() -> str:
    """The package's folders from the ground up, each with its files below it."""
    lines = ["```", "consortium_mcp/"]
    tops = list(dict.fromkeys(name.partition(".")[0] for name in ORDER))
    for name in sorted(ORDER, key=lambda name: (tops.index(name.partition(".")[0]), name)):
        indent = "  " * (name.count(".") + 1)
        file = name.rpartition(".")[2] + ("/" if (PACKAGE / name.replace(".", "/")).is_dir() else ".py")
        lines.append(f"{indent + file:<28} {_story(name)}")
    return "\n".join([*lines, "```"])


def _story(name: str) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(MODULES[name]) or "").splitlines()[0]


def commands() -> dict[str, click.Command]:
    """Every command by the words that call it, in the order of `--help`."""
    found: dict[str, click.Command] = {}

    def add(words: str, command: click.Command) -> None:
        found[words] = command
        if isinstance(command, click.Group):
            ctx = click.Context(command)
            for name in command.list_commands(ctx):
                child = command.get_command(ctx, name)
                assert child is not None
                add(f"{words} {name}", child)

    add("consortium-mcp", main)
    return found


def _help_text(command: click.Command, words: str | None) -> str:
    """What `--help` prints; the context is always the same: click keeps the help option of the first one."""
    return command.get_help(click.Context(command, info_name=words, terminal_width=100, **main.context_settings))


def _commands() -> str:
    lines: list[str] = []
    for words, command in commands().items():
        lines += [f"### {words}", "", "```", _help_text(command, words), "```", ""]
    return "\n".join(lines).rstrip()


def _first_sentence(text: str | None) -> str:
    return _cell((text or "").split("\n\n")[0])


def _cell(text: str) -> str:
    """A text on one line, as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def generated(database: Path) -> dict[str, str]:
    """Every generated part by its name."""
    return {
        "tools-short": _tools_short(),
        "tools": _tools(),
        "resources": anyio.run(_resources, database),
        "commands": _commands(),
        "settings": _settings(),
        "one-click": host_one_click(),
        "json": json_table(),
        "hosts": host_table(),
        "host-links": host_buttons(),
        "limits": limit_table(),
        "providers": provider_table(),
        "comparison": comparison(),
        "rooms": _rooms(),
        "tree": _tree(),
    }


def with_part(text: str, name: str, part: str) -> str:
    """The page with one generated part put in its place."""
    pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
    assert pattern.search(text), f"the page has no place for {name}"
    return pattern.sub(lambda found: f"{found[1]}{part}\n{found[2]}", text)


@pytest.mark.parametrize("name", PARTS)
def test_the_generated_parts_are_up_to_date(name: str, tmp_path: Path) -> None:
    text = PARTS[name].read_text()

    assert with_part(text, name, generated(tmp_path / "test.db")[name]) == text, "make generate"


def test_the_claude_desktop_entry_is_the_example_file() -> None:
    shown = re.search(r"```json\n(.*?)```", README.read_text(), re.DOTALL)

    assert shown and json.loads(shown[1]) == json.loads((ROOT / "claude_desktop_config.example.json").read_text())


def test_every_command_stands_in_the_table_of_commands() -> None:
    table = (DOCS / "commands.md").read_text().partition("## Consult")[0]
    quoted = " ".join(re.findall(r"`[^`\n]+`", table))

    for words in commands():
        assert re.search(rf"\b{words.removeprefix('consortium-mcp ')}\b", quoted), words


def test_every_strategy_judging_method_and_role_stands_in_the_docs() -> None:
    text = (DOCS / "strategies.md").read_text()

    assert {name for name in (*strategies(), *judging_methods(), *ROLES) if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("words", commands())
def test_help_says_something_of_a_command_and_of_each_option(words: str) -> None:
    command = commands()[words]

    assert command.help and "..." not in _help_text(command, command.name).partition("\n")[2]
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []


def test_every_command_that_prints_data_prints_json_too() -> None:
    """The others print a script, or what they are told to export, or serve."""
    leaves = {words for words, command in commands().items() if not isinstance(command, click.Group)}
    with_json = {words for words in leaves if any(option.name == "as_json" for option in commands()[words].params)}

    without = {words.removeprefix("consortium-mcp ") for words in leaves - with_json}
    assert without == {"serve", "web", "completion", "runs export"}
    assert any(option.name == "as_json" for option in commands()["consortium-mcp runs"].params)


def _blocks(page: Path, language: str) -> list[str]:
    """The blocks of code in one language on a page."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.fixture
def extras(plugin_folder: Path) -> None:
    """The package that docs/extending.md writes is installed."""
    (source,), (project,) = _blocks(DOCS / "extending.md", "python"), _blocks(DOCS / "extending.md", "toml")
    groups = tomllib.loads(project)["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "\n".join(f"{name} = {at}" for name, at in names.items()) for group, names in groups.items()
    ]
    install_plugin(plugin_folder, "panel_extras", source, "\n".join(lines))


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("extras")
@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_the_examples_for_the_shell_run(page: Path, provider: Provider, llm_home: Path) -> None:
    provider.write_llm_config(llm_home, ["gpt-5", "claude-opus-5", "mistral-large"], schema=["gemini-pro"])
    provider.on("gemini-pro", verdict("Only if the request is idempotent", confidence=0.86))
    saved = "default" if page == README else "panel"  # the README's `setup` saves the former, and it saves the latter
    run_command("save", saved, "-m", "gpt-5:2", "-m", "claude-opus-5", "--arbiter", "gemini-pro")
    lines = [line.removeprefix("$ ") for line in page.read_text().splitlines() if line.startswith("$ ")]

    for line in (line for line in lines if not line.startswith(SET_UP)):
        program, *words = shlex.split(line, comments=True)
        done = run_command(*words, program=PROGRAMS[program], stdin="exit\n")
        assert done.returncode == 0, (line, done.stderr)


def test_the_examples_are_found() -> None:
    assert {page.name for page in EXAMPLES} >= {"README.md", "commands.md", "extending.md"}


@pytest.mark.usefixtures("extras")
def test_the_strategy_and_the_judging_method_of_the_docs_do_what_they_say(provider: Provider) -> None:
    rules = ["--strategy", "independent", "--judging-method", "longest", "--min-iterations", "2"]
    provider.on("a", "a short answer")
    provider.on("b", "an answer that is the longest")

    done = run_command("consult", "Why?", "-m", "a", "-m", "b", *rules)

    assert done.stdout.endswith("\nan answer that is the longest\n")
    assert [request.prompt for request in provider.requests_to("a")] == ["Why?", "Why?"]


def test_a_partial_answer_says_what_the_docs_show(provider: Provider, llm_home: Path) -> None:
    (shown,) = _blocks(DOCS / "reliability.md", "text")
    provider.write_llm_config(llm_home, ["gpt-5", "claude-opus-5"], schema=["gemini-pro"])
    provider.on("claude-opus-5", Fault.billing())
    provider.on("gemini-pro", verdict("Only if the request is idempotent.", confidence=0.86))

    done = run_command("consult", "Retry?", "-m", "gpt-5:2", "-m", "claude-opus-5", "--arbiter", "gemini-pro")

    assert done.stdout == shown


def test_a_dry_run_says_what_the_docs_show(provider: Provider, llm_home: Path) -> None:
    (shown,) = _blocks(DOCS / "questions.md", "text")
    provider.write_llm_config(llm_home, ["gpt-5", "claude-opus-5"], schema=["gemini-pro"])

    members = ["-m", "gpt-5:2", "-m", "claude-opus-5", "--arbiter", "gemini-pro"]
    done = run_command("consult", "--dry-run", "Is it safe to retry a POST?", *members)

    assert done.stdout.startswith(shown) and provider.requests == []


def test_the_code_names_no_server_that_it_could_send_texts_to() -> None:
    """The tables of hosts name pages that document them, and links that a person follows."""
    sources = [path for path in PACKAGE.rglob("*.py") if "hosts" not in path.parts]
    named = {name for path in sources for name in re.findall(r"https?://([\w.-]+\.[a-z]+)", path.read_text())}

    pages = {"www.w3.org", "sqlite.org", "html.spec.whatwg.org", "pypi.org"}
    assert named - {"consult.example.com"} == pages


def test_the_kinds_of_error_in_the_docs_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (yes|once|no) \|$", (DOCS / "reliability.md").read_text(), re.MULTILINE)

    attempts = {"yes": ATTEMPTS, "once": 2, "no": 1}
    made = {kind: 1 + further_attempts(kind) for kind in get_args(ErrorKind)}
    assert {kind: attempts[retried] for kind, retried in rows} == made


@pytest.mark.timeout(300)
def test_the_python_example_runs(local_weights: Path) -> None:
    (example,) = _blocks(README, "python")

    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=250)

    assert (done.returncode, done.stderr) == (0, "") and done.stdout.strip()


def _links(page: Path) -> Iterator[str]:
    """Where the links of a page lead, code and pictures left out."""
    text = re.sub(r"```.*?```|`[^`\n]*`|!\[[^]]*\]\([^)]*\)", "", page.read_text(), flags=re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)\)", text)


def _anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *BENCHMARKS], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not link.startswith("https://") and (
            not target.exists()
            or (anchor and anchor not in _anchors(target))
            or (DOCS in page.parents and ".." in path)
        ):
            broken.append(link)

    assert broken == []


def test_every_picture_is_there() -> None:
    of_readme = re.findall(r'\bsrc(?:set)?="([^"]+)"', README.read_text())
    of_site = re.findall(r"!\[[^]]*\]\(([^)#]+)", (DOCS / "index.md").read_text())

    shown = [*(ROOT / path for path in of_readme), *(DOCS / path for path in of_site)]
    assert len(shown) == 4 and [path for path in shown if not path.exists()] == []


def test_every_page_is_reached_from_the_readme_and_stands_in_the_sites_contents() -> None:
    pages = {page.name for page in DOCS.glob("*.md")}
    contents = set(_links(DOCS / "index.md"))
    navigation = (ROOT / "mkdocs.yml").read_text()

    assert contents == pages - {"index.md"}
    assert {page for page in pages if f" {page}\n" not in navigation} == set()
    assert pages - {"index.md"} <= {link.removeprefix("docs/") for page in PAGES[:2] for link in _links(page)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_the_docs_name_exists(page: Path) -> None:
    named = re.findall(r"`((?:consortium_mcp|tests|docs|benchmarks)/[\w/.-]+)`", page.read_text())

    assert [name for name in named if page.name != "CHANGELOG.md" and not (ROOT / name).exists()] == []


def test_where_to_change_what_names_what_is_there() -> None:
    table = (DOCS / "architecture.md").read_text().partition("## Where to change what")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| `([^`]+)` \| (.*) \|$", table, re.MULTILINE)
    missing = [
        (file, word) for file, words in rows for word in re.findall(r"`(\w+)`", words) if word not in _source(file)
    ]

    assert len(rows) > 20 and missing == []


def _source(file: str) -> str:
    path = ROOT / file
    return path.read_text() if path.exists() else ""


def test_every_test_that_a_decision_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "decisions.md").read_text()))
    written = {name for path in TESTS.rglob("*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}

    assert len(named) >= 10 and named - written == set()


def test_each_term_of_the_glossary_has_one_row_in_alphabetical_order() -> None:
    terms = re.findall(r"^\| ([a-z][^|]*) \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)[1:]

    assert len(terms) > 40 and terms == sorted(set(terms))


MOST_WORDS = 20
"""The longest sentence of the docs; what stands in code counts as one word."""

RIDDLES = r"\b(nobody|whoever|somebody|whatever|anybody|everybody|foresaw|whom)\b"
"""Words that make a sentence hard to read for people whose first language is another one."""


def _sentences(page: Path) -> Iterator[str]:
    """The sentences of a page that people wrote, each piece of code as one word."""
    text = re.sub(r"<!-- ([\w-]+): generated.*?<!-- /\1 -->|```.*?```", "", page.read_text(), flags=re.DOTALL)
    text = re.sub(r"`[^`]*`", "code", re.sub(r"\]\([^)]*\)", "]", text))
    for paragraph in re.split(r"\n\s*\n|\n(?=[-#|]|\d+\. )| \| ", text):
        yield from re.split(r"(?<=[.!?:;])[\"*)]*\s+", " ".join(paragraph.split()))


@pytest.mark.parametrize("page", [*PAGES, *BENCHMARKS], ids=lambda page: str(page.relative_to(ROOT)))
def test_the_sentences_of_the_docs_are_short_and_plain(page: Path) -> None:
    long = [sentence for sentence in _sentences(page) if len(re.findall(r"[\w'-]+", sentence)) > MOST_WORDS]

    assert [*long, *(sentence for sentence in _sentences(page) if re.search(RIDDLES, sentence, re.IGNORECASE))] == []


if __name__ == "__main__":
    import tempfile

    for name, part in generated(Path(tempfile.mkdtemp()) / "readme.db").items():
        PARTS[name].write_text(with_part(PARTS[name].read_text(), name, part))
