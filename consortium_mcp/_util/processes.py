"""Names of processes, with host, boot and start time, by which the end of a process on this machine is known."""

import os
import secrets
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

_PARTS = 6
"""The parts of a name: host, boot, namespace of process ids, process id, start time, and a mark."""


def own_name() -> str:
    """A new name for this process; if the system gives too little information, the name identifies only the host."""
    mark, pid = secrets.token_hex(4), os.getpid()
    return "/".join((*_machine(), str(pid), _start_of(pid) or "", mark))


def has_ended(name: str | None) -> bool:
    """Whether a process is known to have ended; False for one of another machine, or a name in an unknown form."""
    parts = (name or "").split("/")
    if len(parts) != _PARTS or not parts[4]:
        return False
    host, boot, namespace, pid, start, _ = parts
    own_host, own_boot, own_namespace = _machine()
    if (host, namespace) != (own_host, own_namespace):
        return False
    return boot != own_boot or _start_of(int(pid)) != start


@cache
def _machine() -> tuple[str, str, str]:
    """This host, its boot, and the namespace of its process ids; empty if unknown."""
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    return socket.gethostname().replace("/", "_"), boot, namespace


def _start_of(pid: int) -> str | None:
    """When a process began, in ticks since the boot; None if it does not exist or is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may contain blanks
    state, start = fields[0], fields[19]
    return None if state in "ZX" else start
