"""Reads: Kafka's descriptions of the topics. Writes: with --create, the topics that are missing."""

from collections.abc import Mapping
from datetime import timedelta

import click

from streamapp.cli.options import with_settings
from streamapp.cli.output import print_json, print_table, say
from streamapp.cli.routes import duration
from streamapp.cli.running import run_work
from streamapp.kafka.topics import Found, Problem, create, describe, find_problems
from streamapp.settings import Settings


@click.command()
@click.option("--create", "make", is_flag=True, help="Create what is missing; what exists is left as it is.")
@click.option(
    "--partitions", type=click.IntRange(min=1), help="How many, with --create. [default: STREAMAPP_PARTITIONS]"
)
@with_settings
def topics(*, settings: Settings, as_json: bool, make: bool, partitions: int | None) -> None:
    """Show and check the topics, or create them.

    Commands, results, control and the changelog need the same number of partitions; it can't be changed later without
    moving keys. Exit code 1 when something doesn't fit; each problem says how to mend it.

    \b
    Examples:
      streamapp topics
      streamapp topics --create --partitions 12
    """  # noqa: D301
    if partitions and not make:
        raise click.UsageError("--partitions goes with --create")
    found, problems, created = run_work(_topics(settings, make=make, partitions=partitions))
    for name in created:
        say(f"created {name}")
    if as_json:
        shown = [_as_json(topic) for topic in found.values()]
        print_json({"topics": shown, "problems": [vars(problem) for problem in problems], "created": created})
    elif found:
        print_table(
            [
                ("TOPIC", "FOR", "PARTITIONS", "COPIES", "CLEANUP", "KEPT FOR", "LARGEST RECORD"),
                *map(_row, found.values()),
            ]
        )
    for problem in problems:
        say(f"problem: {problem}")
    if problems:
        raise click.exceptions.Exit(1)


async def _topics(
    settings: Settings, *, make: bool, partitions: int | None
) -> tuple[Mapping[str, Found], list[Problem], list[str]]:
    created = await create(settings, partitions=partitions) if make else []
    found = await describe(settings)
    return found, find_problems(settings, found), created


def _row(topic: Found) -> tuple[object, ...]:
    cleanup = topic.configs.get("cleanup.policy")
    kept = None if topic.kept is None else duration(topic.kept)
    return topic.name, topic.role, topic.partitions, topic.replication, cleanup, kept, f"{topic.max_bytes} bytes"


def _as_json(topic: Found) -> dict[str, object]:
    return {
        "topic": topic.name,
        "role": topic.role,
        "partitions": topic.partitions,
        "replication": topic.replication,
        "cleanup.policy": topic.configs.get("cleanup.policy"),
        "retention.ms": None if topic.kept is None else topic.kept // timedelta(milliseconds=1),
        "max.message.bytes": topic.max_bytes,
        "min.insync.replicas": int(topic.configs.get("min.insync.replicas", 1)),
    }
