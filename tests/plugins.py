"""Distributions installed for a test, as pip leaves them: modules, and the entry points by which they are found."""

from pathlib import Path


def install_plugin(folder: Path, name: str, source: str, entry_points: str | None = None) -> None:
    """A distribution of one module on the path; by default an llm plugin.

    Args:
        entry_points: the text of its `entry_points.txt`; None names the module in llm's group.
    """
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points or f"[llm]\n{name} = {name}\n")
