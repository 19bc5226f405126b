"""Reads: the command line. Writes: what the verb writes, and errors as one line. The `streamapp` command."""

import logging
from importlib import import_module
from typing import Any

import click

from streamapp.cli.output import printable, say
from streamapp.cli.running import INTERRUPTED
from streamapp.core.errors import ConfigError, StreamappError

VERBS = {
    "cancel": "End commands, and stop their runs.",
    "dead-letters": "List, count, show and discard dead letters.",
    "doctor": "Check every part, and say what to do.",
    "history": "Show what has happened to a command, to a key, or to all.",
    "hold": "Start nothing more of a key.",
    "pause": "Start nothing more of a DAG, or of any.",
    "redrive": "Run failed commands again.",
    "release": "Let a key go on.",
    "replay": "Run commands again that have ended.",
    "resume": "Let a paused DAG, or all, go on.",
    "retry": "Try failed commands again, in their place in the order.",
    "routes": "Show how commands are run, and why.",
    "send": "Send commands.",
    "skip": "End commands without a run; their keys go on.",
    "status": "Show where one command stands.",
    "tail": "Follow what becomes of commands.",
    "topics": "Show and check the topics, or create them.",
}
"""Each is a module of this package with a command of the same name."""


class Failed(click.ClickException):
    """Expected trouble: one line on stderr, with nothing in it that could steer a terminal, whoever wrote it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(printable(" ".join(message.split())))
        self.exit_code = exit_code


class Verbs(click.Group):
    """Loads a verb when it is asked for: Kafka's and HTTP's libraries take a while to import."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names of all verbs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The verb, or None when there is none of that name."""
        if cmd_name not in VERBS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"streamapp.cli.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of verbs, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; expected errors become one line and an exit code."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise Failed(str(error), 2) from None
        except StreamappError as error:
            raise Failed(str(error), 1) from None
        except click.FileError as error:
            raise Failed(error.format_message(), 2) from None
        except click.ClickException as error:
            if type(error) is not click.ClickException:  # wrong usage has several lines, and click's own form
                raise
            raise Failed(error.message, error.exit_code) from None
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


class _ToStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"{record.levelname.lower()}: {record.getMessage()}")


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="streamapp", message="%(prog)s %(version)s")
def main() -> None:
    """Send commands and see what became of them.

    Settings come from STREAMAPP_* variables, from streamapp.toml and from the properties file that --config-file or
    STREAMAPP_CONFIG_FILE names. What is asked for goes to stdout, as text or with --json as JSON, a line for each
    thing; everything else goes to stderr.

    \b
    Exit codes:
      0  it worked
      1  a check failed, or what was asked for isn't there or did not come in time
      2  wrong usage, settings or input
      3  an instruction was given, and no worker has answered in time
      130  interrupted

    \b
    Examples:
      streamapp topics --create
      streamapp send --command app.send_email_alert --params '{"email": "test@email.com"}' --key event
      streamapp tail --from beginning
      streamapp doctor
    """  # noqa: D301
    _log_to_stderr()


def _log_to_stderr() -> None:
    """Only our own lines: what libraries log is either in our errors already or of no use to the user."""
    logger = logging.getLogger("streamapp")
    if not any(isinstance(handler, _ToStderr) for handler in logger.handlers):
        logger.addHandler(_ToStderr(logging.WARNING))
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.NullHandler())
