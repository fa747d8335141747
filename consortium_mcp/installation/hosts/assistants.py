"""Hosts that are desktop programs, except editors."""

from consortium_mcp.installation.hosts.host import Host, LocalForm, RemoteForm

_CLAUDE_FILE = "Claude/claude_desktop_config.json"

ASSISTANTS = (
    Host(
        name="claude-desktop",
        title="Claude Desktop",
        paths=(f"{{programs}}/{_CLAUDE_FILE}",),
        # Since February 2026 the installer for Windows is an MSIX package, which has its own copy of the folder.
        windows_paths=(
            f"{{LOCALAPPDATA:~/AppData/Local}}/Packages/Claude_*/LocalCache/Roaming/{_CLAUDE_FILE}",
            f"{{programs}}/{_CLAUDE_FILE}",
        ),
        file="json",
        remote=None,
        remote_hint="Add the URL in Claude's settings, under Connectors",
        supports=("resources", "prompts", "apps"),
        source="https://modelcontextprotocol.io/docs/develop/connect-local-servers",
        next_step="Quit Claude Desktop and start it again.",
    ),
    Host(
        name="lm-studio",
        title="LM Studio",
        paths=("~/.lmstudio/mcp.json",),
        link="https://lmstudio.ai/install-mcp?name={name}&config={base64}",
        source="https://lmstudio.ai/docs/app/mcp",
        next_step="Switch the server on in LM Studio, under Program.",
    ),
    Host(
        name="goose",
        title="Goose",
        paths=("{XDG_CONFIG_HOME:~/.config}/goose/config.yaml",),
        windows_paths=("{programs}/Block/goose/config/config.yaml",),
        file="yaml",
        table=("extensions",),
        local=LocalForm(
            command="cmd",
            variables="envs",
            more={
                "name": "{name}",
                "type": "stdio",
                "description": "Ask several models one question",
                "enabled": True,
                "bundled": None,
                "timeout": 900,
            },
        ),
        remote=RemoteForm(
            url="uri",
            variable="${NAME}",
            more={
                "name": "{name}",
                "type": "streamable_http",
                "description": "Ask several models one question",
                "enabled": True,
                "env_keys": ["{variable}"],
                "timeout": 900,
            },
        ),
        call_seconds="300; 900 in our entry",
        supports=("apps",),
        link="goose://extension?cmd=uvx&arg=consortium-mcp&id={name}&name={name}&timeout=900",
        source="https://goose-docs.ai/docs/guides/config-files",
        next_step="Start a new session of Goose.",
    ),
)
