"""What can be chosen by name: our own, and what other packages add by entry point; a broken one breaks no other."""

import importlib.metadata
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.text.masking import masked

logger = logging.getLogger(__name__)


class Named(Protocol):
    """Whatever is chosen by its name."""

    @property
    def name(self) -> str:
        """What a consortium calls it."""


T = TypeVar("T", bound=Named)


@dataclass(frozen=True)
class Registry(Mapping[str, T]):
    """Everything of one noun by its name, ours first."""

    noun: str
    """What they are called, as in `strategy`."""

    usable: Mapping[str, T]
    """Those that can be chosen."""

    broken: Mapping[str, str]
    """Whose it is and why it was left out, by the name of its entry point."""

    def __getitem__(self, name: str) -> T:
        return self.usable[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.usable)

    def __len__(self) -> int:
        return len(self.usable)

    def find(self, name: str) -> T:
        """The thing of that name. Raises InvalidConsortiumError, which names those that there are."""
        if name not in self.usable:
            raise InvalidConsortiumError(self.why_missing(name))
        return self.usable[name]

    def why_missing(self, name: str) -> str:
        """Why there is nothing of that name, and what there is."""
        sentence = f"There is no {self.noun} {name!r}. There are: {', '.join(self)}."
        if name in self.broken:
            sentence += f" The one of {self.broken[name]}; update that package."
        return sentence


def load_registry(noun: str, own: Sequence[T], group: str) -> Registry[T]:
    """Ours, and those that other packages name in a group of entry points; what is broken is logged and left out."""
    usable = {thing.name: thing for thing in own}
    broken: dict[str, str] = {}
    for entry_point in importlib.metadata.entry_points(group=group):
        try:
            thing = _load(entry_point, type(own[0]))
            if usable.setdefault(thing.name, thing) is not thing:
                raise ValueError(f"the name {thing.name!r} is taken")
        except Exception as error:  # foreign code: its failure is not ours
            package = entry_point.dist.name if entry_point.dist else entry_point.value
            broken[entry_point.name] = masked(f"{package} is left out ({type(error).__name__}: {error})")
            logger.warning("The %s %r of %s", noun, entry_point.name, broken[entry_point.name])
    return Registry(noun, usable, broken)


def _load(entry_point: importlib.metadata.EntryPoint, kind: type[T]) -> T:
    thing = entry_point.load()
    if not isinstance(thing, kind) or not isinstance(thing.name, str):
        raise TypeError(f"{entry_point.value} is no {kind.__name__} with a name")
    return thing
