"""One task whose duration and ending come from the run's conf, for trials: `{"seconds": 0.2, "fail": false}`."""

import time
from datetime import datetime, timezone

try:  # Airflow 3
    from airflow.sdk import dag, get_current_context, task
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.exceptions import AirflowFailException
    from airflow.operators.python import get_current_context


@dag(
    dag_id="probe",
    description="Sleeps for conf.seconds, then succeeds, or fails when conf.fail is true",
    schedule=None,
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),  # noqa: UP017 (Airflow 2 runs on older Pythons too)
    catchup=False,
    max_active_runs=16,
    tags=["streamapp"],
)
def probe() -> None:
    """Hold the one task."""

    @task(retries=0)
    def work() -> None:
        conf = get_current_context()["dag_run"].conf or {}
        time.sleep(float(conf.get("seconds", 0.2)))
        if conf.get("fail", False):
            raise AirflowFailException("the command asked for a failure")

    work()


probe()
