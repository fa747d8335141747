"""Runs a command whose llm models are a provider's, which holds its first answers back for a while.

    python -m tests.provider --seconds 150 node tests/clients/long_consult.mjs

The models are `member` and `arbiter`. Everything that `member` is asked within `--seconds` of its first question is
answered when they are over.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.provider import Provider, verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.provider", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, required=True, help="how long the first answers take")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run, with LLM_USER_PATH set")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, Provider() as provider:
        provider.on("arbiter", verdict("the answer that took its time"))
        _hold_back(provider, given.seconds)
        environment = os.environ | {"LLM_USER_PATH": str(_llm_folder(provider, Path(folder)))}
        status = subprocess.call(given.command, env=environment)
        print(f"The provider counted {provider.count('member')} questions to members, {provider.disconnects} hung up.")
        return status


def _llm_folder(provider: Provider, folder: Path) -> Path:
    return provider.write_llm_config(folder, ["member"], schema=["arbiter"])


def _hold_back(provider: Provider, seconds: float) -> None:
    gate = provider.gate("member")

    def open_in_time() -> None:
        provider.wait_until(lambda: bool(provider.requests_to("member")), timeout=threading.TIMEOUT_MAX)
        threading.Timer(seconds, gate.open).start()

    threading.Thread(target=open_in_time, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
