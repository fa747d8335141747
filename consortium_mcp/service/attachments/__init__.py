"""Attachments: read where their caller may read, checked against the members, before anything is paid for."""
