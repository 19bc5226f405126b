"""Reads: the dead-letter topic, and what became of its letters. Writes: stdout; discard writes marks to that topic."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from streamapp.cli.asking import by_option, utf8
from streamapp.cli.choosing import Chosen, choosing
from streamapp.cli.deliver import Parcel, deliver
from streamapp.cli.letters import Letter, Search, State, search
from streamapp.cli.options import with_settings
from streamapp.cli.output import print_fields, print_json, print_table, printable, say
from streamapp.cli.running import run_work
from streamapp.clock import SystemClock
from streamapp.core.key import show_key
from streamapp.settings import Settings
from streamapp.wire.discards import Discard, encode_discard
from streamapp.wire.times import to_text

SHOWN = 100
"""Letters in a list for which no limit is given."""
WHERE = "`streamapp dead-letters list` shows their ids, which are not those of commands"


@click.group("dead-letters")
def dead_letters() -> None:
    """List, count, show and discard dead letters.

    Each says where it stands: open, redriven (and what became of that) or discarded. All of them take --json and
    --config_file. `streamapp redrive` runs them again.

    \b
    Examples:
      streamapp dead-letters list --since 2h
      streamapp dead-letters stats --json
      streamapp dead-letters show commands-3-1042-1
      streamapp dead-letters discard commands-3-1042-1 --note "sent twice by mistake"
    """  # noqa: D301


state_option = click.option(
    "--state",
    "states",
    type=click.Choice([one.value for one in State]),
    multiple=True,
    help="Only letters that stand so; repeatable.",
)


@dead_letters.command("list")
@choosing
@state_option
@click.option("--oldest", is_flag=True, help="In the order of their commands' partitions and offsets.")
@with_settings
def list_(*, settings: Settings, as_json: bool, chosen: Chosen, states: tuple[str, ...], oldest: bool) -> None:
    """List dead letters, the newest first.

    Each once, however often it stands on the topic; 100 of them unless --limit says otherwise.

    \b
    Examples:
      streamapp dead-letters list
      streamapp dead-letters list --state open --reason run_failed --command 'app.send_*' --since 2h
      streamapp dead-letters list --key customer-17 --oldest --json
    """  # noqa: D301
    limit = chosen.limit or SHOWN
    newest = None if oldest or states else limit + 1
    found = run_work(search(settings, chosen, newest=newest, records=False))
    letters = [one for one in found.letters if not states or one.state in states]
    if not oldest:
        letters.sort(key=lambda one: (one.letter.at, one.place), reverse=True)
    _say_passed(settings, found)
    if as_json:
        for one in letters[:limit]:
            print_json(one.as_json())
    elif letters:
        heads = ("ID", "AT", "STATE", "REASON", "KEY", "COMMAND", "DETAIL")
        print_table([heads, *map(_row, letters[:limit])])
    else:
        say(f"no dead letter on {settings.dead_letters_topic} is like this")
    if len(letters) > limit:
        say(f"there are more than {limit}; --limit shows more, the filters fewer")


@dead_letters.command("stats")
@choosing
@with_settings
def stats(*, settings: Settings, as_json: bool, chosen: Chosen) -> None:
    """Count dead letters by their reason and where they stand.

    \b
    Examples:
      streamapp dead-letters stats
      streamapp dead-letters stats --since 2026-01-31T08:00:00Z --dag send_email_alert
    """  # noqa: D301
    found = run_work(search(settings, chosen, records=False))
    counts: dict[str, Counter[State]] = {}
    for one in found.letters:
        counts.setdefault(one.letter.reason, Counter())[one.state] += 1
    _say_passed(settings, found)
    ordered = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
    if as_json:
        print_json({reason: {state: count[state] for state in State} for reason, count in ordered})
        return
    total = sum((count for _, count in ordered), Counter[State]())
    rows = [(reason, *(count[state] for state in State), count.total()) for reason, count in [*ordered, ("all", total)]]
    print_table([("REASON", *(state.upper() for state in State), "ALL"), *rows])


@dead_letters.command("show")
@click.argument("dlq_id", metavar="DLQ_ID")
@with_settings
def show(*, settings: Settings, as_json: bool, dlq_id: str) -> None:
    """Show one dead letter: its record, where it came from, and what became of it.

    The value is shown decoded where it can be: JSON, or Avro with the registry's schema; else as text or base64. Exit
    code 1 when there is no such letter.

    \b
    Examples:
      streamapp dead-letters show commands-3-1042-1
      streamapp dead-letters show commands-3-1042-1 --json
    """  # noqa: D301
    found = run_work(search(settings, Chosen(ids=frozenset({dlq_id}))))
    if not found.letters:
        raise click.ClickException(f"there is no dead letter {dlq_id} on {settings.dead_letters_topic}; {WHERE}")
    (one,) = found.letters
    headers = [(name, _text(content)) for name, content in one.letter.original.headers]
    if as_json:
        original = {"key_hex": None if one.letter.key is None else one.letter.key.hex(), **one.shown.as_json()}
        print_json({**one.as_json(), "headers": headers, "record": original})
        return
    fields = one.as_json()
    redriven, discarded = fields.get("redriven"), fields.get("discarded")
    if redriven is not None:
        fields["redriven"] = f"partition {redriven['partition']} offset {redriven['offset']}: {redriven['status']}"
    if discarded is not None:
        note = f": {discarded['note']}" if discarded["note"] else ""
        fields["discarded"] = f"{discarded['at']} by {discarded['by']}{note}"
    fields["source"] = one.letter.source
    value = one.shown
    print_fields(
        {
            **fields,
            **{f"header {name}": content for name, content in headers},
            "value is": value.wire if value.schema_id is None else f"{value.wire}, schema id {value.schema_id}",
            "value note": value.note,
            "value": value.text if value.fields is None else json.dumps(value.fields, ensure_ascii=False),
        }
    )


@dead_letters.command("discard")
@click.argument("ids", metavar="DLQ_ID…", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that the filters let through.")
@choosing
@click.option("--note", help="Why; it stands beside the letter from then on.")
@by_option
@with_settings
def discard(*, settings: Settings, as_json: bool, chosen: Chosen, everything: bool, note: str | None, by: str) -> None:
    """Say that dead letters need nothing any more.

    Writes a mark for each behind it on the same topic: the letter itself stays as it is, `list` shows it as discarded,
    and `redrive` takes it only when it is named. A letter that is not open is passed over. Exit code 1 when one that
    is named does not exist.

    \b
    Examples:
      streamapp dead-letters discard commands-3-1042-1 --note "sent twice by mistake"
      streamapp dead-letters discard --reason undecodable --until 2026-01-31T08:00:00Z --note "the old producer"
    """  # noqa: D301
    check_selection(chosen, everything=everything)
    if note is not None:
        utf8(note, "--note")
    found = run_work(search(settings, chosen, records=False))
    _say_passed(settings, found)
    letters = [one for one in found.letters if one.state is State.OPEN][: chosen.limit]
    run_work(_discard(settings, letters, by, note, as_json=as_json))
    say(
        f"discarded {len(letters)}; passed over {len(found.letters) - len(letters)} that are not open or over the limit"
    )
    fail_for_missing(settings, chosen, {one.letter.id for one in found.letters})


async def _discard(settings: Settings, letters: Sequence[Letter], by: str, note: str | None, *, as_json: bool) -> None:
    now = SystemClock().now()
    parcels = []
    for one in letters:
        mark = Discard(dlq_id=one.letter.id, by=by, note=note, at=now)
        parcels.append(Parcel(one, settings.dead_letters_topic, one.place[0], encode_discard(one.letter.key, mark)))
    async for parcel, _ in deliver(settings, parcels, label="discarding"):
        if as_json:
            print_json({"id": parcel.what.letter.id, "discarded": True})
        else:
            click.echo(f"{parcel.what.letter.id} discarded")


def check_selection(chosen: Chosen, *, everything: bool) -> None:
    """Letters are named, or chosen by filters, or all are meant; never none of these, and never two."""
    if chosen.ids and (everything or chosen.narrows or chosen.limit is not None):
        raise click.UsageError("give ids, or filters, not both")
    if not (chosen.ids or everything or chosen.narrows):
        raise click.UsageError("give ids, or filters such as --reason, or --all")


def fail_for_missing(settings: Settings, chosen: Chosen, known: set[str]) -> None:
    """Exit code 1 when something was named that isn't there."""
    missing = sorted(chosen.ids - known)
    if missing:
        names = ", ".join(map(printable, missing))
        raise click.ClickException(
            f"not on {settings.dead_letters_topic}: {names}; nothing was done about them; {WHERE}"
        )


def _row(one: Letter) -> tuple[Any, ...]:
    state = one.state if one.became is None else f"{one.state}: {one.became}"
    letter = one.letter
    detail = letter.detail if len(letter.detail) <= 60 else f"{letter.detail[:59]}…"
    return letter.id, to_text(letter.at), state, letter.reason, show_key(letter.key), one.command, detail


def _say_passed(settings: Settings, found: Search) -> None:
    if found.foreign:
        say(f"passed over {found.foreign} dead letters of other topics than {settings.commands_topic}")
    if found.unreadable:
        say(f"passed over {found.unreadable} records of {settings.dead_letters_topic} that are no dead letters")


def _text(content: bytes | None) -> str | None:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"0x{content.hex()}"
