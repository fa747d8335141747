"""Attachments: read within the caller's access, and checked against the members, before any paid call."""
