"""The files for catalogues and hosts: `python -m distribution` writes each from pyproject.toml."""
