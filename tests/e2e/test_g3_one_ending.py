"""G3: one ending each, also for what a real Airflow refuses; and the e-mail that it all began with arrives."""

from collections.abc import Callable

import pytest

from tests.support.avro_producer import AvroCommands
from tests.support.eventually import eventually
from tests.support.installation import Installation
from tests.support.stack import Mail


@pytest.mark.timeout(300, func_only=True)
def test_what_airflow_refuses_and_what_it_mails(install: Callable[..., Installation], mail: Mail) -> None:
    site = install(dag_missing_grace="2s")
    site.start_workers("one")
    avro = AvroCommands(site.registry_url, site.name)
    site.airflow.trigger("probe", f"cmd__{site.name}__taken__1.1", {"made": "by hand"})
    missing, refused, taken, *after, alert = sent = site.send(
        avro.command(b"missing", id="missing", name="app.nowhere"),
        avro.command(b"refused", id="refused", name="app.strict", email=1),
        avro.command(b"taken", id="taken"),
        avro.command(b"missing", id="after-missing", seconds=0),
        avro.command(b"refused", id="after-refused", name="app.strict", email="test@email.com"),
        avro.command(b"taken", id="after-taken", seconds=0),
        avro.command(b"event", id="alert-1", name="app.send_email_alert", email="test@email.com"),
    )
    endings = site.endings(sent, seconds=120)
    reasons = {missing: "dag_not_found", refused: "refused_by_airflow", taken: "run_id_conflict"}
    for draft, reason in reasons.items():
        ending = endings[draft.place]
        assert (ending["status"], ending["reason"]) == ("rejected", reason), ending["detail"]
        assert site.run_of(draft) is None
    assert "email" in endings[refused.place]["detail"]
    for draft in (*after, alert):
        assert endings[draft.place]["status"] == "succeeded", endings[draft.place]
    letters = {letter.value: dict(letter.headers)["dlq.reason"] for letter in site.dead_letters()}
    assert letters == {draft.value: reason.encode() for draft, reason in reasons.items()}
    eventually(lambda: check_mail(mail))
    assert site.violations() == []


def check_mail(mail: Mail) -> None:
    found = [(one["To"], one["Subject"]) for one in mail.mails]
    assert [to for to, _ in found] == ["test@email.com"], found
    assert "alert-1" in found[0][1], found
