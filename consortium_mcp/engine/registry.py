"""Finds items by name: ours, and those of other packages; a broken item is left out."""

import importlib.metadata
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.text.masking import masked

logger = logging.getLogger(__name__)


class Named(Protocol):
    """An item with a name."""

    @property
    def name(self) -> str:
        """The name in a consortium."""


T = TypeVar("T", bound=Named)


@dataclass(frozen=True)
class Registry(Mapping[str, T]):
    """All items of one kind by name, ours first."""

    noun: str
    """The noun for an item, as `strategy`."""

    usable: Mapping[str, T]
    """The usable items by name."""

    broken: Mapping[str, str]
    """The package and the reason for each broken item, by entry point."""

    def __getitem__(self, name: str) -> T:
        return self.usable[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.usable)

    def __len__(self) -> int:
        return len(self.usable)

    def find(self, name: str) -> T:
        """The item with that name. Raises InvalidConsortiumError, which lists the known names."""
        if name not in self.usable:
            raise InvalidConsortiumError(self.why_missing(name))
        return self.usable[name]

    def why_missing(self, name: str) -> str:
        """The sentence that no item has this name, with the known names."""
        sentence = f"There is no {self.noun} {name!r}. There are: {', '.join(self)}."
        if name in self.broken:
            sentence += f" The {self.noun} of {self.broken[name]}; update that package."
        return sentence


def load_registry(noun: str, own: Sequence[T], group: str) -> Registry[T]:
    """Ours, and those that other packages list in a group of entry points; a broken one is logged and left out."""
    usable = {thing.name: thing for thing in own}
    broken: dict[str, str] = {}
    for entry_point in importlib.metadata.entry_points(group=group):
        try:
            thing = _load(entry_point, type(own[0]))
            if usable.setdefault(thing.name, thing) is not thing:
                raise ValueError(f"the name {thing.name!r} is already taken")
        except Exception as error:  # foreign code: its failure must not stop ours
            package = entry_point.dist.name if entry_point.dist else entry_point.value
            broken[entry_point.name] = masked(f"{package} is left out ({type(error).__name__}: {error})")
            logger.warning("The %s %r of %s", noun, entry_point.name, broken[entry_point.name])
    return Registry(noun, usable, broken)


def _load(entry_point: importlib.metadata.EntryPoint, kind: type[T]) -> T:
    thing = entry_point.load()
    if not isinstance(thing, kind) or not isinstance(thing.name, str):
        raise TypeError(f"{entry_point.value} is not a {kind.__name__} with a name")
    return thing
