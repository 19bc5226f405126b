"""Airflow 2.10 and 2.11. Reads and writes their REST API v1."""

import re

from streamapp.airflow.rest import RestApi


class AirflowV1(RestApi):
    """Airflow's API v1."""

    root = "/api/v1"
    health_path = "/health"
    created = "execution_date"
    run_id = re.compile(r"(?!.*\.\.)(?!\.$)[A-Za-z0-9_.~:+-]{1,250}")  # another one is answered with 500
