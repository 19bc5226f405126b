import asyncio
from types import SimpleNamespace

import pytest

from streamapp.kafka.recovery import rebuild_allowed


@pytest.mark.parametrize(
    ("signalled", "needed", "given_up", "allowed"),
    [
        (False, False, False, True),
        (True, False, False, False),
        (False, True, False, False),
        (False, False, True, False),
    ],
)
def test_an_index_is_rebuilt_only_when_no_further_rebalance_is_pending(signalled, needed, given_up, allowed):
    signal = asyncio.Event()
    if signalled:
        signal.set()
    recovery = SimpleNamespace(signal_recovery_start=signal, need_recovery=lambda: needed)
    app = SimpleNamespace(tables=SimpleNamespace(recovery=recovery), consumer=SimpleNamespace(given_up=given_up))
    assert rebuild_allowed(app) is allowed
