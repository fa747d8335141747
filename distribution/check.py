"""Checks the result of `make dist`: the wheel in a fresh environment of each Python here, and a release's facts.

python -m distribution.check
python -m distribution.check --release v0.1.0
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from distribution.project import ROOT, load_project

PYTHONS = ("python3.11", "python3.12", "python3.13", "python3.14")

LIST_TOOLS = """
import sys, anyio
from mcp import Client, StdioServerParameters, stdio_client

async def main():
    async with Client(stdio_client(StdioServerParameters(command=sys.argv[1]))) as client:
        print(len((await client.list_tools()).tools), "tools")

anyio.run(main)
"""


def try_wheel(wheel: Path, python: str) -> str:
    """Install the wheel into a fresh environment and start its server; returns the number of tools."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        programs = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin")
        own = {"LLM_USER_PATH": str(Path(folder) / "llm"), "HOME": folder, "PATH": str(programs)}
        subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", wheel], check=True)
        subprocess.run([programs / "consortium-mcp", "models"], check=True, env=own, stdout=subprocess.DEVNULL)
        asked: list[str | Path] = [programs / "python", "-c", LIST_TOOLS, str(programs / "consortium-mcp")]
        done = subprocess.run(asked, check=True, env=own, capture_output=True, text=True)
        return str(done.stdout).strip()


def pythons() -> list[str]:
    """The supported Pythons on this machine; the current one if there is no other."""
    found = [path for name in PYTHONS if (path := shutil.which(name))]
    starting = [path for path in found if subprocess.run([path, "--version"], capture_output=True).returncode == 0]
    return starting or [sys.executable]


def release_problems(tag: str) -> list[str]:
    """Why a tag cannot be released, one sentence each; empty if it can."""
    project, changes = load_project(), (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    problems = []
    if tag != f"v{project.version}":
        problems.append(f"The tag is {tag}, and the version {project.version}.")
    if not re.search(rf"^## \[{re.escape(project.version)}\]", changes, re.MULTILINE):
        problems.append(f"CHANGELOG.md has no heading for {project.version}.")
    if project.repository is None:
        problems.append("pyproject.toml names no repository. Run `python -m distribution.repository OWNER/NAME`.")
    return problems


def main(arguments: list[str]) -> None:
    """Check the wheel, or a release."""
    if arguments[:1] == ["--release"]:
        sys.exit("\n".join(release_problems(arguments[1])) or 0)
    (wheel,) = (ROOT / "dist").glob("*.whl")
    for python in pythons():
        print(f"{python}: {try_wheel(wheel, python)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
