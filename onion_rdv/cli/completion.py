"""``onion-rdv completion``: shell completion, as click makes it."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from onion_rdv.cli.terminal import emit

_CLASSES = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
@click.argument("shell", type=click.Choice(list(_CLASSES)))
def completion(shell: str) -> None:
    """Print completion for a SHELL.

    \b
    bash:  onion-rdv completion bash > ~/.local/share/bash-completion/completions/onion-rdv
    zsh:   onion-rdv completion zsh > a file named _onion-rdv in a directory of your fpath
    fish:  onion-rdv completion fish > ~/.config/fish/completions/onion-rdv.fish
    """  # noqa: D301
    from onion_rdv.cli.main import cli

    emit(_CLASSES[shell](cli, {}, "onion-rdv", "_ONION_RDV_COMPLETE").source())
