"""Ordering keys: which are usable, and how they are shown to people. Reads and writes nothing."""

import base64

MAX_KEY_BYTES = 8192
"""A record with a longer key is rejected: the key would stand in every row and outcome, and some would not fit."""


def usable_key(key: bytes | None) -> bytes | None:
    """The key under which a record's entry stands; one that is too long is kept in the dead letter only."""
    return None if key is not None and len(key) > MAX_KEY_BYTES else key


def show_key(key: bytes | None) -> str | None:
    """The key as text: UTF-8 where it is that, else base64; None for a record without a key."""
    if key is None:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return base64.b64encode(key).decode()
