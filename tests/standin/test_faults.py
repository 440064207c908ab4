"""The script of faults, as a client meets it."""

import threading
import time

import pytest
import requests

from tests.standin.client import ConsumerKey, StandIn, StandInError


@pytest.fixture
def consumer(standin: StandIn) -> ConsumerKey:
    """A private consumer of the workspace acme."""
    return standin.add_consumer()


def mint(standin: StandIn, http: requests.Session, consumer: ConsumerKey, timeout: float = 30) -> requests.Response:
    """One client_credentials request."""
    url = f"{standin.url}/site/oauth2/access_token"
    client = (consumer.key, consumer.secret)
    form = {"grant_type": "client_credentials"}
    return http.post(url, data=form, auth=client, timeout=timeout, allow_redirects=False)


@pytest.mark.parametrize(
    ("kind", "more", "status", "body"),
    [
        ("429", {"retry_after": "7"}, 429, "Rate limit"),
        ("429", {}, 429, "Rate limit"),
        ("500", {}, 500, "Something went wrong"),
        ("502-html", {}, 502, "<h1>502 Bad Gateway</h1>"),
        ("cut-json", {}, 200, "cut sho"),
        ("wrong-type", {}, 200, "Log in to continue"),
        ("error-200", {}, 200, "server_error"),
        ("redirect", {"location": "https://127.0.0.1:1/"}, 302, ""),
    ],
)
def test_one_request_fails_as_scripted_and_the_next_is_served(
    standin: StandIn,
    http: requests.Session,
    consumer: ConsumerKey,
    kind: str,
    more: dict[str, str],
    status: int,
    body: str,
) -> None:
    """Each fault that is an answer."""
    standin.script_fault("token", kind, **more)
    answer = mint(standin, http, consumer)
    assert answer.status_code == status
    assert body in answer.text
    assert answer.headers.get("Retry-After") == more.get("retry_after")
    assert answer.headers.get("Location") == more.get("location")
    assert mint(standin, http, consumer).status_code == 200
    assert [entry.fault for entry in standin.token_requests()] == [kind, None]


@pytest.mark.parametrize("kind", ["reset", "cut"])
def test_a_dropped_connection_is_an_error_to_the_client(
    standin: StandIn, http: requests.Session, consumer: ConsumerKey, kind: str
) -> None:
    """Before the answer, or in the middle of it."""
    standin.script_fault("token", kind)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        mint(standin, http, consumer)
    assert mint(standin, http, consumer).status_code == 200


def test_a_lost_answer_may_have_been_acted_upon(
    standin: StandIn, http: requests.Session, consumer: ConsumerKey
) -> None:
    """With `act` the refresh token is spent although the client saw a reset."""
    _, refresh_token = standin.issue_login(consumer)
    standin.script_fault("token", "reset", act=True)
    url, client = f"{standin.url}/site/oauth2/access_token", (consumer.key, consumer.secret)
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    with pytest.raises(requests.ConnectionError):
        http.post(url, data=form, auth=client, timeout=30)
    assert http.post(url, data=form, auth=client, timeout=30).json()["error"] == "unauthorized_client"


def test_a_hanging_server_keeps_the_client_waiting(
    standin: StandIn, http: requests.Session, consumer: ConsumerKey
) -> None:
    """Until the client's own time-out."""
    standin.script_fault("token", "hang")
    with pytest.raises(requests.ReadTimeout):
        mint(standin, http, consumer, timeout=0.2)


def test_a_held_request_is_answered_when_released(
    standin: StandIn, http: requests.Session, consumer: ConsumerKey
) -> None:
    """A test can look at the world while a request is on its way."""
    standin.script_fault("token", "hold")
    statuses: list[int] = []
    waiting = threading.Thread(target=lambda: statuses.append(mint(standin, http, consumer).status_code))
    waiting.start()
    standin.wait_for("token")
    assert standin.token_requests()[0].status is None
    standin.release()
    waiting.join(30)
    assert statuses == [200]


def test_faults_count_and_wait_their_turn(standin: StandIn, http: requests.Session, consumer: ConsumerKey) -> None:
    """Two failures after one success; other endpoints are not concerned."""
    standin.script_fault("token", "503", count=2, after=1)
    assert [mint(standin, http, consumer).status_code for _ in range(4)] == [200, 503, 503, 200]


def test_latency_delays_each_answer(standin: StandIn, http: requests.Session, consumer: ConsumerKey) -> None:
    """By the knob, in seconds."""
    standin.turn(latency=0.2)
    began = time.monotonic()
    mint(standin, http, consumer)
    assert time.monotonic() - began >= 0.2


def test_a_server_that_is_down_drops_every_connection(
    standin: StandIn, http: requests.Session, consumer: ConsumerKey
) -> None:
    """And is back when the knob is turned back."""
    standin.turn(down=True)
    with pytest.raises(requests.ConnectionError):
        mint(standin, http, consumer)
    standin.turn(down=False)
    assert mint(standin, http, consumer).status_code == 200


@pytest.mark.parametrize(("endpoint", "kind"), [("tokens", "429"), ("token", "hiccup")])
def test_a_fault_that_does_not_exist_is_the_tests_mistake(standin: StandIn, endpoint: str, kind: str) -> None:
    """So that no test passes because its fault never came."""
    with pytest.raises(StandInError, match=f"no .*{endpoint if kind == '429' else kind}"):
        standin.script_fault(endpoint, kind)
