"""A run becomes text for people, in Markdown or HTML; nothing is loaded or saved here."""
