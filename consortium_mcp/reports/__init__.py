"""Turns a run into text for people, in Markdown or HTML; it loads and saves nothing."""
