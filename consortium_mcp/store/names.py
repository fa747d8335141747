"""Which consortiums are saved, by name alone: all that a server that starts needs to know of the database."""

from consortium_mcp.store.part import Part, reads


class SavedNames(Part):
    """The names of what is saved."""

    @reads
    def list_names(self) -> list[str]:
        """The saved names in alphabetical order."""
        return [row["name"] for row in self.database.read("SELECT name FROM consortium_configs ORDER BY name")]
