"""Reads the routes file again when it has changed. Writes nothing; commands that are accepted next follow it."""

from datetime import timedelta
from typing import Any

import faust
from mode import Service

from streamapp.agents.parts import Parts

LOOK_EVERY = timedelta(seconds=2)


def register(app: faust.App, parts: Parts) -> None:
    """Add the service to the app; Faust starts it once the table is restored."""

    @app.service
    class ReloaderService(Service):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)

        @Service.task
        async def _look(self) -> None:
            while not self.should_stop:
                await parts.clock.sleep(LOOK_EVERY)
                parts.routes.look()
