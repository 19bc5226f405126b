"""Reads: the settings and every part's answers. Writes: stdout, a line for each finding."""

import asyncio
from pathlib import Path

import click

from streamapp.cli import checks
from streamapp.cli.options import config_file_option, json_option
from streamapp.cli.output import print_json, printable
from streamapp.cli.running import run_work
from streamapp.cli.runs import runs_check
from streamapp.cli.tables import tables_check
from streamapp.settings import Loaded, read_settings

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


@click.command()
@click.option("--tables", is_flag=True, help="Compare every live table with a rebuild from its changelog.")
@click.option("--runs", is_flag=True, help="Compare the active runs in Airflow with the commands.")
@config_file_option
@json_option
def doctor(*, tables: bool, runs: bool, config_file: Path | None, as_json: bool) -> None:
    """Check every part, and say what to do.

    Looks at the settings (and where each came from), Kafka, the topics, the schema registry, Airflow and its login,
    and the workers. With --tables also whether each worker's table is what its changelog says: safe to run while
    they work, and it reads the whole changelog. With --runs also whether a command waits for each active run of this
    installation, and whether Airflow has each run that a command waits for. Exit code 1 when there is a problem; notes
    are for information.

    \b
    Examples:
      streamapp doctor
      streamapp doctor --tables --runs
      streamapp doctor --config-file kafka_server.config --json
    """  # noqa: D301
    found = run_work(_examine(read_settings(config_file=config_file), tables=tables, runs=runs))
    for check in found:
        if as_json:
            print_json(vars(check))
            continue
        state = click.style(f"{check.state:8}", fg=_COLOURS[check.state])
        mend = f" -> {printable(check.mend)}" if check.mend else ""
        click.echo(f"{state} {check.part}: {printable(check.what)}{mend}")
    if any(check.state == "problem" for check in found):
        raise click.exceptions.Exit(1)


async def _examine(loaded: Loaded, *, tables: bool, runs: bool) -> list[checks.Check]:
    wanted = list(checks.CHECKS)
    if tables:
        wanted.append(("tables", tables_check, "worker_url"))
    if runs:
        wanted.append(("runs", runs_check, "worker_url"))
    asked = [checks.run(name, ask, where, loaded.settings) for name, ask, where in wanted]
    groups = await asyncio.gather(checks.settings_check(loaded), *asked)
    return [check for group in groups for check in group]
