"""llm's embedding models: whether one can be used, and how similar texts are in meaning."""

import math
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from operator import mul
from typing import TYPE_CHECKING

import anyio

from consortium_mcp._util.lazy import llm
from consortium_mcp._util.threads import in_thread
from consortium_mcp.errors import ModelUnavailableError
from consortium_mcp.text.masking import masked

if TYPE_CHECKING:
    from llm.models import EmbeddingModel

EMBEDDING_SECONDS = 20
"""The timeout for embedding texts."""


def load_embedding_model(name: str, allowed: Iterable[str] = ()) -> "EmbeddingModel":
    """The embedding model with this id or alias, ready to be called.

    Args:
        allowed: patterns of ids that may be used; none means all.

    Raises:
        ModelUnavailableError: it is unknown, has no key, or is not allowed here; the message says what to do.
    """
    try:
        model: EmbeddingModel = llm.get_embedding_model(name)
        model.get_key()
    except llm.UnknownModelError:
        raise ModelUnavailableError(
            f"llm knows no embedding model {name!r}. `llm embed-models` lists the known ones; `llm install` adds more."
        ) from None
    except Exception as error:  # llm asks all plugins for their models: a missing key, or a broken plugin
        raise ModelUnavailableError(masked(f"The embedding model {name!r} cannot be used: {error}.")) from error
    patterns = list(allowed)
    if patterns and not any(fnmatchcase(model.model_id, pattern) for pattern in patterns):
        raise ModelUnavailableError(
            f"The embedding model {model.model_id!r} is not allowed here; allowed: {', '.join(patterns)} "
            "(CONSORTIUM_ALLOWED_MODELS)."
        )
    return model


async def embed(name: str, texts: Sequence[str]) -> list[list[float]]:
    """A vector for each text. Raises ModelUnavailableError at any failure."""
    try:
        with anyio.fail_after(EMBEDDING_SECONDS):
            vectors = await in_thread(lambda: list(load_embedding_model(name).embed_multi(texts)))
    except TimeoutError as error:
        raise ModelUnavailableError(f"it gave no vectors within {EMBEDDING_SECONDS} seconds") from error
    except Exception as error:  # an exception of a plugin's code is not our failure
        raise ModelUnavailableError(masked(f"{type(error).__name__}: {error}")) from error
    if len(vectors) != len(texts) or len({len(vector) for vector in vectors}) > 1:
        raise ModelUnavailableError(f"it gave {len(vectors)} vectors of unequal lengths for {len(texts)} texts")
    return vectors


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors, from -1.0 to 1.0; 0.0 if one vector is zero."""
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(map(mul, one, other)) / lengths if lengths else 0.0
