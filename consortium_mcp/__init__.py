"""Ask a consortium of language models one question; get one answer that says how far to trust it."""

from typing import TYPE_CHECKING

from consortium_mcp._util.lazy import lazy_names

if TYPE_CHECKING:
    from consortium_mcp.api import Event, consult, consult_events, consult_sync, create_consortium
    from consortium_mcp.errors import (
        ConsortiumError,
        InvalidConsortiumError,
        ModelUnavailableError,
        NotFoundError,
        RunFailedError,
        StoreUnusableError,
    )
    from consortium_mcp.records import (
        AnswerPiece,
        Budget,
        Iteration,
        MemberResponse,
        Progress,
        Run,
        Turn,
        Usage,
        Verdict,
    )
    from consortium_mcp.records.consortium import Consortium, Member
    from consortium_mcp.records.request import ConsultRequest
    from consortium_mcp.service.runner import Runner
    from consortium_mcp.service.service import ConsortiumService
    from consortium_mcp.settings import Settings, load_settings

__all__ = [
    "AnswerPiece",
    "Budget",
    "Consortium",
    "ConsortiumError",
    "ConsortiumService",
    "ConsultRequest",
    "Event",
    "InvalidConsortiumError",
    "Iteration",
    "Member",
    "MemberResponse",
    "ModelUnavailableError",
    "NotFoundError",
    "Progress",
    "Run",
    "RunFailedError",
    "Runner",
    "Settings",
    "StoreUnusableError",
    "Turn",
    "Usage",
    "Verdict",
    "consult",
    "consult_events",
    "consult_sync",
    "create_consortium",
    "load_settings",
]

_HOMES = {  # imported when one of their names is first used: every `llm` command imports us
    "api": ("Event", "consult", "consult_events", "consult_sync", "create_consortium"),
    "records.consortium": ("Consortium", "Member"),
    "records.request": ("ConsultRequest",),
    "service.service": ("ConsortiumService",),
    "errors": (
        "ConsortiumError",
        "InvalidConsortiumError",
        "ModelUnavailableError",
        "NotFoundError",
        "RunFailedError",
        "StoreUnusableError",
    ),
    "records": (
        "AnswerPiece",
        "Budget",
        "Iteration",
        "MemberResponse",
        "Progress",
        "Run",
        "Turn",
        "Usage",
        "Verdict",
    ),
    "service.runner": ("Runner",),
    "settings": ("Settings", "load_settings"),
}

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
