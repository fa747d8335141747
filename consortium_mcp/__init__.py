"""Ask a consortium of language models one question; get one answer that says how far to trust it."""

from consortium_mcp.consortium import Consortium, Member
from consortium_mcp.consult import Consultancy, consult
from consortium_mcp.errors import (
    ConsortiumError,
    InvalidConsortium,
    ModelUnavailable,
    NotFound,
    RunFailed,
    StoreUnusable,
)
from consortium_mcp.run import Iteration, MemberResponse, Progress, Run, Turn, Usage, Verdict
from consortium_mcp.runner import Runner
from consortium_mcp.settings import Settings, load_settings

__all__ = [
    "Consortium",
    "ConsortiumError",
    "Consultancy",
    "InvalidConsortium",
    "Iteration",
    "Member",
    "MemberResponse",
    "ModelUnavailable",
    "NotFound",
    "Progress",
    "Run",
    "RunFailed",
    "Runner",
    "Settings",
    "StoreUnusable",
    "Turn",
    "Usage",
    "Verdict",
    "consult",
    "load_settings",
]
