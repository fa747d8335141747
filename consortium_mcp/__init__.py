"""Ask a consortium of language models one question; get one answer that says how far to trust it."""

from typing import TYPE_CHECKING

from consortium_mcp._util.lazy import lazy_names

if TYPE_CHECKING:
    from consortium_mcp.api import (
        Event,
        consult,
        consult_events,
        consult_sync,
        create_consortium,
        export,
        list_runs,
        load_run,
    )
    from consortium_mcp.engine.judging import JudgingMethod, ReadsSchema
    from consortium_mcp.engine.judging.methods import Judge
    from consortium_mcp.engine.members import CallModel
    from consortium_mcp.engine.strategies import Strategy
    from consortium_mcp.errors import (
        BusyError,
        ConsortiumError,
        InvalidConsortiumError,
        ModelUnavailableError,
        NotFoundError,
        OutputError,
        ReadTooLongError,
        RunFailedError,
        StoreUnusableError,
    )
    from consortium_mcp.records import (
        AnswerPiece,
        Ask,
        Attachment,
        AttachmentFile,
        Ballots,
        Budget,
        CallId,
        CallProgress,
        CallResult,
        CallSpec,
        Claim,
        ErrorKind,
        Finding,
        Iteration,
        Measures,
        MemberResponse,
        Parent,
        Progress,
        RatedLevel,
        Run,
        Status,
        Trust,
        Turn,
        Usage,
        Verdict,
        Votes,
    )
    from consortium_mcp.records.consortium import Consortium, Member
    from consortium_mcp.records.request import ConsultRequest
    from consortium_mcp.reports.export import ExportFormat
    from consortium_mcp.service.runner import Runner
    from consortium_mcp.service.service import ConsortiumService
    from consortium_mcp.settings import Settings, load_settings

__all__ = [
    "AnswerPiece",
    "Ask",
    "Attachment",
    "AttachmentFile",
    "Ballots",
    "Budget",
    "BusyError",
    "CallId",
    "CallModel",
    "CallProgress",
    "CallResult",
    "CallSpec",
    "Claim",
    "Consortium",
    "ConsortiumError",
    "ConsortiumService",
    "ConsultRequest",
    "ErrorKind",
    "Event",
    "ExportFormat",
    "Finding",
    "InvalidConsortiumError",
    "Iteration",
    "Judge",
    "JudgingMethod",
    "Measures",
    "Member",
    "MemberResponse",
    "ModelUnavailableError",
    "NotFoundError",
    "OutputError",
    "Parent",
    "Progress",
    "RatedLevel",
    "ReadTooLongError",
    "ReadsSchema",
    "Run",
    "RunFailedError",
    "Runner",
    "Settings",
    "Status",
    "StoreUnusableError",
    "Strategy",
    "Trust",
    "Turn",
    "Usage",
    "Verdict",
    "Votes",
    "consult",
    "consult_events",
    "consult_sync",
    "create_consortium",
    "export",
    "list_runs",
    "load_run",
    "load_settings",
]

_HOMES = {  # imported when one of their names is first used, because every `llm` command imports this package
    "api": (
        "Event",
        "consult",
        "consult_events",
        "consult_sync",
        "create_consortium",
        "export",
        "list_runs",
        "load_run",
    ),
    "engine.judging": (
        "JudgingMethod",
        "ReadsSchema",
    ),
    "engine.judging.methods": ("Judge",),
    "engine.members": ("CallModel",),
    "engine.strategies": ("Strategy",),
    "records.request": ("ConsultRequest",),
    "errors": (
        "BusyError",
        "ConsortiumError",
        "InvalidConsortiumError",
        "ModelUnavailableError",
        "NotFoundError",
        "OutputError",
        "ReadTooLongError",
        "RunFailedError",
        "StoreUnusableError",
    ),
    "records": (
        "AnswerPiece",
        "Ask",
        "Attachment",
        "AttachmentFile",
        "Ballots",
        "Budget",
        "CallId",
        "CallProgress",
        "CallResult",
        "CallSpec",
        "Claim",
        "ErrorKind",
        "Finding",
        "Iteration",
        "Measures",
        "MemberResponse",
        "Parent",
        "Progress",
        "RatedLevel",
        "Run",
        "Status",
        "Trust",
        "Turn",
        "Usage",
        "Verdict",
        "Votes",
    ),
    "records.consortium": (
        "Consortium",
        "Member",
    ),
    "reports.export": ("ExportFormat",),
    "service.runner": ("Runner",),
    "service.service": ("ConsortiumService",),
    "settings": (
        "Settings",
        "load_settings",
    ),
}

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
