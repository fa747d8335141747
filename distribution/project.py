"""The facts that every manifest repeats, read from their single sources."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent

PLUGINS = ("llm-anthropic", "llm-gemini", "llm-mistral", "llm-ollama", "llm-openrouter")
"""llm plugins in a bundle, so that a user only adds a key."""

KEYS = {
    "OPENAI_API_KEY": "OpenAI",
    "ANTHROPIC_API_KEY": "Anthropic",
    "LLM_GEMINI_KEY": "Google Gemini",
    "LLM_MISTRAL_KEY": "Mistral",
    "OPENROUTER_KEY": "OpenRouter",
}
"""The variables with keys for these plugins and for llm itself, and their providers."""


@dataclass(frozen=True)
class Project:
    """The facts from pyproject.toml and the tools' definitions."""

    name: str
    """Its name for pip."""

    version: str
    """The release."""

    description: str
    """One sentence of at most 100 characters."""

    license: str
    """Its SPDX expression."""

    keywords: tuple[str, ...]
    """Its search terms."""

    repository: str | None
    """The URL of the source; None until a release writes it (`distribution.repository`)."""

    tools: tuple[tuple[str, str], ...]
    """Name and first sentence of each MCP tool."""

    @property
    def mcp_name(self) -> str | None:
        """Its name in the MCP registry, whose namespace is the owner of the repository; None without a repository."""
        if self.repository is None:
            return None
        owner, name = urlsplit(self.repository).path.strip("/").split("/")
        return f"io.github.{owner}/{name}"


def load_project(root: Path = ROOT) -> Project:
    """Read the facts of a checkout."""
    read = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tools = json.loads((root / "consortium_mcp" / "server" / "tools.json").read_text(encoding="utf-8"))
    return Project(
        name=read["name"],
        version=read["version"],
        description=read["description"],
        license=read["license"],
        keywords=tuple(read["keywords"]),
        repository=read.get("urls", {}).get("Repository"),
        tools=tuple((tool["name"], _first_sentence(tool["description"])) for tool in tools),
    )


def _first_sentence(text: str) -> str:
    return text.split("\n")[0].split(". ")[0].rstrip(".") + "."
