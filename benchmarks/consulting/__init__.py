"""The overhead of a consult above its critical path, alone and 128 at once, compared with other servers."""

from .measure import figures

__all__ = ["figures"]
