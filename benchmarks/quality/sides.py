"""The compared sides: simulated members under every judging method, the embedded model, or named models."""

from collections.abc import Sequence
from itertools import product

from benchmarks.quality.evaluate import Side, single
from benchmarks.quality.predicted import predicted
from benchmarks.quality.simulated import ARBITERS, Simulation
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.models.local import LOCAL_MODEL_ID
from consortium_mcp.records.consortium import Consortium

LOCAL_OPTIONS = {"temperature": 0.7, "max_tokens": 160}
"""A temperature at which three instances differ; at the model's own 0.2 they answer equally."""

LOCAL_INSTANCES = 3


def comparable_methods() -> list[str]:
    """The judging methods for questions with one answer; the others need a special form of response."""
    return [name for name, method in judging_methods().items() if method.prepare is None]


def simulated_sides(simulation: Simulation, methods: Sequence[str]) -> list[Side]:
    """A single member, and all members under each method, once for each needed arbiter."""
    members = [{"model": name} for name in simulation.member_names]
    sides = [Side(name="single", consortium=single(members[0]["model"]), predicted=predicted(simulation, "single"))]
    for method in methods:
        for judge in ARBITERS if judging_methods()[method].needs_arbiter else (None,):
            rules = {"judging_method": method, "max_iterations": 1, "arbiter": ARBITERS[judge] if judge else None}
            side = Side(
                name=f"{method}, arbiter {judge}" if judge else method,
                consortium=Consortium.model_validate({"members": members, **rules}),
                predicted=predicted(simulation, method, judge),
            )
            sides.append(side)
    return sides


def local_sides(methods: Sequence[str]) -> list[Side]:
    """One instance of the embedded model, and several under each method, with the same model as arbiter."""
    member = {"model": LOCAL_MODEL_ID, "options": LOCAL_OPTIONS}
    sides = [Side(name=LOCAL_MODEL_ID, consortium=single(LOCAL_MODEL_ID, members=[member]))]
    for method in methods:
        rules = {"judging_method": method, "max_iterations": 1}
        consortium = Consortium.model_validate({"members": [{**member, "count": LOCAL_INSTANCES}], **rules})
        sides.append(Side(name=f"{LOCAL_INSTANCES} of it, {method}", consortium=consortium))
    return sides


def named_sides(models: Sequence[str], consortiums: dict[str, Consortium], methods: Sequence[str]) -> list[Side]:
    """Each model alone, and each consortium, with its own rules or under each given method."""
    sides = [Side(name=model, consortium=single(model)) for model in models]
    if not methods:
        return sides + [Side(name=name, consortium=consortium) for name, consortium in consortiums.items()]
    for (name, consortium), method in product(consortiums.items(), methods):
        changed = consortium.model_copy(update={"judging_method": method})
        sides.append(Side(name=f"{name}, {method}", consortium=changed))
    return sides
