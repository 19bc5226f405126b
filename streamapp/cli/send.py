"""Reads: commands from options or a file. Writes: them to the commands topic; where each went, to stdout."""

import asyncio
import random
import sys
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import click
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from streamapp.cli.drafts import EXAMPLE, Draft, Drafts
from streamapp.cli.options import with_settings
from streamapp.cli.output import print_json, printable, reason_of, say
from streamapp.cli.parts import registry_of
from streamapp.cli.producing import acknowledged, producing
from streamapp.cli.running import run_work
from streamapp.core.errors import Unavailable
from streamapp.core.key import show_key
from streamapp.kafka import topics
from streamapp.settings import Settings
from streamapp.wire.codec import CommandEncoder

UNDER_WAY = 2000
"""Records sent and not yet acknowledged; enough to keep the connection busy, few enough to report steadily."""

Partitioner = Callable[[bytes | None, Sequence[int], Sequence[int]], int]


def crc32(key: bytes | None, partitions: Sequence[int], available: Sequence[int]) -> int:
    """The rule of librdkafka, named `consistent` there."""
    if key is None:
        return random.choice(available or partitions)  # noqa: S311
    return sorted(partitions)[zlib.crc32(key) % len(partitions)]


PARTITIONERS: dict[str, Partitioner] = {"murmur2": DefaultPartitioner(), "crc32": crc32}


@click.command()
@click.option("--topic", help="The topic to send to. [default: STREAMAPP_COMMANDS_TOPIC]")
@click.option("--command", "name", help="The command's name, such as app.send_email_alert.")
@click.option("--params", help="A JSON object: the run's conf. [default: {}]")
@click.option("--key", help="Commands of one key run one after another, in order; without one, in no order.")
@click.option("--id", "id_", help="Idempotency key. [default: made from the record's position]")
@click.option("--correlation-id", help="Carried through to every outcome.")
@click.option("--not-before", metavar="TIME", help="Not dispatched earlier; ISO 8601 with Z or an offset.")
@click.option("--deadline", metavar="TIME", help="Not dispatched later; ISO 8601 with Z or an offset.")
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help='Lines of JSON: {"command": …, "params": …, "key": …, "id": …}; - is standard input.',
)
@click.option(
    "--partitioner",
    type=click.Choice(list(PARTITIONERS)),
    default="murmur2",
    show_default=True,
    help="How a key finds its partition: as Java clients do it, or crc32 as Confluent's Python client does.",
)
@with_settings
def send(
    *, settings: Settings, as_json: bool, topic: str | None, file: str | None, partitioner: str, **fields: str | None
) -> None:
    """Send commands.

    With a schema registry configured they are written as Avro, registered under <topic>-value; else as JSON. Every
    producer of a topic should use the same partitioner, or commands of one key end up on two partitions.

    A file is checked as a whole first: when a line is no command, nothing is sent. With neither --command nor --file,
    one example command is sent to the topic: app.send_email_alert.

    \b
    Examples:
      streamapp send --command app.send_email_alert --params '{"email": "test@email.com"}' --key event
      streamapp send --topic event_topic --config_file kafka_server.config
      streamapp send --file commands.jsonl
    """  # noqa: D301
    given = {name.removesuffix("_") if name == "id_" else name: value for name, value in fields.items()}
    given["command"] = given.pop("name")
    if given["command"] is None and file is None and (topic is None or any(given.values())):
        raise click.UsageError("give --command or --file (with --topic alone, an example command is sent)")
    if file is not None and any(value is not None for value in given.values()):
        raise click.UsageError("--file brings the commands: leave --command and its fields out")
    lines = None if file is None else _text(file).split("\n")  # not in the event loop: nothing could interrupt it there
    drafts = run_work(_drafts(settings, given, lines, "standard input" if file == "-" else file or ""))
    topic = topic or settings.commands_topic
    run_work(_deliver(settings, topic, drafts, PARTITIONERS[partitioner], as_json=as_json))


async def _drafts(
    settings: Settings, given: dict[str, str | None], lines: Sequence[str] | None, file: str
) -> list[Draft]:
    maker = Drafts(settings.max_command_bytes)
    if lines is not None:
        return await maker.read_lines(lines, file)
    if given["command"] is not None:
        return [await maker.make({"params": "{}"} | {k: v for k, v in given.items() if v is not None}, "the command")]
    say(f"no --command and no --file: sending the example command {EXAMPLE['command']}")
    return [await maker.make(EXAMPLE, "the example")]


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"can't be read as UTF-8 text ({error})", param_hint="--file") from None


async def _deliver(
    settings: Settings, topic: str, drafts: list[Draft], partitioner: Partitioner, *, as_json: bool
) -> None:
    """Send them in order; tell where each went. The first that is not acknowledged ends it: order matters."""
    encoder = CommandEncoder(registry_of(settings), topic)
    await encoder.start()
    await _check_exists(settings, topic)
    delivered = 0
    try:
        quiet = len(drafts) < UNDER_WAY or sys.stdout.isatty()
        async with producing(settings, partitioner=partitioner) as producer:
            with click.progressbar(length=len(drafts), label="sending", file=sys.stderr, hidden=quiet) as progress:
                async for draft, place in _acknowledged(producer, topic, encoder, drafts):
                    _report(draft, place, as_json=as_json)
                    delivered += 1
                    progress.update(1)
    except (KafkaError, TimeoutError) as error:
        first = drafts[delivered].place
        what = f"{first}: not acknowledged ({reason_of(error)}); {delivered} of {len(drafts)} were"
        raise click.ClickException(
            f"{what}, the rest may have arrived or not: with ids it is safe to send them again"
        ) from None


async def _acknowledged(
    producer: AIOKafkaProducer, topic: str, encoder: CommandEncoder, drafts: list[Draft]
) -> AsyncIterator[tuple[Draft, Any]]:
    under_way: deque[tuple[Draft, asyncio.Future[Any]]] = deque()
    for draft in drafts:
        under_way.append((draft, await producer.send(topic, encoder.encode(draft.record), key=draft.key)))
        while under_way[0][1].done() or len(under_way) > UNDER_WAY:
            yield await _first(under_way)
            if not under_way:
                break
    while under_way:
        yield await _first(under_way)


async def _first(under_way: deque[tuple[Draft, asyncio.Future[Any]]]) -> tuple[Draft, Any]:
    draft, future = under_way.popleft()
    return draft, await acknowledged(future)


async def _check_exists(settings: Settings, topic: str) -> None:
    """A producer would wait for the topic, or make Kafka create one with the wrong number of partitions."""
    async with topics.admin(settings) as client:
        if topic not in await client.list_topics():
            raise Unavailable(f"the topic {topic} does not exist; run `streamapp topics --create`, or name another")


def _report(draft: Draft, where: Any, *, as_json: bool) -> None:
    command_id = draft.record.id or f"{where.topic}-{where.partition}-{where.offset}-{where.timestamp}"
    if as_json:
        place = {"topic": where.topic, "partition": where.partition, "offset": where.offset}
        print_json({**place, "key": show_key(draft.key), "command": draft.record.command, "id": command_id})
    else:
        click.echo(f"{where.topic} partition {where.partition} offset {where.offset} id {printable(command_id)}")
