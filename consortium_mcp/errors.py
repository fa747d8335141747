"""The few kinds of failure; each message says what happened, with which name, and what to do next."""


class ConsortiumError(Exception):
    """Something went wrong that the caller can understand and mend; the message is the whole story."""


class InvalidConsortiumError(ConsortiumError):
    """A definition breaks a rule: a count below 1, a threshold above 100, a consortium inside itself."""


class NotFoundError(ConsortiumError):
    """Nothing is stored under that name or id."""


class ModelUnavailableError(ConsortiumError):
    """A model cannot be called now: unknown, without its key, or behind a broken plugin."""


class BusyError(ConsortiumError):
    """Too much is asked at once, or a caller's share is used up; the message says when to come back."""


class RunFailedError(ConsortiumError):
    """A run ended without an answer; its record is kept under `run_id`."""

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class StoreUnusableError(ConsortiumError):
    """The database cannot be opened, read or written."""


class ReadTooLongError(StoreUnusableError):
    """What was to be read of the database took too long."""
