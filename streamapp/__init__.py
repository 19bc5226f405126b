"""Commands on a Kafka topic become Airflow DAG runs: one each, in order per key, with an outcome for every change.

`faust -A streamapp worker` finds the Faust app here. It is built when it is asked for, so that importing a part of the
package (`streamapp.core`, say) loads no Faust and reads no settings.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    from streamapp.application import worker_app  # noqa: PLC0415

    app = worker_app()
    globals()["app"] = app
    return app
