"""The installation examined: what works, what does not, and what mends it. Asks a model only where told to."""

from consortium_mcp.installation.doctor.check import Check
from consortium_mcp.installation.doctor.examination import examine

__all__ = ["Check", "examine"]
