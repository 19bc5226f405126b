"""The DAGs of the benchmark: one task that sleeps for conf.seconds, then succeeds, or fails when conf.fail is true."""

import time
from datetime import datetime, timezone

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

# Airflow's default, and one run at a time.
for dag_id, runs in {"bench": 16, "bench_chain": 1}.items():
    with DAG(dag_id, schedule=None, start_date=datetime(2024, 1, 1, tzinfo=timezone.utc), max_active_runs=runs):  # noqa: UP017

        @task(retries=0)
        def work() -> None:
            conf = get_current_context()["dag_run"].conf
            time.sleep(conf["seconds"])
            if conf["fail"]:
                raise AirflowFailException("the command asked for a failure")

        work()
