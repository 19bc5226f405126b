"""Ids and keys in addresses: any bytes must survive the way. Reads and writes nothing.

Browsers and proxies take `.` and `..` away, and some trip over an escaped slash; bytes that are not UTF-8 can't be
written as text at all. Such names travel in base64, marked by `?base64=1`.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import quote

BASE64 = "base64"
"""The parameter that says: the name in the path is base64."""

_PLAIN = re.compile(r"[^/\\%?#;\x00-\x1f\x7f]+")


def path_of(root: str, name: bytes) -> str:
    """The address of a command or key, below `root`."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = ""
    if _PLAIN.fullmatch(text) and text not in {".", ".."}:
        return f"{root}/{quote(text, safe='')}"
    return f"{root}/{encoded(name)}?{BASE64}=1"


def encoded(name: bytes) -> str:
    """A name that stands in a path as it is."""
    return base64.urlsafe_b64encode(name).decode()


def parse(text: str, query: Mapping[str, str]) -> bytes:
    """A name from a path or a form.

    Raises:
        ValueError: It is marked as base64, and isn't; or it isn't text.
    """
    if query.get(BASE64, "") in {"", "0"}:
        return text.encode()
    try:
        ascii_ = text.replace("-", "+").replace("_", "/").encode("ascii")
        return base64.b64decode(ascii_ + b"=" * (-len(ascii_) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError(f"{text!r} is not base64") from None
