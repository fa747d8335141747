"""What catalogues and hosts read of us: `python -m distribution` writes each file from pyproject.toml."""
