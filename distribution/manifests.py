"""The manifests: each function gives one file's content."""

from typing import Any

from distribution.project import KEYS, PLUGINS, Project

SERVER_SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"

CALL_MILLISECONDS = 900_000
"""The milliseconds that Claude Code and Gemini CLI wait for a consult."""


def registry_entry(project: Project) -> dict[str, Any]:
    """`server.json` of the MCP registry; it needs the project's name there."""
    return {
        "$schema": SERVER_SCHEMA,
        "name": project.mcp_name,
        "title": "Consortium",
        "description": project.description,
        "version": project.version,
        **_named("repository", project.repository and {"url": project.repository, "source": "github"}),
        "packages": [
            {
                "registryType": "pypi",
                "registryBaseUrl": "https://pypi.org",
                "identifier": project.name,
                "version": project.version,
                "runtimeHint": "uvx",
                "runtimeArguments": [
                    {
                        "type": "named",
                        "name": "--with",
                        "description": "An llm plugin, as llm-anthropic.",
                        "isRepeated": True,
                    }
                ],
                "transport": {"type": "stdio"},
                "environmentVariables": [
                    {"name": variable, "description": f"Key for {title}.", "isRequired": False, "isSecret": True}
                    for variable, title in KEYS.items()
                ],
            }
        ],
    }


def bundle(project: Project) -> dict[str, Any]:
    """`manifest.json` of the MCP bundle, whose packages uv installs at the first start."""
    return {
        "manifest_version": "0.4",
        "name": project.name,
        "display_name": "Consortium",
        "version": project.version,
        "description": project.description,
        "author": {"name": "The consortium-mcp maintainers"},
        **_named("repository", project.repository and {"type": "git", "url": project.repository}),
        "server": {
            "type": "uv",
            "entry_point": "server.py",
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--directory", "${__dirname}", "server.py"],
                "env": {variable: f"${{user_config.{variable.lower()}}}" for variable in KEYS},
            },
        },
        "user_config": {
            variable.lower(): {
                "type": "string",
                "title": f"Key for {title}",
                "description": f"Leave it empty if you have none, or if llm has stored it. It is {variable}.",
                "sensitive": True,
                "required": False,
                "default": "",
            }
            for variable, title in KEYS.items()
        },
        "tools": [{"name": name, "description": sentence} for name, sentence in project.tools],
        "compatibility": {"platforms": ["darwin", "win32", "linux"], "runtimes": {"python": ">=3.11"}},
        "keywords": list(project.keywords),
        "license": project.license,
    }


def bundle_packages(project: Project) -> str:
    """`pyproject.toml` of the MCP bundle."""
    packages = [f"{project.name}=={project.version}", *PLUGINS]
    lines = "".join(f'    "{package}",\n' for package in packages)
    return (
        f'[project]\nname = "{project.name}-bundle"\nversion = "{project.version}"\n'
        f'requires-python = ">=3.11"\ndependencies = [\n{lines}]\n'
    )


BUNDLE_SERVER = '''"""Starts the server, as the bundle's manifest says."""

from consortium_mcp.cli import main

main(["serve", "--transport", "stdio"], prog_name="consortium-mcp")
'''


def uvx_entry(project: Project) -> dict[str, Any]:
    """A server entry in which uvx starts the package with the plugins."""
    plugins = [word for package in PLUGINS for word in ("--with", package)]
    return {"command": "uvx", "args": [*plugins, project.name], "timeout": CALL_MILLISECONDS}


def claude_plugin(project: Project) -> dict[str, Any]:
    """`.claude-plugin/plugin.json` of the plugin for Claude Code."""
    return {
        "name": "consortium",
        "version": project.version,
        "description": project.description,
        "author": {"name": "The consortium-mcp maintainers"},
        **_named("repository", project.repository),
        "license": project.license,
        "keywords": list(project.keywords),
    }


def claude_marketplace(project: Project) -> dict[str, Any]:
    """`.claude-plugin/marketplace.json` of the repository, with which Claude Code finds the plugin."""
    return {
        "name": project.name,
        "owner": {"name": "The consortium-mcp maintainers"},
        "metadata": {"description": project.description},
        "plugins": [{"name": "consortium", "source": "./distribution/claude-code", "description": project.description}],
    }


def gemini_extension(project: Project) -> dict[str, Any]:
    """`gemini-extension.json` of the extension for Gemini CLI."""
    return {
        "name": "consortium",
        "version": project.version,
        "description": project.description,
        "mcpServers": {"consortium": uvx_entry(project)},
        "settings": [
            {
                "name": f"Key for {title}",
                "description": f"Leave it empty if you have none. It is {variable}.",
                "envVar": variable,
                "sensitive": True,
            }
            for variable, title in KEYS.items()
        ],
    }


SKILL = """---
name: consortium
description: >-
  Ask several language models one question and get one answer with its confidence and dissent. Use it before a
  decision that is costly to undo, for a second opinion, or where one model may be wrong.
---

# Ask a consortium

Several models answer independently. An arbiter reads all responses without names and returns one answer, a confidence
from 0 to 1, and the dissent.

## When

- A decision is costly to undo: a migration, a public API, a security rule.
- The user asks for a second opinion, a vote, or what other models think.
- You are unsure, and no search, test or calculation can settle it.

Do not use it for facts that you can look up, or where seconds count. A consult makes several paid calls.

## How

With the MCP server, call `consult_consortium`. Put everything that the question needs into `prompt`: members see
nothing else. Where there is no MCP server, use the command line:

```
uvx consortium-mcp models                              # what can be asked here
uvx consortium-mcp consult --dry-run "QUESTION"        # what it would do and cost
uvx consortium-mcp consult --json "QUESTION"
uvx consortium-mcp runs show RUN_ID                    # who said what
```

- The answer is on stdout; progress and confidence are on stderr. Exit status 1 is a failure, with one sentence.
- Text that is piped in comes before the question: `git diff | uvx consortium-mcp consult "What can go wrong here?"`.

## Read the result

- Say the confidence and the dissent with the answer. Do not hide a split.
- `degraded` says what is missing, as a member that failed. Repeat it.
- Agreement of models is evidence, not proof.
- No model can be used: tell the user to run `uvx consortium-mcp setup`.
"""


def _named(name: str, value: Any) -> dict[str, Any]:
    """A field; nothing where its value is unknown."""
    return {} if value is None else {name: value}
