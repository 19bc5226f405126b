"""Ways to be let in, over real sockets: private certificates, headers for what stands before Airflow, upgrades."""

import httpx
import pytest

from streamapp.airflow.chosen import PAUSE_AFTER_CHOICE_SECONDS
from streamapp.airflow.connect import check_log_in, connect
from streamapp.airflow.port import AirflowUnavailable, Created, TurnedAway, Uncertain
from streamapp.clock import SystemClock
from streamapp.core.errors import ConfigError
from streamapp.settings import Settings
from tests.support import fake_v1
from tests.support.certificate import certify
from tests.support.fake_airflow import VERSION, FakeAirflow
from tests.support.gateway import Gateway


@pytest.fixture(params=[VERSION, fake_v1.VERSION])
def fake(request):
    with FakeAirflow(version=request.param).in_thread() as fake:
        yield fake


def settings(fake, **others):
    log_in = {"airflow_username": fake.username, "airflow_password": fake.password}
    return Settings(**({"airflow_url": fake.url} | log_in | others))


async def test_a_private_certificate_is_taken_when_its_file_is_named(fake, tmp_path):
    file, context = certify(tmp_path)
    with Gateway(fake.url, context) as gateway:
        airflow = connect(settings(fake, airflow_url=gateway.url, airflow_ca_file=file), SystemClock())
        assert await airflow.health() == fake.version
        assert isinstance(await airflow.trigger("probe", "r1", {"long": "x" * 100_000}), Created)
        assert len((await airflow.get("probe", "r1")).conf["long"]) == 100_000
        await airflow.close()


async def test_an_unknown_certificate_is_told_and_nothing_is_sent(fake, tmp_path):
    _, context = certify(tmp_path)
    with Gateway(fake.url, context) as gateway:
        airflow = connect(settings(fake, airflow_url=gateway.url), SystemClock())
        answer = await airflow.trigger("probe", "r1", {})
        assert isinstance(answer, TurnedAway)
        assert "certificate" in answer.detail.lower()
        assert fake.requests.total() == 0
        await airflow.close()


async def test_an_answer_that_tls_cannot_read_leaves_open_whether_the_run_exists(fake, tmp_path):
    file, context = certify(tmp_path)
    with Gateway(fake.url, context) as gateway:
        airflow = connect(settings(fake, airflow_url=gateway.url, airflow_ca_file=file), SystemClock())
        await airflow.health()
        gateway.damage(answers=True)
        assert isinstance(await airflow.trigger("probe", "r1", {}), Uncertain)
        with pytest.raises(AirflowUnavailable, match="SSLError"):
            await airflow.get("probe", "r1")
        gateway.damage(answers=False)
        assert await airflow.get("probe", "r1") is not None
        await airflow.close()


def test_a_file_without_certificates_stops_the_start(fake, tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("not a certificate")
    with pytest.raises(ConfigError, match=r"STREAMAPP_AIRFLOW_CA_FILE=.*certificates in PEM"):
        connect(settings(fake, airflow_ca_file=file), SystemClock())


def test_without_a_log_in_the_start_stops():
    with pytest.raises(ConfigError, match=r"STREAMAPP_AIRFLOW_USERNAME .* must be set"):
        check_log_in(Settings())


async def test_a_token_that_somebody_else_made_is_used_as_it_is():
    with FakeAirflow().in_thread() as fake:
        body = {"username": fake.username, "password": fake.password}
        async with httpx.AsyncClient() as client:
            token = (await client.post(f"{fake.url}/auth/token", json=body)).json()["access_token"]
        airflow = connect(Settings(airflow_url=fake.url, airflow_token=token), SystemClock())
        assert isinstance(await airflow.trigger("probe", "r1", {}), Created)
        fake.forget_tokens()
        assert isinstance(await airflow.trigger("probe", "r2", {}), TurnedAway)  # there is no other
        assert fake.requests["login"] == 1
        await airflow.close()


async def test_a_gateway_that_wants_a_header_gets_it_with_every_request(fake):
    fake.wanted_header = ("X-Api-Key", "k-123")
    stranger = connect(settings(fake), SystemClock())
    assert isinstance(await stranger.trigger("probe", "r1", {}), TurnedAway)
    with pytest.raises(AirflowUnavailable, match="401"):
        await stranger.health()
    await stranger.close()
    airflow = connect(settings(fake, airflow_headers={"X-Api-Key": "k-123"}), SystemClock())
    assert await airflow.health() == fake.version
    assert isinstance(await airflow.trigger("probe", "r1", {}), Created)
    await airflow.close()


class QuickClock(SystemClock):
    """A clock that can be put forward."""

    ahead = 0.0

    def monotonic(self):
        return super().monotonic() + self.ahead


async def test_an_upgrade_of_airflow_costs_no_command():
    clock = QuickClock()
    with FakeAirflow(version=fake_v1.VERSION).in_thread() as fake:
        airflow = connect(settings(fake), clock)
        assert isinstance(await airflow.trigger("probe", "r1", {}), Created)
        fake.version = VERSION
        clock.ahead += PAUSE_AFTER_CHOICE_SECONDS
        assert isinstance(await airflow.trigger("probe", "r2", {}), TurnedAway)  # it is asked for again
        assert isinstance(await airflow.trigger("probe", "r2", {}), Created)
        assert (await airflow.get("probe", "r1")).run_id == "r1"
        await airflow.close()
