"""Packs the MCP bundle into `dist/`; the same files give the same bytes."""

import zipfile
from pathlib import Path

from distribution.project import ROOT, load_project

_TIME = (2020, 1, 1, 0, 0, 0)
"""The modification time of each file in the bundle."""


def pack(target: Path = ROOT / "dist") -> Path:
    """Write the bundle; returns its path."""
    project, source = load_project(), ROOT / "distribution" / "mcpb"
    target.mkdir(exist_ok=True)
    path = target / f"{project.name}-{project.version}.mcpb"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in ("manifest.json", "pyproject.toml", "server.py"):
            packed.writestr(zipfile.ZipInfo(file, _TIME), (source / file).read_bytes())
    return path


if __name__ == "__main__":
    print(pack())
