"""A run as text for people: Markdown and HTML. Nothing is loaded or saved here."""
