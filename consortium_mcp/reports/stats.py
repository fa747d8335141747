"""Statistics as text: the calibration of confidences, and the figures of each member."""

from consortium_mcp._util.counts import counted
from consortium_mcp.engine.trust import effective_votes
from consortium_mcp.records.trust import PairRecord
from consortium_mcp.service.stats import MemberStats, Reliability, Stats


def stats_text(stats: Stats) -> str:
    """Statistics as lines of text."""
    lines = ["Confidence, as shown and as rated:"]
    for one in stats.calibration:
        lines.append(f"  {one.consortium}, judged by {one.arbiter}: {one.rated} rated, Brier score {one.brier:.3f}")
        lines += [f"    {_band_text(band)}" for band in one.reliability]
        if one.correlation is not None:
            lines.append(f"    {_correlation_text(one.correlation)}")
    if not stats.calibration:
        lines.append("  no run is rated yet; `consortium-mcp runs rate RUN --correct` or --wrong rates one")
    lines.append("Members:")
    lines += [f"  {_member_text(member)}" for member in stats.members]
    if stats.pairs:
        lines.append("Pairs of models:")
        lines += [f"  {_pair_text(pair)}" for pair in stats.pairs]
    return "\n".join(lines)


def _pair_text(pair: PairRecord) -> str:
    """The correlation of two models' errors, on one line."""
    one, other = pair.models
    return f"{one} and {other}: errors are correlated with {pair.correlation:.2f} ({counted(pair.runs, 'run')})"


def _band_text(band: Reliability) -> str:
    """A band of confidence and its ratings, with a bar for their mean score."""
    return f"confidence {band.confidence}: true {band.true:.2f} ({band.runs}) {'#' * round(band.true * 20)}".rstrip()


def _correlation_text(correlation: float) -> str:
    votes = effective_votes(5, correlation)
    return f"errors of members are correlated with {correlation:.2f}: 5 votes count as {votes:.1f}"


def _member_text(member: MemberStats) -> str:
    """The figures of one model as a member, on one line."""
    failed = "" if member.error_rate is None else f", {member.error_rate:.0%} failed"
    seconds = "duration unknown" if member.mean_duration_ms is None else f"{member.mean_duration_ms / 1000:.1f} s"
    cost = "cost unknown" if member.cost_usd is None else f"${member.cost_usd:.4f}"
    if member.cost_usd is not None and member.unpriced:
        cost += f" and {counted(member.unpriced, 'call')} of unknown cost"
    stated = "" if member.stated_confidence is None else f", own confidence {member.stated_confidence:.2f}"
    return (
        f"{member.model}: {counted(member.responses, 'response')}{failed}, {seconds}, {cost}{stated}, "
        f"chosen {member.chosen}, alone {member.alone}, {_wrong(member)}"
    )


def _wrong(member: MemberStats) -> str:
    """How often a member was wrong in rated runs, and how often that is unknown."""
    wrong = "wrong unknown" if member.wrong is None else f"wrong {member.wrong}"
    return f"{wrong} ({member.not_comparable} not comparable)" if member.not_comparable else wrong
