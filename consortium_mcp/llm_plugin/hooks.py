"""llm's hooks: registers the embedded model and saved consortiums as models, and `llm consortium …`.

Every `llm` command imports this module, most of them for nothing: whatever is slow waits in another one.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
import llm

from consortium_mcp._util.lazy import LazyModule
from consortium_mcp.cli import llm_group

if TYPE_CHECKING:
    import consortium_mcp.llm_plugin.models as llm_models
else:
    llm_models = LazyModule("consortium_mcp.llm_plugin.models")


@llm.hookimpl(trylast=True)  # so that `llm consortium` is ours even if llm-consortium is installed
def register_commands(cli: click.Group) -> None:
    """Add every command under `llm consortium`; the default is `consult`."""
    cli.add_command(llm_group)


@llm.hookimpl(trylast=True)
def register_models(register: Callable[..., None], model_aliases: list[Any]) -> None:
    """Register the embedded model and each saved consortium, after all other models."""
    llm_models.register(register, model_aliases)
