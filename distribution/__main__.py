"""Writes every manifest file: `python -m distribution`."""

import json
from pathlib import Path
from typing import Any

from distribution import manifests
from distribution.project import ROOT, load_project


def files(root: Path = ROOT) -> dict[str, str]:
    """The content of each generated file, by its path in a checkout. `server.json` needs the repository's address."""
    project = load_project(root)
    return {
        **({"server.json": _json(manifests.registry_entry(project))} if project.mcp_name else {}),
        "distribution/mcpb/manifest.json": _json(manifests.bundle(project)),
        "distribution/mcpb/pyproject.toml": manifests.bundle_packages(project),
        "distribution/mcpb/server.py": manifests.BUNDLE_SERVER,
        ".claude-plugin/marketplace.json": _json(manifests.claude_marketplace(project)),
        "distribution/claude-code/.claude-plugin/plugin.json": _json(manifests.claude_plugin(project)),
        "distribution/claude-code/.mcp.json": _json({"mcpServers": {"consortium": manifests.uvx_entry(project)}}),
        "distribution/claude-code/skills/consortium/SKILL.md": manifests.SKILL,
        "distribution/gemini/gemini-extension.json": _json(manifests.gemini_extension(project)),
        "distribution/gemini/skills/consortium/SKILL.md": manifests.SKILL,
    }


def write(folder: Path = ROOT) -> None:
    """Write them into a checkout."""
    for path, text in files(folder).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write()
