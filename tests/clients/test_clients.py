"""The scripts for clients that we did not write; `make test-clients` runs them, for it needs Node and takes minutes."""

import re
from pathlib import Path

CLIENTS = Path(__file__).parent


def test_the_readme_names_every_script() -> None:
    scripts = {path.name for path in CLIENTS.glob("*.mjs")} - {"all.mjs", "shared.mjs"}

    assert set(re.findall(r"^\| `(\w+\.mjs)` \|", (CLIENTS / "README.md").read_text(), re.MULTILINE)) == scripts
