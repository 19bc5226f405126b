import pytest

from streamapp.core.key import MAX_KEY_BYTES, show_key, usable_key


@pytest.mark.parametrize(
    ("key", "shown"),
    [(None, None), (b"", ""), ("kä".encode(), "kä"), (b"\xff\x01", "/wE="), (b"\0\0\0\x07", "AAAABw==")],
)
def test_a_key_is_text_that_every_database_takes(key, shown):
    assert show_key(key) == shown


def test_a_key_that_is_too_long_is_not_used():
    assert usable_key(b"k" * MAX_KEY_BYTES) is not None
    assert usable_key(b"k" * (MAX_KEY_BYTES + 1)) is None
    assert usable_key(None) is None
