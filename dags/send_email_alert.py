"""Mails the address that the command names: conf `{"email": "..."}`. Needs the connection `smtp_default`."""

from datetime import datetime, timedelta, timezone

from airflow.providers.smtp.operators.smtp import EmailOperator

try:  # Airflow 3
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

DEFAULT_RECIPIENT = "alerts@example.com"
RECIPIENT = "{{ (dag_run.conf or {}).get('email', '" + DEFAULT_RECIPIENT + "') }}"
SUBJECT = """\
{%- set command = (dag_run.conf or {}).get('_command') -%}
Alert: {{ dag.dag_id }}{% if command %}, command {{ command.id }}{% endif %}"""
BODY = """\
{%- set conf = dag_run.conf or {} -%}
{%- set command = conf.get('_command') -%}
<p>This alert was sent by the run <b>{{ dag_run.run_id | e }}</b> of the DAG <b>{{ dag.dag_id }}</b>.</p>
<table>
{%- for name, value in conf.items() if name != "_command" %}
<tr><th align="left">{{ name | e }}</th><td>{{ value | e }}</td></tr>
{%- else %}
<tr><td>It was started without parameters.</td></tr>
{%- endfor %}
{%- if command %}
<tr><th align="left">command</th><td>{{ command.id | e }}</td></tr>
<tr><th align="left">key</th><td>{{ command.key | e }}</td></tr>
<tr><th align="left">source</th>
<td>{{ command.topic | e }}, partition {{ command.partition }}, offset {{ command.offset }}</td></tr>
{%- endif %}
</table>
"""

with DAG(
    dag_id="send_email_alert",
    description="Mails the address in conf.email",
    # Not "@once": that makes a run without conf.
    schedule=None,
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),  # noqa: UP017 (Airflow 2 runs on older Pythons too)
    catchup=False,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=5)},
    tags=["streamapp"],
) as dag:
    EmailOperator(task_id="send_alert_task", to=RECIPIENT, subject=SUBJECT, html_content=BODY)
