"""Runs a command whose llm models belong to a provider with scripted behaviour.

    python -m tests.provider --seconds 150 node tests/clients/all.mjs

`member` and `arbiter` answer at once. `slow` answers the requests of the first `--seconds` when that time is over.
`unhurried` takes some seconds for each answer, `silent` never answers. `long` and `long-arbiter` answer 1.7 MB.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.provider import Fault, Provider, Reply, Script, verdict

LONG = " ".join(["word"] * 350_000)
"""An answer of 1.7 MB; at most 2,000,000 characters of an answer are kept."""

SCRIPTS: dict[str, Script] = {
    "member": "Paris.",
    "arbiter": verdict("Paris, says the arbiter."),
    "slow": "Paris, after all.",
    "unhurried": replace(Fault.slow(0.003), reply=Reply("Paris, byte by byte.")),
    "silent": Fault.hang(),
    "long": LONG,
    "long-arbiter": verdict(LONG),
}
"""The script of each model."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.provider", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, required=True, help="how long the first answers of `slow` take")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run, with LLM_USER_PATH set")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, Provider() as provider:
        for model, script in SCRIPTS.items():
            provider.on(model, script)
        _hold_back(provider, given.seconds)
        environment = os.environ | {"LLM_USER_PATH": str(_llm_folder(provider, Path(folder)))}
        status = subprocess.call(given.command, env=environment)
        print(f"The provider counted {provider.count()} questions, {provider.disconnects} hung up.")
        return status


def _llm_folder(provider: Provider, folder: Path) -> Path:
    return provider.write_llm_config(folder, SCRIPTS, schema=["arbiter", "long-arbiter"])


def _hold_back(provider: Provider, seconds: float) -> None:
    gate = provider.gate("slow")

    def open_in_time() -> None:
        provider.wait_until(lambda: bool(provider.requests_to("slow")), timeout=threading.TIMEOUT_MAX)
        threading.Timer(seconds, gate.open).start()

    threading.Thread(target=open_in_time, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
