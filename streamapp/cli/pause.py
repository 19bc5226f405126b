"""Reads: names of DAGs. Writes: an instruction to each partition of the control topic; the answers, to stdout."""

import click

from streamapp.cli.asking import Asking, asking, dags_option
from streamapp.cli.instructing import about_dags
from streamapp.core.model import Action


@click.command()
@dags_option
@asking
def pause(*, asked: Asking, dags: tuple[str, ...], every: bool) -> None:
    """Start nothing more of a DAG, or of any.

    What runs goes on, commands are still taken in and wait in their order, until `streamapp resume`. It is said to each
    partition, so it holds for all workers, also for those that start later. A pause of all DAGs and one of a single
    DAG are two things; each is taken away by its own resume. A worker takes in no further commands, of any DAG, once
    STREAMAPP_LATER_LIMIT of them wait for that, or for a time.

    Exit codes: 1 when a partition refused it, 3 when one has not answered in time.

    \b
    Examples:
      streamapp pause --dag send_email_alert --reason 'mail server is down'
      streamapp pause --all
    """  # noqa: D301
    about_dags(asked, Action.PAUSE, dags, every=every)
