"""How an entry's rows change: reads an entry before and after, answers the changes in the order of writing."""

from dataclasses import replace

from streamapp.core.effects import Change, Delete, EntryKey, Free, Put, Queued, place
from streamapp.core.model import Entry, Status


def moved(before: Entry, now: Entry) -> list[Change]:
    """The entry in its new place first, then its old row's removal: a crash in between loses nothing."""
    here, there = place(now), place(before)
    return [Put(here, now)] if here == there else [Put(here, now), Delete(there)]


def again(entry: Entry) -> list[Change]:
    """All rows of an entry as they now are, with the removals that a crash may have cut off."""
    here = place(entry)
    changes: list[Change] = [Put(here, entry)]
    offset = entry.source.offset
    others: list[EntryKey] = [Free(offset)] if entry.key is None else [Queued(entry.key, offset), Free(offset)]
    if entry.policy is not None:
        changes.extend(Delete(other) for other in others if other != here)
    return changes


def shrunk(entry: Entry) -> Entry:
    """What dedupe, history and look-up need; the bytes stay where a dead letter may have to be written again."""
    buried = entry.status in {Status.FAILED, Status.REJECTED}
    return replace(entry, params=None, ending=None, original=entry.original if buried else None)
