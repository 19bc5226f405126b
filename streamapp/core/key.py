"""Ordering keys: which are usable, and how they are shown to people. Reads and writes nothing."""

import base64

MAX_KEY_BYTES = 8192
"""A record with a longer key is rejected: the key would stand in every row and outcome, and some would not fit."""


def usable_key(key: bytes | None) -> bytes | None:
    """The key under which a record's entry stands; one that is too long is kept in the dead letter only."""
    return None if key is not None and len(key) > MAX_KEY_BYTES else key


def show_key(key: bytes | None) -> str | None:
    """The key as text: UTF-8 where it is that, else base64; None for a record without a key.

    Bytes with a zero among them are base64, too: they are numbers, and PostgreSQL takes no zero in a text.
    """
    if key is None:
        return None
    try:
        text = key.decode()
    except UnicodeDecodeError:
        text = "\0"
    return base64.b64encode(key).decode() if "\0" in text else text
