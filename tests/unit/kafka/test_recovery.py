import asyncio
from types import SimpleNamespace

import pytest

from streamapp.kafka.recovery import rebuild_allowed


@pytest.mark.parametrize(
    ("signalled", "needed", "allowed"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_an_index_is_rebuilt_only_when_no_further_rebalance_is_pending(signalled, needed, allowed):
    signal = asyncio.Event()
    if signalled:
        signal.set()
    recovery = SimpleNamespace(signal_recovery_start=signal, need_recovery=lambda: needed)
    assert rebuild_allowed(SimpleNamespace(tables=SimpleNamespace(recovery=recovery))) is allowed
