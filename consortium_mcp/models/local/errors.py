"""The error of the embedded model; its message says what happened and what to do next."""


class LocalModelError(Exception):
    """The weights cannot be fetched or used, or the model could not answer a prompt."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        """The error type as in OpenAI's error bodies; None if OpenAI has no such type."""
