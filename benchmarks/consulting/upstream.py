"""llm-consortium in its own environment, behind a minimal MCP server, for comparison.

python benchmarks/consulting/upstream.py, with that environment's Python
"""

import subprocess
import sys
import venv
from pathlib import Path

INSTALLED = ("llm-consortium==0.8", "scikit-learn", "mcp>=2.3,<3")
"""The packages to install; it imports scikit-learn without declaring it."""


def environment(folder: Path) -> str:
    """The Python of a new virtual environment with llm-consortium and the MCP SDK."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-qq", *INSTALLED], check=True)
    return python


def main() -> None:
    """Serve over stdio."""
    import click  # only that environment has these

    Path(click.get_app_dir("io.datasette.llm")).mkdir(parents=True, exist_ok=True)  # without it, the import fails
    from llm_consortium import create_consortium
    from mcp.server import MCPServer

    server = MCPServer("llm-consortium", log_level="WARNING")

    @server.tool()
    def consult(prompt: str, members: int) -> str:
        """One consult of one iteration; the SDK runs it in a thread."""
        consortium = create_consortium([f"member:{members}"], arbiter="arbiter", max_iterations=1)
        return str(consortium.orchestrate(prompt))

    server.run()


if __name__ == "__main__":
    main()
    sys.exit()
