"""arguments.py: what people type to name a host, a place on it or a credential."""

from typing import cast

import pytest

from git_credential_bitbucket.agent.status_views import CredentialView
from git_credential_bitbucket.errors import Error, UnknownCredential
from git_credential_bitbucket.ui import arguments


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("acme", "https://bitbucket.org/acme"),
        ("Acme/App.git", "https://bitbucket.org/acme/app"),
        ("bitbucket.org", "https://bitbucket.org"),
        ("bitbucket.org/acme", "https://bitbucket.org/acme"),
        ("localhost:8443/acme", "https://localhost:8443/acme"),
        ("https://bitbucket.org/acme/app.git/info/lfs", "https://bitbucket.org/acme/app"),
        ("https://alice@bitbucket.org/acme/app.git", "https://bitbucket.org/acme/app"),
        ("HTTPS://BITBUCKET.ORG:443/acme/", "https://bitbucket.org/acme"),
        ("http://127.0.0.1:8080/acme", "http://127.0.0.1:8080/acme"),
        ("git@bitbucket.org:acme/app.git", "https://bitbucket.org/acme/app"),
        ("ssh://git@bitbucket.org/acme/app.git", "https://bitbucket.org/acme/app"),
        ("ssh://git@altssh.bitbucket.org:443/acme/app.git", "https://bitbucket.org/acme/app"),
        ("git@code.example:acme/app", "https://code.example/acme/app"),
    ],
)
def test_a_scope_in_every_form_that_people_have_at_hand(text: str, place: str) -> None:
    """The Clone button's URL among them."""
    assert arguments.parse_scope(text).text == place


@pytest.mark.parametrize(
    "text",
    ["", "/", "ssh://git@bitbucket.org/", "https://", "https://[::1/acme", "{uuid}/{uuid}", "../..", "a\nb", "a\x1b[b"],
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    """Rather than taken for the whole host."""
    with pytest.raises(Error) as refused:
        arguments.parse_scope(text)
    assert refused.value.hint


def test_an_ssh_address_is_on_the_host_that_is_meant() -> None:
    """Its port is SSH's, and says nothing about that of https."""
    place = arguments.parse_scope("ssh://git@code.example:7999/acme/app.git", "https://code.example:8443")
    assert place.text == "https://code.example:8443/acme/app"


@pytest.mark.parametrize("text", ["my workspace/app", "acme/my app", "https://bitbucket.org/acme/my app", "caf\u00e9"])
def test_a_title_is_no_name(text: str) -> None:
    """It could never match what git asks for."""
    with pytest.raises(Error, match="not a workspace") as refused:
        arguments.check_scope(arguments.parse_scope(text))
    assert refused.value.hint


def test_a_url_with_a_password_is_refused_and_not_repeated() -> None:
    """It was typed, so it is in the history."""
    with pytest.raises(Error, match="history") as refused:
        arguments.parse_scope("https://alice:hunter2@bitbucket.org/acme")
    assert "hunter2" not in f"{refused.value.cause} {refused.value.hint}"


def stated(**more: str) -> CredentialView:
    """A credential as `status` states it."""
    scope = more.get("scope", "bitbucket.org")
    unknown = dict.fromkeys(("account", "bitbucket_username", "account_id"))
    one = {"kind": "api-token", "scope": scope, "state": "ready", "id": "a" * 12, **unknown}
    return cast("CredentialView", {**one, "url": f"https://{scope}", **more})


def test_an_id_comes_before_a_scope_and_a_scope_is_exact() -> None:
    """`logout acme` must not remove what serves acme/app, nor the whole host's."""
    kept = [
        stated(),
        stated(scope="bitbucket.org/acme", id="b" * 12),
        stated(scope="bitbucket.org/acme/app", id="acme"),
    ]
    assert arguments.find_named(kept, "acme") == [kept[2]]
    assert arguments.find_named(kept[:2], "acme") == [kept[1]]
    with pytest.raises(UnknownCredential):
        arguments.find_named(kept[:1], "acme")


def test_several_without_a_terminal_are_listed_by_id() -> None:
    """Nobody guesses which one is meant."""
    with pytest.raises(Error, match=r"aaaaaaaaaaaa; .* bbbbbbbbbbbb"):
        arguments.select_one([stated(), stated(id="b" * 12)], "for this scope")


def test_the_setting_in_a_hint_can_be_typed_into_a_shell(
    bare_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was given for the host: it comes back as one word, and one with a blank is no host."""
    monkeypatch.setattr("os.environ", bare_env)
    with pytest.raises(Error) as told:
        arguments.find_provider("https://elsewhere.example;reboot")
    assert told.value.hint is not None
    assert "'credential.https://elsewhere.example;reboot.provider'" in told.value.hint
    with pytest.raises(Error, match="not a URL of a Bitbucket host"):
        arguments.find_provider("not a url")


def test_a_project_is_no_scope() -> None:
    """It was kept for a repository named as the project, and never matched."""
    with pytest.raises(Error, match="no wildcards"):
        arguments.check_scope(arguments.parse_scope("acme/OPS/*"))
