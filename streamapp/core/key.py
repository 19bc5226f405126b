"""How an ordering key is shown to people. Reads and writes nothing."""

import base64


def show_key(key: bytes | None) -> str | None:
    """The key as text: UTF-8 where it is that, else base64; None for a record without a key."""
    if key is None:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return base64.b64encode(key).decode()
