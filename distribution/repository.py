"""Write the repository's address into a checkout: `python -m distribution.repository OWNER/NAME`.

The release workflow does this before it builds. A checkout contains no address, so that each copy is correct.
"""

import re
import sys
from pathlib import Path

from distribution.__main__ import write
from distribution.project import ROOT, load_project

_GITHUB_NAME = r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+"
"""An owner and a repository, as GitHub's variable GITHUB_REPOSITORY has them."""


def write_address(name: str, root: Path = ROOT) -> None:
    """Name the repository in pyproject.toml, in the README and in every manifest.

    Raises:
        ValueError: the name is not OWNER/NAME, or the checkout has an address already.
    """
    if not re.fullmatch(_GITHUB_NAME, name):
        raise ValueError(f"{name!r} is not the name of a repository. Write it as OWNER/NAME.")
    project = load_project(root)
    if project.repository is not None:
        raise ValueError(f"pyproject.toml names {project.repository} already. Start from a clean checkout.")
    url, packages, readme = f"https://github.com/{name}", root / "pyproject.toml", root / "README.md"
    _replace(packages, _urls(packages.read_text(encoding="utf-8"), url))
    text = _absolute(readme.read_text(encoding="utf-8"), name, f"v{project.version}")
    _replace(readme, f"{text}\n<!-- mcp-name: {load_project(root).mcp_name} -->\n")
    write(root)


def _urls(packages: str, url: str) -> str:
    """pyproject.toml with the project's links."""
    links = {
        "Repository": url,
        "Documentation": f"{url}/tree/main/docs",
        "Changelog": f"{url}/blob/main/CHANGELOG.md",
        "Issues": f"{url}/issues",
    }
    lines = "".join(f'{title} = "{link}"\n' for title, link in links.items())
    return packages.replace("[project.scripts]\n", f"[project.urls]\n{lines}\n[project.scripts]\n", 1)


def _absolute(readme: str, name: str, tag: str) -> str:
    """The README as an index shows it: a link or a picture of the checkout is one of the tagged repository."""
    files, pictures = f"https://github.com/{name}/blob/{tag}/", f"https://raw.githubusercontent.com/{name}/{tag}/"
    released = re.sub(r"<!-- checkout: .*?<!-- /checkout -->\n\n", "", readme, flags=re.DOTALL)
    linked = re.sub(r"\]\((?!https://|#)", f"]({files}", released)
    return re.sub(r'\b(src|srcset)="(?!https://)', rf'\1="{pictures}', linked)


def _replace(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        write_address(sys.argv[1] if len(sys.argv) == 2 else "")
    except ValueError as error:
        sys.exit(str(error))
