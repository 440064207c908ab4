"""migrate: what works is in the vault before it leaves a file; what was taken out can be put back; nothing is lost."""

import base64
import contextlib
import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import secretstorage

from tests.cli.listed import listed
from tests.cli.person import Person
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner
from tests.vault.peers import LOGIN_COLLECTION, KeyringSession

HELPER = "git-credential-bitbucket"
VAULT = ".local/share/git-credential-bitbucket/vault"


def filled(run: Runner, request: str) -> dict[str, str]:
    """What git gets for a request, from this helper alone."""
    answer = run(HELPER, "get", stdin=request).stdout
    return dict(line.split("=", 1) for line in answer.split("\n") if line)


def test_tokens_are_moved_and_files_cleaned(alone: Runner, home: Path) -> None:
    """Remotes, insteadOf, the store helper's file, .netrc and a profile; the lines besides stay."""
    dead, mine, app = tokens.app_password(), tokens.api_token(), tokens.access_token()
    alone("git", "init", "-q", ".")
    alone("git", "remote", "add", "origin", f"https://x-token-auth:{app}@bitbucket.org/acme/app.git")
    alone("git", "remote", "add", "old", f"https://alice:{dead}@bitbucket.org/acme/old.git")
    (home / ".gitconfig").write_text(
        f'# mine\n[url "https://alice:{dead}@bitbucket.org/"]\n\tinsteadOf = bb:\n[user]\n\tname = A\n'
    )
    kept = home / ".git-credentials"
    encoded = mine.replace("=", "%3d")
    kept.write_text(f"https://a:b@github.com\nhttps://alice%40example.com:{encoded}@bitbucket.org\nhttps://c:d@x.org\n")
    kept.chmod(0o640)
    netrc = home / ".netrc"
    netrc.write_text(f"machine x.org login a password b\nmachine bitbucket.org\n  login alice\n  password {dead}\n")
    profile = home / ".bashrc"
    profile.write_text(f"alias ll=ls\nif true; then\n  export BITBUCKET_APP_PASSWORD={dead}\nfi\n")
    said = alone(HELPER, "migrate").stdout

    assert {(one["kind"], one["scope"], one["account"]) for one in listed(alone)} == {
        ("api-token", "bitbucket.org", "alice@example.com"),
        ("access-token", "bitbucket.org/acme/app", None),
    }
    assert filled(alone, "protocol=https\nhost=bitbucket.org\npath=acme/app.git\n")["password"] == app
    assert filled(alone, "protocol=https\nhost=bitbucket.org\npath=other/x.git\n")["password"] == mine
    assert alone("git", "remote", "get-url", "origin").stdout == "https://bitbucket.org/acme/app.git\n"
    assert alone("git", "remote", "get-url", "old").stdout == "https://bitbucket.org/acme/old.git\n"
    assert (home / ".gitconfig").read_text() == (
        '# mine\n[url "https://bitbucket.org/"]\n\tinsteadOf = bb:\n[user]\n\tname = A\n'
    )
    assert kept.read_text() == "https://a:b@github.com\nhttps://c:d@x.org\n"
    assert kept.stat().st_mode & 0o777 == 0o640
    assert netrc.read_text() == "machine x.org login a password b\n"
    assert profile.read_text() == "alias ll=ls\nif true; then\n  export BITBUCKET_APP_PASSWORD=\nfi\n"
    assert "Needs a new token: the app password of alice" in said
    assert not any(secret[5:] in said for secret in (dead, mine, app))
    left = alone(HELPER, "audit", check=False)
    assert (left.returncode, "Found: 1 reference to app passwords.\n" in left.stdout) == (3, True)


def test_undo_puts_everything_back(alone: Runner, home: Path) -> None:
    """Byte for byte; and only once."""
    dead = tokens.app_password()
    alone("git", "init", "-q", ".")
    alone("git", "remote", "add", "origin", f"https://alice:{dead}@bitbucket.org/acme/app.git")
    files = {
        home / "work" / ".git" / "config": (home / "work" / ".git" / "config").read_bytes(),
        home / ".netrc": f"machine bitbucket.org login a password {dead}".encode(),
        home / ".git-credentials": f"https://a:{dead}@bitbucket.org\nhttps://b:{dead}@bitbucket.org\r\n".encode(),
        home / ".zshrc": b"\xff\xfe\nexport BITBUCKET_APP_PASSWORD='%s' # mine" % dead.encode(),
    }
    store = home / ".gcm" / "store" / "git" / "https" / "bitbucket.org"
    store.mkdir(parents=True)
    files[store / "a.credential"] = f"{dead}\nservice=https://bitbucket.org\naccount=a\n".encode()
    for path, content in files.items():
        path.write_bytes(content)
        path.chmod(0o600)
    alone(HELPER, "migrate")
    assert not (store / "a.credential").exists()
    assert not any(dead.encode() in path.read_bytes() for path in files if path.exists())
    assert alone(HELPER, "migrate").stdout == "There is nothing to move.\n"
    alone(HELPER, "migrate", "--undo")
    assert [path.name for path, content in files.items() if path.read_bytes() != content] == []
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    refused = alone(HELPER, "migrate", "--undo", check=False)
    assert "error: there is nothing to undo" in refused.stderr


def test_undo_keeps_what_was_changed_since(alone: Runner, home: Path) -> None:
    """The lines go back to where their neighbours are now."""
    dead = tokens.app_password()
    profile = home / ".profile"
    profile.write_text(f"one\nexport BITBUCKET_APP_PASSWORD={dead}\ntwo\n")
    (home / ".git-credentials").write_text(f"https://x:y@x.org\nhttps://a:{dead}@bitbucket.org\n")
    alone(HELPER, "migrate")
    profile.write_text("zero\n" + profile.read_text() + "three\n")
    (home / ".git-credentials").write_text("https://new:y@x.org\n")
    alone(HELPER, "migrate", "--undo")
    assert profile.read_text() == f"zero\none\nexport BITBUCKET_APP_PASSWORD={dead}\ntwo\nthree\n"
    assert (home / ".git-credentials").read_text() == f"https://new:y@x.org\nhttps://a:{dead}@bitbucket.org\n"


def test_a_dry_run_touches_nothing(alone: Runner, home: Path) -> None:
    """No file, no vault; it says what would be done."""
    token = tokens.api_token()
    text = f"https://a:{token}@bitbucket.org\n"
    (home / ".git-credentials").write_text(text)
    said = alone(HELPER, "migrate", "--dry-run").stdout
    assert "Would move into the vault: API token for bitbucket.org of a" in said
    assert f"Would clean: {home}/.git-credentials" in said
    assert token[5:] not in said
    assert (home / ".git-credentials").read_text() == text
    assert not (home / VAULT).exists()
    assert listed(alone) == []


def test_nothing_leaves_a_file_that_did_not_get_into_the_vault(alone: Runner, home: Path) -> None:
    """Without a key there is no vault, so everything stays where it is."""
    del alone.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
    text = f"https://a:{tokens.api_token()}@bitbucket.org\n"
    (home / ".git-credentials").write_text(text)
    refused = alone(HELPER, "migrate", check=False)
    assert refused.returncode == 1
    assert "hint: " in refused.stderr
    assert (home / ".git-credentials").read_text() == text


def test_a_token_never_takes_anothers_place(alone: Runner, home: Path) -> None:
    """The one that is kept may be the newer one; the other leaves the file, comes after it, and can be chosen."""
    kept, found = tokens.api_token(), tokens.api_token()
    alone(HELPER, "login", "--no-verify", "--api-token", stdin=f"{kept}\n")
    text = f"https://x-bitbucket-api-token-auth:{found}@bitbucket.org\nhttps://u:{kept}@bitbucket.org\n"
    (home / ".git-credentials").write_text(text)
    dry = alone(HELPER, "migrate", "--dry-run").stdout
    assert "after the one already stored for the same scope" in dry
    said = alone(HELPER, "migrate").stdout
    assert "after the one already stored for the same scope" in said
    assert (home / ".git-credentials").read_text() == ""
    assert filled(alone, "protocol=https\nhost=bitbucket.org\n")["password"] == kept
    assert [one["state"] for one in listed(alone)] == ["ready", "ready"]
    alone(HELPER, "migrate", "--undo")
    assert (home / ".git-credentials").read_text() == text
    alone(HELPER, "migrate")
    (other,) = [one["id"] for one in listed(alone) if not one["answers"]]
    alone(HELPER, "switch", other)
    assert filled(alone, "protocol=https\nhost=bitbucket.org\n")["password"] == found


def test_what_is_kept_goes_first_whosever_it_is(alone: Runner, home: Path) -> None:
    """A token that was found may be an old one of the same account, under another of its names."""
    kept = tokens.api_token()
    names = ("--account", "bob@example.com", "--account", "Bob")
    alone(HELPER, "login", "--no-verify", "--api-token", *names, "--expires", "90d", stdin=f"{kept}\n")
    text = "".join(f"https://{name}:{tokens.api_token()}@bitbucket.org\n" for name in ("bob", "carol"))
    (home / ".git-credentials").write_text(text)
    said = alone(HELPER, "migrate").stdout
    assert said.count("after the one already stored for the same scope") == 2
    assert filled(alone, "protocol=https\nhost=bitbucket.org\n")["password"] == kept
    assert [one["state"] for one in listed(alone)] == ["ready"] * 3


def test_what_curl_sends_before_what_is_kept_is_taken_out(alone: Runner, home: Path) -> None:
    """An old token in ~/.netrc overrides the new one; `doctor` names this verb as the cure, and it is one."""
    kept, found = tokens.api_token(), tokens.api_token()
    alone(HELPER, "configure")
    alone(HELPER, "login", "--no-verify", "--api-token", stdin=f"{kept}\n")
    netrc = home / ".netrc"
    netrc.write_text(f"machine bitbucket.org login x-bitbucket-api-token-auth password {found}\n")
    netrc.chmod(0o600)
    assert "~/.netrc" in alone(HELPER, "doctor", check=False).stdout
    alone(HELPER, "migrate")
    assert found not in netrc.read_text()
    assert "no secret in a URL, a header or ~/.netrc" in alone(HELPER, "doctor", check=False).stdout


def test_two_accounts_and_two_repositories_are_kept_apart(alone: Runner, home: Path) -> None:
    """Each token under its account or its repository; one that was kept for all repositories stays so."""
    alice, bob, app, whole = (*(tokens.api_token() for _ in range(2)), *(tokens.access_token() for _ in range(2)))
    (home / ".git-credentials").write_text(
        f"https://alice:{alice}@bitbucket.org\nhttps://bob:{bob}@bitbucket.org\n"
        f"https://x-token-auth:{app}@bitbucket.org/acme/app.git\nhttps://x-token-auth:{app}@bitbucket.org/acme/lib\n"
        f"https://x-token-auth:{whole}@bitbucket.org\nhttps://x-token-auth:{whole}@bitbucket.org/acme/x\n"
    )
    alone(HELPER, "migrate")
    assert sorted((one["scope"], one["account"] or "") for one in listed(alone)) == [
        ("bitbucket.org", ""),
        ("bitbucket.org", "alice"),
        ("bitbucket.org", "bob"),
        ("bitbucket.org/acme/app", ""),
        ("bitbucket.org/acme/lib", ""),
    ]
    assert (home / ".git-credentials").read_text() == ""


def test_a_file_that_cannot_be_changed_stops_nobody_else(alone: Runner, home: Path) -> None:
    """Another program holds git's lock on it: an error at the end, the token in the vault, the other files clean."""
    token = tokens.api_token()
    (home / ".git-credentials").write_text(f"https://a:{token}@bitbucket.org\n")
    (home / ".git-credentials.lock").touch()
    (home / ".bashrc").write_text(f"T={token}\n")
    refused = alone(HELPER, "migrate", check=False)
    assert refused.returncode == 1
    assert "another program is changing" in refused.stderr
    assert token in (home / ".git-credentials").read_text()
    assert (home / ".bashrc").read_text() == "T=\n"
    assert len(listed(alone)) == 1
    (home / ".git-credentials.lock").unlink()
    alone(HELPER, "migrate")
    assert (home / ".git-credentials").read_text() == ""


def test_links_of_a_home_are_followed_and_those_of_a_repository_are_not(alone: Runner, home: Path) -> None:
    """Dotfiles live elsewhere; a cloned repository's configuration must not lead to another file."""
    dead = tokens.app_password()
    (home / "dotfiles").write_text(f"export BITBUCKET_APP_PASSWORD={dead}\n")
    (home / ".bashrc").symlink_to("dotfiles")
    alone("git", "init", "-q", ".")
    config = home / "work" / ".git" / "config"
    victim = home / "victim"
    victim.write_text(config.read_text() + f'[remote "o"]\n\turl = https://a:{dead}@bitbucket.org/a/b\n')
    config.unlink()
    config.symlink_to(victim)
    alone(HELPER, "migrate")
    assert (home / ".bashrc").is_symlink()
    assert (home / "dotfiles").read_text() == "export BITBUCKET_APP_PASSWORD=\n"
    assert dead in victim.read_text()


def test_what_is_of_no_known_kind_is_left_and_told(alone: Runner, home: Path) -> None:
    """Nobody knows what works with it."""
    text = "https://alice:" + os.urandom(9).hex() + "@bitbucket.org\n"
    (home / ".git-credentials").write_text(text)
    said = alone(HELPER, "migrate").stdout
    assert "Left unchanged" in said
    assert (home / ".git-credentials").read_text() == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('[http "https://bitbucket.org"]\n\textraHeader = {}\n\tx = y\n', '[http "https://bitbucket.org"]\n\tx = y\n'),
        ('[http "https://bitbucket.org"] extraHeader = "{}" ; a\n[user]\n', '[http "https://bitbucket.org"]\n[user]\n'),
        ("[http]\n\tEXTRAHEADER = \\\n{}\\\n\n\tx = y\n", "[http]\n\tx = y\n"),
        ("[http]\n\textraHeader = {}", "[http]\n"),
    ],
)
@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_a_header_is_taken_out_whole(alone: Runner, home: Path, before: str, after: str, scheme: str) -> None:
    """What is left of an Authorization header would be sent as one; git reads the rest as before."""
    token = tokens.access_token()
    value = base64.b64encode(f"x-token-auth:{token}".encode()).decode() if scheme == "Basic" else token
    other = '[http "https://x.org"]\n\textraHeader = Authorization: Bearer abc\n'
    (home / ".gitconfig").write_text(other + before.format(f"Authorization: {scheme} {value}"))
    alone(HELPER, "migrate")
    assert (home / ".gitconfig").read_text() == other + after
    assert filled(alone, "protocol=https\nhost=bitbucket.org\n")["password"] == token
    keys = alone("git", "config", "--global", "--list", "--name-only").stdout.split()
    assert keys.count("http.https://x.org.extraheader") == 1
    assert ("http.x" in keys) == (after.startswith("[http]") and "x = y" in after)


def test_a_header_of_a_workspace_stays_that_workspaces(alone: Runner, home: Path) -> None:
    """Git sent it there alone; for the whole host it would go before what is meant for others."""
    token = tokens.access_token()
    (home / ".gitconfig").write_text(
        f'[http "https://bitbucket.org/acme/"]\n\textraHeader = Authorization: Bearer {token}\n'
    )
    alone(HELPER, "migrate")
    assert [one["scope"] for one in listed(alone)] == ["bitbucket.org/acme"]


def test_a_header_in_a_variable_is_taken_out_whole(alone: Runner, home: Path) -> None:
    """An empty http.extraHeader sends none; `Authorization: Bearer` alone would be sent. In an alias it is left."""
    token, other = tokens.access_token(), tokens.access_token()
    (home / ".bashrc").write_text(
        f"export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraHeader\n"
        f'export GIT_CONFIG_VALUE_0="Authorization: Bearer {token}"\n'
    )
    text = f"[alias]\n\tbb = -c http.extraHeader='Authorization: Bearer {other}' fetch\n"
    (home / ".gitconfig").write_text(text)
    said = alone(HELPER, "migrate").stdout
    assert 'GIT_CONFIG_VALUE_0=""\n' in (home / ".bashrc").read_text()
    assert (home / ".gitconfig").read_text() == text
    assert "it cannot be removed without breaking the line" in said


def test_what_would_be_cut_in_half_is_left_and_the_rest_of_the_file_cleaned(alone: Runner, home: Path) -> None:
    """A helper that lost its token would answer git with an empty password, and go before ours."""
    token, other = tokens.access_token(), tokens.access_token()
    helper = f'[credential]\n\thelper = "!f() {{ echo username=x-token-auth; echo password={token}; }}; f"\n'
    remote = '[remote "o"]\n\turl = https://{}bitbucket.org/a/b\n'
    (home / ".gitconfig").write_text(helper + remote.format(f"x-token-auth:{other}@"))
    said = alone(HELPER, "migrate").stdout
    assert (home / ".gitconfig").read_text() == helper + remote.format("")
    assert said.count("it cannot be removed without breaking the line") == 1
    assert {one["scope"] for one in listed(alone)} == {"bitbucket.org", "bitbucket.org/a/b"}


def test_the_email_beside_a_token_is_kept(alone: Runner, home: Path) -> None:
    """Git takes the Bitbucket username or none, REST the email alone: wherever one was found, both are kept."""
    token, kept = tokens.api_token(), tokens.api_token()
    alone(HELPER, "login", "--no-verify", "--api-token", stdin=f"{kept}\n")
    (home / ".git-credentials").write_text(
        f"https://alice:{token}@bitbucket.org\nhttps://bob%40example.com:{kept}@bitbucket.org\n"
    )
    (home / ".netrc").write_text(f"machine api.bitbucket.org login alice@example.com password {token}\n")
    dead = tokens.app_password()
    (home / ".bashrc").write_text(f"git clone https://carol%40example.com:{dead}@bitbucket.org/a/b\n")
    said = alone(HELPER, "migrate").stdout
    told = {(one["account"], one["bitbucket_username"]) for one in listed(alone)}
    assert told == {("alice@example.com", "alice"), ("bob@example.com", None)}
    assert "Added the email bob@example.com" in said
    assert [one["state"] for one in listed(alone)] == ["ready", "ready"]
    assert "login --api-token --account carol@example.com" in said


def test_an_access_token_is_nobodys(alone: Runner, home: Path) -> None:
    """Whatever name stood before it: it would be kept from those who ask under another."""
    token = tokens.access_token()
    (home / ".git-credentials").write_text(f"https://alice:{token}@bitbucket.org\n")
    alone(HELPER, "migrate")
    assert filled(alone, "protocol=https\nhost=bitbucket.org\nusername=bob\n")["password"] == token


def test_who_reads_a_cleaned_file_is_told(alone: Runner, home: Path) -> None:
    """REST by ~/.netrc (`curl -n`) and scripts that read a variable ask no credential helper."""
    netrc = home / ".netrc"
    netrc.write_text(f"machine api.bitbucket.org login a@example.com password {tokens.api_token()}\n")
    (home / ".profile").write_text(f"export BITBUCKET_TOKEN={tokens.access_token()}\n")
    for words in (("--dry-run",), ()):
        said = alone(HELPER, "migrate", *words).stdout
        assert f"programs that read {netrc} (curl -n) will no longer find a login for Bitbucket" in said
        assert 'write: -H "$(git-credential-bitbucket token --header)"' in said
        assert f"programs that get a token from {home}/.profile will no longer get one" in said
    assert netrc.read_text() == ""


def test_what_is_logged_out_while_it_asks_stays_in_its_file(alone: Runner, home: Path) -> None:
    """Its email was to be added; nothing is cleaned, for the vault no longer has the token."""
    token, kept = tokens.api_token(), home / ".git-credentials"
    alone(HELPER, "login", "--no-verify", "--api-token", stdin=f"{token}\n")
    kept.write_text(text := f"https://bob%40example.com:{token}@bitbucket.org\n")
    with Person({**alone.env, "TERM": "xterm"}, alone.folder).types(HELPER, "migrate") as dialogue:
        dialogue.reads("Do this now? [y/N]")
        alone(HELPER, "logout")
        dialogue.types("y")
        dialogue.reads("error: no stored credential has exactly this id")
        dialogue.ends(1)
    assert kept.read_text() == text


@pytest.mark.parametrize(("answer", "is_done"), [("y", True), ("", False)])
def test_at_a_terminal_it_asks_first(alone: Runner, home: Path, answer: str, is_done: bool) -> None:
    """It shows what it will do; no answer is a no. With --yes it does not ask."""
    kept = home / ".git-credentials"
    text = f"https://a:{tokens.api_token()}@bitbucket.org\n"
    kept.write_text(text)
    person = Person({**alone.env, "TERM": "xterm"}, alone.folder)
    with person.types(HELPER, "migrate") as dialogue:
        dialogue.reads(f"Would clean: {kept}")
        dialogue.reads("Do this now? [y/N]")
        assert kept.read_text() == text
        dialogue.types(answer)
        dialogue.reads("Moved into the vault" if is_done else "Nothing was changed.")
        dialogue.ends()
    if not is_done:
        assert kept.read_text() == text
        with person.types(HELPER, "migrate", "--yes") as dialogue:
            dialogue.reads("Moved into the vault")
            dialogue.ends()
    assert kept.read_text() == ""


def test_a_host_that_is_opted_in_is_migrated_too(keyed: Runner, home: Path, bitbucket: FakeBitbucket) -> None:
    token = tokens.access_token()
    (home / ".git-credentials").write_text(f"https://x-token-auth:{token}@{bitbucket.netloc}\n")
    keyed(HELPER, "migrate")
    assert [one["scope"] for one in listed(keyed)] == [bitbucket.netloc]
    assert (home / ".git-credentials").read_text() == ""


def test_an_address_over_http_stops_nobody_else(keyed: Runner, home: Path, bitbucket: FakeBitbucket) -> None:
    """The host is opted in for https alone: that one stays, with the reason, and the others are moved."""
    plain, token = tokens.access_token(), tokens.access_token()
    stays = f"http://x-token-auth:{plain}@{bitbucket.netloc}/acme/app\n"
    (home / ".git-credentials").write_text(f"{stays}https://x-token-auth:{token}@{bitbucket.netloc}\n")
    said = keyed(HELPER, "migrate").stdout
    assert [one["scope"] for one in listed(keyed)] == [bitbucket.netloc]
    assert (home / ".git-credentials").read_text() == stays
    assert "Left unchanged" in said
    assert f"http://{bitbucket.netloc} is not configured as Bitbucket" in said


def test_what_another_helper_keeps_in_the_keyring_is_moved_too(alone: Runner, home: Path) -> None:
    """And stays there: a keyring encrypts."""
    token = tokens.api_token()
    attributes = {"xdg:schema": "com.microsoft.GitCredentialManager", "service": "git:https://bitbucket.org"}
    with KeyringSession(home) as session:
        with closing(session.connection()) as bus:
            collection = secretstorage.Collection(bus, LOGIN_COLLECTION)
            collection.create_item("entry", {**attributes, "account": "alice"}, token.encode())
        alone.env.pop("GIT_CREDENTIAL_BITBUCKET_KEYRING")
        alone.env["DBUS_SESSION_BUS_ADDRESS"] = session.env["DBUS_SESSION_BUS_ADDRESS"]
        found = alone(HELPER, "audit", check=False)
        assert (found.returncode, token[5:] in found.stdout) == (1, False)
        assert "git-credential-manager's entry for bitbucket.org" in found.stdout
        said = alone(HELPER, "migrate").stdout
        assert session.items() == ["entry"]
    assert "Moved into the vault: API token for bitbucket.org of alice" in said
    assert filled(alone, "protocol=https\nhost=bitbucket.org\n")["password"] == token


def test_another_services_app_password_is_not_taken_out(alone: Runner, home: Path) -> None:
    """Others have such a name too; what does not say Bitbucket is for a person to judge."""
    text = f"alias bb='open https://bitbucket.org'\nexport APP_PASSWORD=k3{os.urandom(8).hex()}\n"
    text += f"export GMAIL_APP_PASSWORD=k3{os.urandom(8).hex()}\n"
    (home / ".bashrc").write_text(text)
    alone(HELPER, "migrate")
    assert (home / ".bashrc").read_text() == text


@pytest.mark.parametrize("after_s", [0.3, 0.5, 0.7, 0.9, 1.2])
def test_killed_at_any_moment_no_token_is_lost(alone: Runner, home: Path, after_s: float) -> None:
    """It is in the vault, or still in the file, or both; the file is whole."""
    alone.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    held = {f"user{i}": tokens.api_token() for i in range(6)}
    text = "".join(f"https://{user}:{token}@bitbucket.org\n" for user, token in held.items())
    kept = home / ".git-credentials"
    kept.write_text(text)
    with subprocess.Popen(
        [str(home / ".local" / "bin" / HELPER), "migrate"], env=alone.env, cwd=alone.folder, stdout=subprocess.DEVNULL
    ) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        process.kill()
    assert kept.read_text() in (text, "")
    if not kept.read_text():
        assert {one["account"] for one in listed(alone)} == set(held)


def test_a_data_centers_tokens_move_with_their_owners(alone: Runner, home: Path) -> None:
    """A person's goes with the name beside it, a repository's with its address; one whose server or owner is named
    nowhere stays.
    """
    mine, app, nobodys = (tokens.http_token() for _ in range(3))
    alone("git", "config", "--global", "credential.https://git.example.provider", "bitbucket-data-center")
    quoted = {one: one.replace("+", "%2B").replace("/", "%2F") for one in (mine, app)}
    (home / ".git-credentials").write_text(f"https://alice:{quoted[mine]}@git.example\n")
    (home / ".bashrc").write_text(f"export BITBUCKET_TOKEN={nobodys}\n")
    alone("git", "init", "-q", ".")
    alone("git", "remote", "add", "origin", f"https://x-token-auth:{quoted[app]}@git.example/scm/PROJ/app.git")
    said = alone(HELPER, "migrate").stdout
    assert {(one["kind"], one["scope"], one["bitbucket_username"]) for one in listed(alone)} == {
        ("personal-token", "git.example", "alice"),
        ("access-token", "git.example/proj/app", None),
    }
    assert "which Bitbucket Data Center it is for" in said
    assert nobodys in (home / ".bashrc").read_text()
    for path, username, token in (("PROJ/app", "x-token-auth", app), ("OPS/tool", "alice", mine)):
        got = filled(alone, f"protocol=https\nhost=git.example\npath=scm/{path}.git\n\n")
        assert (got["username"], got["password"]) == (username, token)
