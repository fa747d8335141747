"""Data of llm-consortium: its definition class, a row of it, and databases that its releases wrote."""

import gzip
from pathlib import Path

from pydantic import BaseModel

from consortium_mcp.records.consortium import Consortium, Member

DATABASES = Path(__file__).parent / "fixtures" / "llm_consortium"

SEED_ROW = {
    "models": {"llama3:8b": 2, "b": 1},
    "system_prompt": "Be brief.",
    "confidence_threshold": 0.9,
    "max_iterations": 4,
    "minimum_iterations": 2,
    "arbiter": "arbiter",
}
"""As `json.dumps(ConsortiumConfig(…).to_dict())` gave it in 0.3.2."""

SEED_CONSORTIUM = Consortium(
    members=(Member(model="llama3:8b", count=2), Member(model="b")),
    system_prompt="Be brief.",
    confidence_threshold=0.9,
    max_iterations=4,
    min_iterations=2,
    arbiter="arbiter",
)
"""The consortium of that row here."""


class SeedConfig(BaseModel):
    """`ConsortiumConfig` of llm-consortium 0.3.2, field by field: how it reads a saved row."""

    models: dict[str, int]
    system_prompt: str | None = None
    confidence_threshold: float = 0.8
    max_iterations: int = 3
    minimum_iterations: int = 1
    arbiter: str | None = None


def unpack(line: str, folder: Path) -> None:
    """Put the databases of a line of releases (`seed`: 0.3.2, `later`: 0.8.0) into llm's user folder."""
    for packed in (DATABASES / line).glob("*.gz"):
        (folder / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
