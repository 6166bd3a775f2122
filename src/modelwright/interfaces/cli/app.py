"""The command group: commands are listed here and loaded when they are called."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from typing import Any

import click

from modelwright.core.about import __version__
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.interfaces.cli.output import print_error
from modelwright.settings import colourless

# command -> module under interfaces/cli and the attribute in it; the order is the order in --help
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("server", "demo"),
    "pack": ("packages", "pack"),
    "inspect": ("packages", "inspect"),
    "sign": ("signing", "sign"),
    "verify": ("signing", "verify"),
    "keys": ("signing", "keys"),
    "bom": ("bom", "bom"),
    "predict": ("predicting", "predict"),
    "check": ("packages", "check"),
    "card": ("cards", "card"),
    "optimize": ("optimizing", "optimize"),
    "release": ("stories", "release"),
    "promote": ("stories", "promote"),
    "rollback": ("stories", "rollback"),
    "shadow": ("stories", "shadow"),
    "renew": ("stories", "renew"),
    "stories": ("stories", "stories"),
    "serve": ("server", "serve"),
    "bench": ("bench", "bench"),
    "reload": ("server", "reload"),
    "status": ("state", "status"),
    "top": ("top", "top"),
    "versions": ("state", "versions"),
    "history": ("state", "history"),
    "ledger": ("state", "ledger"),
    "token": ("state", "token"),
    "record": ("records", "record"),
    "watch": ("watching", "watch"),
    "environments": ("environments", "environments"),
    "frameworks": ("frameworks", "frameworks"),
    "plugins": ("state", "plugins"),
    "settings": ("state", "settings"),
}


INTERRUPTED = 130
UNWRAPPED = "\b\n"  # what tells click to leave a paragraph as it is

HELP = """Take a trained model into production and keep it healthy there.

\b
Example: a model file becomes a checked, versioned, watched service
  modelwright release model.joblib --name flight-delay --data validation.parquet --target late
  modelwright serve

\b
Exit codes
  0  done                        4    not allowed
  1  our mistake                 5    not now: busy, down, or timed out
  2  bad input                   6    damaged data
  3  findings, or a refusal      130  interrupted

--home and --project may also stand after the command.
"""
HOME_HELP = "Data directory [MODELWRIGHT_HOME, ~/.modelwright]."
PROJECT_HELP = "Project file [MODELWRIGHT_PROJECT, modelwright.yaml]."


class Commands(click.Group):
    """Loads a command's module when the command is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of a model's life."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"modelwright.interfaces.cli.{module}"), attribute)
        complete(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Every command with its whole first sentence."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(limit=200)) for name, command in commands if command])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it; an unknown name is answered with the one that was meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "'modelwright --help' lists the commands."
            ctx.fail(f"No such command {name!r}. {hint}")
        return super().resolve_command(ctx, args)


def complete(command: click.Command) -> None:
    """Let a command, and those under it, take --home and --project too (people type them last); keep examples whole."""
    if command.epilog and not command.epilog.startswith(UNWRAPPED):
        command.epilog = UNWRAPPED + command.epilog  # an example that is broken in two cannot be pasted
    if isinstance(command, click.Group):
        for child in command.commands.values():
            complete(child)
    elif not any(parameter.name == "home" for parameter in command.params):
        for name, text in (("home", HOME_HELP), ("project", PROJECT_HELP)):
            command.params.append(
                click.Option([f"--{name}"], hidden=True, expose_value=False, callback=_remember, help=text)
            )


def _remember(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(dict)[str(parameter.name)] = value


@click.group(
    cls=Commands, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="modelwright")
@click.option("--home", type=click.Path(), default=None, help=HOME_HELP)
@click.option("--project", type=click.Path(), default=None, help=PROJECT_HELP)
@click.pass_context
def cli(ctx: click.Context, home: str | None, project: str | None) -> None:
    """Collect the options that every command shares."""
    ctx.obj = {"home": home, "project": project}
    if colourless():
        ctx.color = False


def run(argv: list[str]) -> int:
    """Run one command line; every error a user may see ends here, without a traceback."""
    as_json = "--json" in argv
    try:
        result: Any = cli.main(args=argv, prog_name="modelwright", standalone_mode=False)
        sys.stdout.flush()  # a reader that left is found here, and not while Python ends
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        if not as_json:
            error.show()
            return 2
        return print_error(_misused(error), as_json=True)
    except click.exceptions.Exit as error:
        return error.exit_code
    except ModelwrightError as error:
        return print_error(error, as_json=as_json)
    except SystemExit as error:  # click's own answer to a reader that left
        return _reader_left() if error.code == 1 else int(error.code or 0)
    except BrokenPipeError:  # the reader (head, less) left
        return _reader_left()
    except Exception as error:  # noqa: BLE001 - the last line of defence between a bug and a user
        return print_error(unexpected(error), as_json=as_json)
    return result if isinstance(result, int) else 0


def _reader_left() -> int:
    """Throw away what is still buffered: the reader has what it wanted."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return 0


def _misused(error: click.ClickException) -> BadInputError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "modelwright"
    return BadInputError("cli.usage", error.format_message(), fix=f"{path} --help")


def unexpected(error: Exception) -> ModelwrightError:
    """Our own mistake, with the place it came from instead of a traceback."""
    place = ""
    frame = error.__traceback__
    while frame is not None:
        name = frame.tb_frame.f_globals.get("__name__", "")
        if name.startswith("modelwright."):
            place = f"{name}:{frame.tb_lineno}"
        frame = frame.tb_next
    return ModelwrightError(
        "internal.unexpected",
        f"{type(error).__name__}: {error}",
        why=f"A bug in modelwright {__version__} at {place}." if place else f"A bug in modelwright {__version__}.",
        fix="Please report this line and the command you ran.",
    )
