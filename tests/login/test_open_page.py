"""browser.py's opening of pages: which program is started, with what, and what it is not given."""

import sys
from functools import partial
from pathlib import Path

import pytest

from git_credential_bitbucket.bitbucket import oauth
from git_credential_bitbucket.bitbucket.providers import Provider
from git_credential_bitbucket.login import browser
from git_credential_bitbucket.login.authorization import Attempt
from git_credential_bitbucket.login.pages import Page
from tests.fake_bitbucket.client import FakeBitbucket
from tests.login.logins import attempt_at, no_warning

CHECKOUT = Path(__file__).parents[2]
URL = "https://bitbucket.org/site/oauth2/authorize?a=b&state=x;$(touch%20pwned)`id`'\"<>"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A browser that notes down its arguments, its directory and its environment, when all of it is known."""
    program = tmp_path / "bin" / "my-browser"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\n{{ for a in "$@"; do echo "arg $a"; done; pwd; /usr/bin/env; }} >{tmp_path}/part\n'
        f"echo noise\necho noise >&2\n/bin/mv {tmp_path}/part {tmp_path}/noted\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program


def noted(tmp_path: Path) -> list[str]:
    """What the browser has noted, once it has; it runs on its own, so there is nothing to wait on but the file."""
    import time

    deadline = time.monotonic() + 60
    while not (tmp_path / "noted").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return (tmp_path / "noted").read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("{program}", ["arg {url}"]),
        ("{program} --new-window", ["arg --new-window", "arg {url}"]),
        ("{program} --app=%s --x", ["arg --app={url}", "arg --x"]),
        ("/nowhere/browser:{program}", ["arg {url}"]),
        ("'unfinished:{program}", ["arg {url}"]),
        ("my-browser", ["arg {url}"]),
    ],
)
def test_browser_is_obeyed_and_given_the_address_as_one_argument(
    program: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], setting: str, expected: list[str]
) -> None:
    """$BROWSER as other programs read it; no shell looks at the address, nothing comes out on git's stdout."""
    env = {
        "BROWSER": setting.format(program=program),
        "PATH": str(program.parent),
        "BITBUCKET_API_TOKEN": "not-for-browsers",
        "GIT_CREDENTIAL_BITBUCKET_KEY": "not-for-browsers",
    }
    assert browser.open_page(URL, env)
    lines = noted(tmp_path)
    assert lines[: len(expected) + 1] == [*(line.format(url=URL) for line in expected), "/"]
    assert "not-for-browsers" not in "".join(lines)
    assert capfd.readouterr() == ("", "")


def test_a_browser_of_the_repository_s_is_not_started(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git puts us in a work tree: a program that lies there, or is named relative to it, is not run."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    for setting in (str(program), "bin/my-browser", "./bin/my-browser", "my-browser"):
        env = {"BROWSER": setting, "PATH": f"{program.parent}:bin:.", "DISPLAY": ":0"}
        assert not browser.can_open(env)
        assert not browser.open_page(URL, env)


def test_without_a_desktop_nothing_is_opened(program: Path) -> None:
    """Over SSH or in a container there may be an xdg-open, which would start a text browser on git's terminal."""
    (program.parent / "xdg-open").symlink_to(program)
    env = {"PATH": str(program.parent)}
    assert not browser.can_open(env)
    assert browser.can_open({**env, "DISPLAY": ":0"})
    assert browser.can_open({**env, "WAYLAND_DISPLAY": "wayland-0"})


def test_the_whole_way_with_the_person_s_own_browser(
    bitbucket: FakeBitbucket, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The browser that $BROWSER names opens the page, consents, and brings the code; it is good for tokens."""
    command = f"{sys.executable} -m tests.fake_bitbucket.browser --ca {bitbucket.ca_file}"
    monkeypatch.setenv("BROWSER", command)
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.chdir("/")  # a program below the current directory, as a Python in .venv is, would not be started
    shown: list[str] = []
    key = provider.client_id or ""
    renewable: list[bool] = []

    def redeem(attempt: Attempt, query: str) -> Page:
        code = attempt.grant(query)
        sent = code.code, code.redirect_uri, code.verifier
        grant = oauth.exchange_code(provider.endpoint, key, provider.client_secret, *sent)
        renewable.append(grant.refresh_token is not None)
        return Page("Done", ())

    for uri in (provider.redirect_uri, provider.redirect_uri + "deeper?way=2"):
        attempt = attempt_at(provider._replace(redirect_uri=uri))
        browser.log_in(attempt, redeem=partial(redeem, attempt), show=shown.append, warn=no_warning, timeout_s=60)
    assert renewable == [True, True]
    assert all(url.startswith(provider.endpoint.authorize_url) for url in shown)
