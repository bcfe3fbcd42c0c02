"""The command completion."""

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from twinslot.cli.say import say_all

_SHELLS: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}
_VARIABLE = "_FLEET_COMPLETE"  # as click names it after the command


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion of `fleet` for SHELL.

    \b
    In ~/.bashrc:  eval "$(fleet completion bash)"
    In ~/.zshrc:   eval "$(fleet completion zsh)"
    For fish:      fleet completion fish > ~/.config/fish/completions/fleet.fish
    """
    command = ctx.find_root().command
    say_all(_SHELLS[shell](command, {}, "fleet", _VARIABLE).source() + "\n")
