"""What a consult costs above its critical path, alone and 128 at once, beside servers that do less, and others."""

from .measure import figures

__all__ = ["figures"]
