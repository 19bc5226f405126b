"""Reads: the results topic. Writes: stdout, a line for each outcome."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import click

from streamapp.cli.options import DurationType, with_settings
from streamapp.cli.output import coloured, print_json, printable, say
from streamapp.cli.results import Results, as_json_object
from streamapp.cli.running import run_work
from streamapp.cli.standing import Standings
from streamapp.core.errors import Unavailable
from streamapp.core.key import show_key
from streamapp.core.model import Outcome, Status
from streamapp.settings import Settings
from streamapp.wire.times import to_text


@click.command()
@click.option(
    "--from",
    "start",
    type=click.Choice(["beginning", "end"]),
    help="Where to begin. [default: end; beginning with --command-id or --until-terminal]",
)
@click.option("--key", help="Only outcomes of this key.")
@click.option("--command-id", "ids", metavar="ID", multiple=True, help="Only outcomes of this command; repeatable.")
@click.option(
    "--until-terminal",
    "until",
    metavar="ID",
    multiple=True,
    help="Only outcomes of this command, and end once it has ended; repeatable.",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N outcomes.")
@click.option("--timeout", type=DurationType(), help="End after this time; exit code 1 if something was waited for.")
@with_settings
def tail(
    *,
    settings: Settings,
    as_json: bool,
    start: str | None,
    key: str | None,
    ids: tuple[str, ...],
    until: tuple[str, ...],
    count: int | None,
    timeout: timedelta | None,
) -> None:
    """Follow what becomes of commands.

    Prints outcomes from the results topic until interrupted. The same outcome may come twice; its id tells. Exit code
    1 when --timeout passes before --count or --until-terminal is met, or before Kafka has answered; how a command
    ended makes no difference. That a record was a duplicate is not the end of the command that it repeats.

    \b
    Examples:
      streamapp tail --from beginning
      streamapp tail --until-terminal order-17 --timeout 5m
      streamapp tail --key event --count 3 --json
    """  # noqa: D301
    wanted = {*ids, *until}
    from_beginning = start == "beginning" if start else bool(wanted)

    def fits(outcome: Outcome) -> bool:
        return (not wanted or outcome.command_id in wanted) and key in {None, show_key(outcome.key)}

    follower = _Follower(settings, fits, set(until), count, as_json=as_json)
    try:
        run_work(follower.run(timeout, from_beginning=from_beginning))
    finally:
        if follower.unreadable:
            say(f"{follower.unreadable} records were passed over: they are no outcomes, or their schema is not known")


class _Follower:
    def __init__(
        self, settings: Settings, fits: Callable[[Outcome], bool], until: set[str], count: int | None, *, as_json: bool
    ) -> None:
        self._settings = settings
        self._fits = fits
        self._until = until
        """Ids of commands that are waited for."""
        self._standings = Standings()
        self._count = count
        self._as_json = as_json
        self._printed = 0
        self.unreadable = 0

    async def run(self, limit: timedelta | None, *, from_beginning: bool) -> None:
        seconds = limit.total_seconds() if limit else None
        connected = False
        try:
            async with (
                asyncio.timeout(seconds) as timer,
                Results(self._settings, from_beginning=from_beginning) as results,
            ):
                connected = True
                await self._follow(results)
        except TimeoutError:
            if not timer.expired():
                raise
            if not connected:
                what = f"Kafka at {self._settings.bootstrap_servers} has not answered in time"
                raise Unavailable(f"{what}; nothing was read") from None
            if self._open:
                raise click.ClickException(f"not ended in time: {', '.join(map(printable, self._open))}") from None
            if self._count is not None:
                raise click.ClickException(f"{self._printed} of {self._count} outcomes came in time") from None

    async def _follow(self, results: Results) -> None:
        while True:
            for outcome in await results.read():
                if self._fits(outcome):
                    self._print(outcome)
                    if self._printed == self._count:
                        return
            self.unreadable = results.unreadable
            # A command that has ended may have been begun again further on.
            if self._until and not self._open and await results.caught_up():
                return

    @property
    def _open(self) -> list[str]:
        return [one for one in sorted(self._until) if not self._standings.ended(one)]

    def _print(self, outcome: Outcome) -> None:
        self._printed += 1
        if outcome.command_id in self._until:
            self._standings.note(outcome)
        if self._as_json:
            print_json(as_json_object(outcome))
        else:
            click.echo(outcome_line(outcome))


def outcome_line(outcome: Outcome) -> str:
    """The outcome for people."""
    status = coloured(outcome.status) + " " * (len(Status.ATTEMPT_FAILED) - len(outcome.status))
    key = None if outcome.key is None else f"key={show_key(outcome.key)}"
    parts = [printable(part) for part in (outcome.command_id, key, outcome.command) if part]
    why = ": ".join(printable(part) for part in (outcome.reason, outcome.detail) if part)
    return "  ".join([to_text(outcome.at), status, *parts, *([f"({why})"] if why else [])])
