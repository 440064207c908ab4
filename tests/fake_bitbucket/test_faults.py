"""The script of faults, as a client meets it."""

import time

import pytest
import requests

from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket, StandInError


def mint(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey, timeout: float = 60
) -> requests.Response:
    """One client_credentials request."""
    url = f"{bitbucket.url}/site/oauth2/access_token"
    client = (consumer.key, consumer.secret)
    form = {"grant_type": "client_credentials"}
    return http.post(url, data=form, auth=client, timeout=timeout, allow_redirects=False)


def test_a_lost_answer_may_have_been_acted_upon(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey
) -> None:
    """With `act` the refresh token is spent although the client saw a reset."""
    _, refresh_token = bitbucket.issue_login(consumer)
    bitbucket.script_fault("token", "reset", act=True)
    url, client = f"{bitbucket.url}/site/oauth2/access_token", (consumer.key, consumer.secret)
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    with pytest.raises(requests.ConnectionError):
        http.post(url, data=form, auth=client, timeout=60)
    assert http.post(url, data=form, auth=client, timeout=60).json()["error"] == "unauthorized_client"


def test_a_hanging_server_keeps_the_client_waiting(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey
) -> None:
    bitbucket.script_fault("token", "hang")
    with pytest.raises(requests.ReadTimeout):
        mint(bitbucket, http, consumer, timeout=0.2)


def test_faults_count_and_wait_their_turn(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey
) -> None:
    """Two failures after one success; other endpoints are not concerned."""
    bitbucket.script_fault("token", "503", count=2, after=1)
    assert [mint(bitbucket, http, consumer).status_code for _ in range(4)] == [200, 503, 503, 200]


def test_latency_delays_each_answer(bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey) -> None:
    bitbucket.turn(latency=0.2)
    began = time.monotonic()
    mint(bitbucket, http, consumer)
    assert time.monotonic() - began >= 0.2


def test_a_server_that_is_down_drops_every_connection(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey
) -> None:
    bitbucket.turn(down=True)
    with pytest.raises(requests.ConnectionError):
        mint(bitbucket, http, consumer)
    bitbucket.turn(down=False)
    assert mint(bitbucket, http, consumer).status_code == 200


@pytest.mark.parametrize(("endpoint", "kind"), [("tokens", "429"), ("token", "hiccup")])
def test_a_fault_that_does_not_exist_is_the_tests_mistake(bitbucket: FakeBitbucket, endpoint: str, kind: str) -> None:
    """So that no test passes because its fault never came."""
    with pytest.raises(StandInError, match=f"no .*{endpoint if kind == '429' else kind}"):
        bitbucket.script_fault(endpoint, kind)
