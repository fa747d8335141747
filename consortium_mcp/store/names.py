"""Which consortiums are saved, by name alone: all that a server that starts needs to know of the database."""

from consortium_mcp.store.database import DatabaseFile


class SavedNames(DatabaseFile):
    """The names of what is saved."""

    def list_consortium_names(self) -> list[str]:
        """The saved names in alphabetical order."""
        return [row["name"] for row in self.read("SELECT name FROM consortium_configs ORDER BY name")]
