"""Reads: names of DAGs. Writes: an instruction to each partition of the control topic; the answers, to stdout."""

import click

from streamapp.cli.asking import Asking, asking, dags_option
from streamapp.cli.instructing import about_dags
from streamapp.core.model import Action


@click.command()
@dags_option
@asking
def resume(*, asked: Asking, dags: tuple[str, ...], every: bool) -> None:
    """Let a paused DAG, or all, go on.

    Takes a pause away. A DAG that is paused in Airflow itself is not touched by this.

    Exit codes: 1 when a partition refused it, 3 when one has not answered in time.

    \b
    Examples:
      streamapp resume --dag send_email_alert
      streamapp resume --all
    """  # noqa: D301
    about_dags(asked, Action.RESUME, dags, every=every)
