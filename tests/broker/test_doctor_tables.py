"""`streamapp doctor --tables` against a worker whose database was changed behind its back."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rocksdict import Options, Rdict

from tests.support.installation import Installation, command
from tests.support.worker import Worker

STREAMAPP = str(Path(sys.executable).with_name("streamapp"))


def test_a_row_that_was_changed_is_found(install: Callable[..., Installation]) -> None:
    installation = install(partitions=2)
    worker = installation.worker("one")
    worker.start()
    installation.endings(installation.send(*[command(b"k%d" % n, id=f"c{n}") for n in range(20)]))
    code, found = doctor(installation, worker)
    assert code == 0, found
    assert [table["state"] for table in found] == ["ok", "ok"]

    assert worker.terminate() == 0
    (database,) = worker.data.rglob("dispatches-0.db")
    rows = Rdict(str(database), options=Options(raw_mode=True))
    changed, removed, *_ = [key for key in rows.keys() if key.startswith(b"h")]  # noqa: SIM118
    assert b'"attempt":1' in rows[changed]
    rows[changed] = rows[changed].replace(b'"attempt":1', b'"attempt":2')
    del rows[removed]
    rows[b"i" + b"nobody wrote this"] = b"{}\n"
    rows.close()
    worker.start()

    code, found = doctor(installation, worker)
    assert code == 1
    assert [table["state"] for table in found] == ["problem", "ok"]
    assert "1 rows are missing, 1 are phantoms, 1 differ" in found[0]["what"]
    assert "delete its data directory" in found[0]["mend"]

    assert worker.terminate() == 0
    worker.forget_data()
    worker.start()
    assert doctor(installation, worker)[1][0]["state"] == "ok"


def doctor(installation: Installation, worker: Worker) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and what it says about tables."""
    done = subprocess.run(
        [STREAMAPP, "doctor", "--tables", "--json"],
        env=installation.environment | {"STREAMAPP_WORKER_URL": worker.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, [check for check in found if check["part"].startswith("table")]
