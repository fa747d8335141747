"""The names of saved consortiums: all that a starting server needs from the database."""

from consortium_mcp.store.part import Part, reads


class SavedNames(Part):
    """Lists the saved names."""

    @reads
    def list_names(self) -> list[str]:
        """The saved names in alphabetical order."""
        return [row["name"] for row in self.database.read("SELECT name FROM consortium_configs ORDER BY name")]
