"""The image without Docker: built and run by podman, as docs/serving.md says: `python -m tests.clients.image`.

It needs Linux, root, podman, crun and debootstrap, and takes minutes. Debian with its own Python stands for the base
image, so no image registry is asked. The container runs as compose.yaml says: read-only, without capabilities, with
the token file. A client consults through it; the vendor is a server on this machine, and its plugin is real. The output
is written into docs/serving.md.
"""

import argparse
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import anyio
import yaml
from mcp import Client, StdioServerParameters, stdio_client

from tests.clients.plugin_endpoint import Endpoint, serving
from tests.clients.plugin_replies import ANTHROPIC
from tests.doors.test_readme import with_part
from tests.paths import ROOT
from tests.server_process import http_client, structured

IMAGE = "localhost/consortium-mcp"
PLUGIN = "llm-anthropic"
MODEL = "anthropic/claude-sonnet-4-5"
TOKEN = "a token of the example"
URL = "http://127.0.0.1:8000"
DATA = "consortium-data:/data"
CGROUPS = Path("/sys/fs/cgroup")


class Report:
    """What the docs show."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        """Print a line and keep it."""
        print(line, flush=True)
        self.lines.append(line)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Say how long a step took."""
        begun = time.monotonic()
        yield
        self.say(f"{time.monotonic() - begun:6.1f} s  {step}")


class Podman:
    """podman with images and containers in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._command = ["podman", "--root", str(folder / "images"), "--runroot", str(folder / "running")]

    def command(self, *words: str | Path) -> list[str]:
        """The command of a container or an image."""
        # crun refuses a machine with both kinds of control groups. An empty folder hides them from it alone.
        hiding = f'mount -t tmpfs none {CGROUPS} && exec "$@"'
        hidden = ["unshare", "--mount", "sh", "-c", hiding, "sh"] if (CGROUPS / "unified").exists() else []
        return [*hidden, *self._command, *map(str, words)]

    def run(self, *words: str | Path) -> str:
        """What a command of podman prints; its errors stay visible."""
        return subprocess.run(self.command(*words), check=True, stdout=subprocess.PIPE, text=True).stdout

    def of_container(self, *words: str, environment: dict[str, str] | None = None) -> list[str]:
        """The words that start the image as compose.yaml does, on this machine's network."""
        service = compose_service()
        assert service["read_only"] is True
        limits = [
            word
            for name, kind in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
            for word in ("--ulimit", f"{name}={bounded(kind)}:{bounded(kind)}")
        ]
        safety = [
            *("--read-only", "--volume", DATA),
            *(word for folder in service["tmpfs"] for word in ("--tmpfs", folder)),
            *(word for name in service["cap_drop"] for word in ("--cap-drop", name)),
            *(word for name in service["security_opt"] for word in ("--security-opt", name.removesuffix(":true"))),
        ]
        variables = [word for pair in (environment or {}).items() for word in ("--env", "=".join(pair))]
        here = ["--network", "host", "--cgroups", "disabled", "--no-healthcheck", "--rm", *limits]
        return self.command("run", *here, *safety, *variables, *words)


def bounded(kind: int) -> int:
    """A limit that this process may hand on without a capability."""
    soft, _ = resource.getrlimit(kind)
    return 1024 if soft == resource.RLIM_INFINITY else min(soft // 2, 4096)


def compose_service() -> dict[str, Any]:
    """The service of compose.yaml."""
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["consortium"])


def base_name() -> str:
    """The base image of the Dockerfile."""
    (name,) = set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    return f"docker.io/library/{name}"


def make_base(podman: Podman, folder: Path, suite: str, mirror: str) -> None:
    """Import Debian with Python under the base image's name."""
    packages = "python3,python3-venv,python-is-python3,ca-certificates"
    made = ["debootstrap", "--variant=minbase", f"--include={packages}", suite, str(folder / "debian"), mirror]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["tar", "-C", folder / "debian", "-cf", folder / "base.tar", "."], check=True)
    podman.run("import", "--quiet", folder / "base.tar", base_name())


def build(podman: Podman) -> None:
    """Build the Dockerfile with a plugin. pip trusts the certificates that this machine trusts."""
    words = ["build", "--pull=never", "--isolation", "chroot", "--format", "docker", "--quiet", "--tag", IMAGE]
    mounted = ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    podman.run(*words, *mounted, "--build-arg", f"PLUGINS={PLUGIN}", ROOT)


def status_of(path: str, headers: dict[str, str] | None = None) -> int:
    """The HTTP status of a path; 0 where no server listens."""
    try:
        with urlopen(Request(URL + path, headers=headers or {}), timeout=5) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except URLError:
        return 0


async def consult() -> dict[str, Any]:
    """Consult through the container as a caller with a token."""
    async with http_client(f"{URL}/mcp", "auto", TOKEN) as client:
        arguments = {"prompt": "What is the capital of France?", "models": [f"{MODEL}:3"], "judging_method": "vote"}
        return structured(await client.call_tool("consult_consortium", {**arguments, "wait_seconds": 60}))


async def tools_over_stdio(command: Sequence[str]) -> int:
    """How many tools the image lists to a client that starts it."""
    async with Client(stdio_client(StdioServerParameters(command=command[0], args=list(command[1:])))) as client:
        return len((await client.list_tools()).tools)


def shell(podman: Podman, script: str) -> str:
    """What a shell in a container of the image prints."""
    command = podman.of_container("--entrypoint", "sh", IMAGE, "-c", script)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def serve(podman: Podman, report: Report, folder: Path) -> None:
    """Start the team's server, consult through it, and stop it."""
    tokens = folder / "tokens"
    tokens.write_text(f"ann:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    tokens.chmod(0o444)
    vendor = Endpoint(ANTHROPIC)
    vendor.answer = ANTHROPIC.text(["Paris."])
    with serving(vendor.serve) as urls:
        fixed = {name: str(value) for name, value in compose_service()["environment"].items() if value is not None}
        environment = {
            **fixed,
            "CONSORTIUM_ALLOWED_HOSTS": "127.0.0.1:8000",
            "ANTHROPIC_API_KEY": "sk-recorded",
            "ANTHROPIC_BASE_URL": urls[0],
        }
        mounted = f"{tokens}:{fixed['CONSORTIUM_TOKEN_FILE']}:ro"
        begun = time.monotonic()
        server = subprocess.Popen(podman.of_container("--volume", mounted, IMAGE, environment=environment))
        while status_of("/readyz") != 200:
            assert server.poll() is None and time.monotonic() - begun < 60, "the server is not ready"
            time.sleep(0.05)
        report.say(f"{time.monotonic() - begun:6.1f} s  read-only container: /readyz answers 200")
        report.say(f"          /mcp without a token answers {status_of('/mcp')}")
        with report.timed("a consult over HTTP with a token"):
            answer = anyio.run(consult)
        members = ", ".join(one["label"] for one in answer["responses"])
        report.say(f"          {answer['answer']} {answer['confidence']:.2f} ({members})")
        assert len(vendor.asked) == 3 and not answer["degraded"]
        with report.timed("SIGTERM to the end of the server"):
            server.terminate()
            status = server.wait(timeout=60)
        report.say(f"          exit status {status}")


def main(folder: Path, suite: str, mirror: str) -> str:
    """Every step; what it printed."""
    podman, report = Podman(folder), Report()
    with report.timed(f"base: Debian {suite} with its Python"):
        make_base(podman, folder, suite, mirror)
    with report.timed(f"podman build --build-arg PLUGINS={PLUGIN}"):
        build(podman)
    (shown,) = json.loads(podman.run("image", "inspect", IMAGE))
    (under,) = json.loads(podman.run("image", "inspect", base_name()))
    report.say(
        f"          {(shown['Size'] - under['Size']) / 1e6:.0f} MB above the base, user {shown['Config']['User']}"
    )
    version = shell(podman, "python --version; touch /opt/x 2>&1; touch /data/x && echo '/data: can be written'")
    for line in version.splitlines():
        report.say(f"          {line}")
    serve(podman, report, folder)
    with report.timed("tools/list of `podman run --interactive IMAGE serve`, as a client starts it"):
        tools = anyio.run(tools_over_stdio, podman.of_container("--interactive", IMAGE, "serve"))
    report.say(f"          {tools} tools")
    return "\n".join(["```", *report.lines, "```"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="trixie", help="Debian's suite with the Python of the Dockerfile")
    parser.add_argument("--mirror", default="http://deb.debian.org/debian", help="where its packages come from")
    given = parser.parse_args()
    missing = [name for name in ("podman", "crun", "debootstrap", "tar") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        sys.exit(f"It must run as root, with podman, crun and debootstrap. Missing: {', '.join(missing) or 'root'}.")
    with tempfile.TemporaryDirectory() as made:
        printed = main(Path(made), given.suite, given.mirror)
    page = ROOT / "docs" / "serving.md"
    page.write_text(with_part(page.read_text(), "image", printed))
