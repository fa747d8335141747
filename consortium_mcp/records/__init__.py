"""Frozen records of requests and results; they know neither the database nor how a model is called."""

from typing import TYPE_CHECKING

from consortium_mcp._util.lazy import lazy_names

if TYPE_CHECKING:
    from consortium_mcp.records.attachment import Attachment, AttachmentFile
    from consortium_mcp.records.call import Ask, CallId, CallResult, CallSpec, ErrorKind, Turn, now_utc
    from consortium_mcp.records.iteration import Iteration, Measures
    from consortium_mcp.records.progress import AnswerPiece, CallProgress, Progress
    from consortium_mcp.records.response import MemberResponse
    from consortium_mcp.records.run import LONGEST_NOTE, Budget, Parent, Rating, Run, RunOutline, Status, Usage
    from consortium_mcp.records.trust import RatedLevel, TrackRecord, Trust
    from consortium_mcp.records.verdict import Ballots, Claim, Finding, Verdict, Votes

__all__ = [
    "LONGEST_NOTE",
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
    "Rating",
    "Run",
    "RunOutline",
    "Status",
    "TrackRecord",
    "Trust",
    "Turn",
    "Usage",
    "Verdict",
    "Votes",
    "now_utc",
]

_HOMES = {  # imported when one of their names is first used: uris and roles are needed before the first record
    "attachment": (
        "Attachment",
        "AttachmentFile",
    ),
    "call": (
        "Ask",
        "CallId",
        "CallResult",
        "CallSpec",
        "ErrorKind",
        "Turn",
        "now_utc",
    ),
    "run": (
        "LONGEST_NOTE",
        "Budget",
        "Parent",
        "Rating",
        "Run",
        "RunOutline",
        "Status",
        "Usage",
    ),
    "iteration": (
        "Iteration",
        "Measures",
    ),
    "progress": (
        "AnswerPiece",
        "CallProgress",
        "Progress",
    ),
    "response": ("MemberResponse",),
    "trust": (
        "RatedLevel",
        "TrackRecord",
        "Trust",
    ),
    "verdict": (
        "Ballots",
        "Claim",
        "Finding",
        "Verdict",
        "Votes",
    ),
}

__getattr__ = lazy_names(__name__, _HOMES)
