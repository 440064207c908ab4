"""`doctor` on machines with one thing wrong each: it is found, told with its cure, and mended where that is safe.

Bitbucket is the stand-in, under its real names by the forward proxy.
"""

import json
import os
import shlex
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from git_credential_bitbucket.client import ipc
from git_credential_bitbucket.diagnostics import config_sections, finding, network, programs
from git_credential_bitbucket.errors import SettingsError
from tests.cli.person import Person
from tests.cli.schemas import validated
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.helpers import control_of
from tests.running import Runner
from tests.sandbox import keep, write_git_config
from tests.sockets import listener_at

HELPER = "git-credential-bitbucket"
CLOUD = "https://bitbucket.org"


@pytest.fixture
def healthy(configured: Runner, home: Path, bitbucket: FakeBitbucket) -> Runner:
    """A machine with nothing wrong: configured, a token kept, Bitbucket in reach."""
    write_git_config(home / ".gitconfig", [("http.proxy", bitbucket.proxy_url)])
    keep(configured.env, f"{CLOUD}/acme/app", bitbucket.issue_access_token("acme/app"))
    return configured


@pytest.fixture
def clone(healthy: Runner, home: Path) -> Path:
    """A repository whose remote is on Bitbucket."""
    healthy("git", "init", "--quiet", "clone")
    clone = home / "work" / "clone"
    healthy("git", "remote", "add", "origin", f"{CLOUD}/acme/app.git", cwd=clone)
    return clone


def looked(run: Runner, *words: str, code: int | None = None, cwd: Path | None = None) -> dict[str, Any]:
    """The JSON document; it is well exactly where the exit code says so."""
    done = run(HELPER, "doctor", "--json", *words, check=False, cwd=cwd)
    document: dict[str, Any] = validated("doctor", done.stdout)
    assert done.returncode == (0 if document["well"] else 1)
    assert code is None or done.returncode == code, document
    return document


def told(document: dict[str, Any], check: str, *levels: str) -> str:
    """What was found under that name, at those levels (else: all but ok), cures included; not empty."""
    wanted = levels or ("note", "wrong")
    lines = [
        f"{one['finding']} | {one['hint']}"
        for one in document["findings"]
        if one["check"] == check and one["level"] in wanted
    ]
    assert lines, document
    return "\n".join(lines)


def wrong(document: dict[str, Any]) -> set[str]:
    """The names of what is wrong."""
    return {one["check"] for one in document["findings"] if one["level"] == "wrong"}


def config(run: Runner, *words: str, cwd: Path | None = None) -> None:
    """`git config`."""
    run("git", "config", *words, cwd=cwd)


def test_a_healthy_machine_has_nothing_wrong(healthy: Runner, clone: Path) -> None:
    """Every part of the way is named, the round trip with the masked answer."""
    document = looked(healthy, code=0, cwd=clone)
    fine = {one["check"] for one in document["findings"] if one["level"] == "ok"}
    assert fine >= {
        *(HELPER, "PATH", "configuration", "addresses", "socket", "vault", "daemon", "credentials"),
        *("proxy", "CA", "network", "clock", "round trip"),
    }
    assert "username x-token-auth and password ATCTT…" in told(document, "round trip", "ok")
    assert "1 stored: 1 ready" in told(document, "credentials", "ok")
    assert "no problems found" in healthy(HELPER, "doctor", cwd=clone).stdout


def test_the_report_can_be_pasted_into_a_bug_report(healthy: Runner, clone: Path, home: Path) -> None:
    """No secret, wherever one lies, and the home directory as ~."""
    secrets = [tokens.access_token(), tokens.api_token(), "hunter2-but-longer"]
    config(healthy, "remote.origin.url", f"https://x-token-auth:{secrets[0]}@bitbucket.org/acme/app.git", cwd=clone)
    config(healthy, "remote.other.url", f"https://{secrets[1]}@bitbucket.org/acme/app.git", cwd=clone)
    config(healthy, "--global", f"url.https://alice:{secrets[2]}@bitbucket.org/.insteadOf", "bb:")
    config(healthy, "--global", "http.extraHeader", f"Authorization: Basic {secrets[2]}")
    config(healthy, "--global", f"http.{CLOUD}.proxy", f"http://bob:{secrets[2]}@127.0.0.1:9")
    config(healthy, "--global", "--add", f"credential.{CLOUD}.helper", f"!f() {{ echo password={secrets[2]}; }}; f")
    (home / ".netrc").write_text(f"machine bitbucket.org\n login alice\n password {secrets[2]}\n")
    healthy.env["BITBUCKET_TOKEN"] = secrets[0]
    for words in ((), ("--json",), ("--fix",)):
        done = healthy(HELPER, "doctor", *words, check=False, cwd=clone)
        said = done.stdout + done.stderr
        assert not [secret for secret in secrets if secret[:12] in said]
        assert str(home) not in said
        assert "~/" in said


def test_a_git_that_does_not_ask_us_is_configured(healthy: Runner) -> None:
    healthy(HELPER, "unconfigure")
    document = looked(healthy, code=1)
    assert (
        "to ask git-credential-bitbucket for https://bitbucket.org | run: git-credential-bitbucket configure"
        in told(document, "configuration", "wrong")
    )
    assert "round trip" in wrong(document)
    assert looked(healthy, "--fix", code=0)["fixed"] == ["configured git for https://bitbucket.org"]
    assert looked(healthy, code=0)["fixed"] == []


def test_a_stale_path_is_brought_up_to_date(healthy: Runner) -> None:
    """Complaint 14: the absolute path died with an upgrade."""
    config(healthy, "--global", "--replace-all", f"credential.{CLOUD}.helper", f"/opt/old/{HELPER}", HELPER)
    assert "/opt/old/git-credential-bitbucket, which no longer exists" in told(looked(healthy), "configuration")
    looked(healthy, "--fix", code=0)


def test_a_bare_name_is_made_a_path(healthy: Runner, home: Path) -> None:
    """It dies under a program that was started from a desktop: a note while PATH has it, wrong where it does not."""
    config(healthy, "--global", "--replace-all", f"credential.{CLOUD}.helper", "bitbucket", HELPER)
    document = looked(healthy, code=0)
    assert "by name" in told(document, "configuration", "note")
    path = healthy.env["PATH"]
    healthy.env["PATH"] = path.partition(":")[2]
    link = home / ".local" / "bin" / HELPER
    done = healthy(link, "doctor", "--json", check=False)
    assert "finds no bitbucket on PATH" in told(json.loads(done.stdout), "configuration", "wrong")
    assert HELPER in told(json.loads(done.stdout), "PATH", "note")
    healthy.env["PATH"] = path
    looked(healthy, "--fix", code=0)
    assert "configuration" not in {one["check"] for one in looked(healthy)["findings"] if one["level"] != "ok"}


def test_a_helper_before_ours_is_silenced_by_the_reset(healthy: Runner, home: Path) -> None:
    """Complaint 13: another helper answers first."""
    file = home / ".gitconfig"
    file.write_text("[credential]\n\thelper = cache\n" + file.read_text().replace("\thelper = \n", ""))
    document = looked(healthy, code=1)
    assert "git asks cache before this program (~/.gitconfig)" in told(document, "configuration", "wrong")
    assert "no reset of the list" in told(document, "configuration", "note")
    looked(healthy, "--fix", code=0)
    assert file.read_text().startswith("[credential]\n\thelper = cache\n")


def test_a_storing_helper_after_ours_is_overtaken(healthy: Runner) -> None:
    """It would write every token to a file in plain text."""
    config(healthy, "--global", "credential.helper", "store")
    document = looked(healthy, code=1)
    said = told(document, "configuration", "wrong")
    assert "git asks store after this program (~/.gitconfig), and it writes every token to a file in plain text" in said
    looked(healthy, "--fix", code=0)
    assert healthy("git", "config", "--global", "credential.helper").stdout == "store\n"


def test_a_section_with_other_keys_is_moved_whole(healthy: Runner, home: Path) -> None:
    """`git config --add` writes into the section that is there: it must go to the end with all that it holds."""
    section = f"credential.{CLOUD}"
    config(healthy, "--global", f"{section}.oauthClientId", "abc")
    file = home / ".gitconfig"
    file.write_text(file.read_text().replace("oauthClientId", "# the consumer of acme\n\toauthClientId"))
    config(healthy, "--global", "credential.helper", "store")
    document = looked(healthy, "--fix", code=0)
    assert [f"moved the lines for {CLOUD} to the end of git's configuration"] == document["fixed"]
    text = file.read_text()
    assert text.rindex(f'[credential "{CLOUD}"]') > text.index("helper = store")
    assert text.index("# the consumer of acme") > text.index("helper = store")
    assert healthy("git", "config", "--global", f"{section}.oauthClientId").stdout == "abc\n"
    healthy("git", "credential", "approve", stdin=f"url={CLOUD}/acme/app.git\nusername=u\npassword=p\n\n")
    assert not (home / ".git-credentials").exists()


def test_what_cannot_be_moved_is_not_said_to_be(healthy: Runner, home: Path) -> None:
    """A file that another program holds, and a repository's own lines: nothing is fixed, and nothing is promised."""
    config(healthy, "--global", f"credential.{CLOUD}.oauthClientId", "abc")
    config(healthy, "--global", "credential.helper", "store")
    lock = home / ".gitconfig.lock"
    lock.touch()
    done = healthy(HELPER, "doctor", "--fix", check=False)
    assert "fixed  " not in done.stdout
    assert "another program is changing that file" in done.stderr
    lock.unlink()
    assert looked(healthy, "--fix", code=0)["fixed"]
    healthy("git", "init", "--quiet", "own")
    own = home / "work" / "own"
    healthy("git", "remote", "add", "origin", f"{CLOUD}/acme/app.git", cwd=own)
    config(healthy, "credential.helper", "store", cwd=own)
    document = looked(healthy, "--fix", code=1, cwd=own)
    assert document["fixed"] == []
    assert not any(one["fixable"] for one in document["findings"] if one["check"] == "configuration")


@pytest.mark.parametrize(
    "text",
    [
        '[credential "https://bitbucket.org"]\n\thelper = a\\\n[x]\n\thelper = b\n[core]\n\tx = 1\n',
        '[Credential  "https://bitbucket.org"] helper = a\n\t; said once\n[core]\n\tx = "1 # 2"\n\ty\n',
        '[credential "https:\\//bitbucket.org"]\n\thelper = a # c\n[core]\n\tx = \\\\\n\ty = 2',
    ],
)
def test_a_section_is_moved_as_git_reads_it(healthy: Runner, home: Path, text: str) -> None:
    """Lines that go on, headers with a key behind them, comments, an end without a line's end: git reads the same."""
    file = home / "other"
    file.write_text(text)

    def read() -> list[str]:
        return healthy("git", "config", "--file", str(file), "--null", "--list").stdout.split("\0")[:-1]

    before = read()
    ours = [entry for entry in before if entry.startswith("credential.")]
    config_sections.move_to_end(str(file), CLOUD, healthy.env)
    assert read() == [*(entry for entry in before if entry not in ours), *ours]


def test_a_section_that_would_read_otherwise_is_left_as_it_is(healthy: Runner, home: Path) -> None:
    """A comment does not go on after a backslash, a value does: where git and we differ, nothing is written."""
    file = home / "other"
    text = f'[credential "{CLOUD}"]\n\thelper = a # c \\\n[core]\n\tx = 1\n[core]\n\ty = 1\n'
    file.write_text(text)
    with pytest.raises(SettingsError, match="cannot be moved"):
        config_sections.move_to_end(str(file), CLOUD, healthy.env)
    assert file.read_text() == text


def test_a_reset_below_ours_is_named_and_overtaken(healthy: Runner, home: Path) -> None:
    """An empty line further down takes us off the list."""
    config(healthy, "--global", f"credential.{CLOUD}.oauthClientId", "abc")
    config(healthy, "--global", "credential.helper", "")
    assert "a later line resets the list of helpers, ~/.gitconfig" in told(
        looked(healthy, code=1), "configuration", "wrong"
    )
    looked(healthy, "--fix", code=0)
    assert home.exists()


def test_a_repository_s_own_lines_are_looked_at(healthy: Runner, clone: Path) -> None:
    """Git obeys them there, though this program does not; a helper of the repository's own is never run by us."""
    config(healthy, f"credential.{CLOUD}.helper", "store", cwd=clone)
    said = told(looked(healthy, code=1, cwd=clone), "configuration", "wrong")
    assert "git asks store after this program (.git/config)" in said
    trace = clone / "ran"
    config(healthy, "--replace-all", f"credential.{CLOUD}.helper", f"!touch {trace}", cwd=clone)
    looked(healthy, code=1, cwd=clone)
    assert not trace.exists()


def test_a_git_that_names_no_repository_is_told(healthy: Runner) -> None:
    """Routing by repository rests on useHttpPath."""
    config(healthy, "--global", "--unset", f"credential.{CLOUD}.useHttpPath")
    assert "git does not send the repository" in told(looked(healthy, code=0), "configuration", "note")
    looked(healthy, "--fix", code=0)
    assert healthy("git", "config", f"credential.{CLOUD}.useHttpPath").stdout == "true\n"


def test_a_token_in_an_address_is_found_and_left_alone(healthy: Runner, clone: Path) -> None:
    """Complaint 17. It may be the only copy, so taking it out is left to `migrate` or the person."""
    address = f"https://x-token-auth:{tokens.access_token()}@bitbucket.org/acme/app.git"
    config(healthy, "remote.origin.url", address, cwd=clone)
    document = looked(healthy, "--fix", code=1, cwd=clone)
    said = told(document, "addresses", "wrong")
    assert "a secret in the URL of remote origin (.git/config): https://x-token-auth:…@bitbucket.org/acme" in said
    assert "revoke it" in said
    assert healthy("git", "config", "remote.origin.url", cwd=clone).stdout == address + "\n"


def test_a_token_s_username_in_an_address_is_taken_out(healthy: Runner, clone: Path) -> None:
    """`x-token-auth` is right for one kind of token and wrong for another; the rest of the address stays."""
    config(healthy, "remote.origin.url", "https://x-token-auth@bitbucket.org/acme/app.git", cwd=clone)
    document = looked(healthy, code=0, cwd=clone)
    assert "git remote set-url origin https://bitbucket.org/acme/app.git" in told(document, "addresses", "note")
    looked(healthy, "--fix", code=0, cwd=clone)
    assert healthy("git", "config", "remote.origin.url", cwd=clone).stdout == f"{CLOUD}/acme/app.git\n"
    told(looked(healthy, code=0, cwd=clone), "addresses", "ok")


NAMED = [
    ("remote.my fork's.url", "local"),
    ("remote.origin.pushurl", "local"),
    ("remote.shared.url", "global"),
    ("submodule.lib/x y.url", "local"),
    ("url.{}.insteadOf", "global"),
    ("url.{}.pushInsteadOf", "local"),
]


def test_what_is_said_of_a_name_in_an_address_can_be_typed(healthy: Runner, clone: Path) -> None:
    """In a shell, below the top of the work tree, too: the next look is clean."""
    folder = clone / "sub"
    folder.mkdir()
    address = "https://x-token-auth@bitbucket.org/acme/"
    values = {key: "bb:" if "{}" in key[0] else f"{address}app" for key in NAMED}
    for (name, place), value in values.items():
        config(healthy, f"--{place}", name.format(address), value, cwd=clone)
    lines = told(looked(healthy, code=0, cwd=folder), "addresses", "note").split("\n")
    assert len(lines) == len(NAMED)
    for line in lines:
        healthy("sh", "-c", line.rpartition(" | run: ")[2], cwd=folder)
    told(looked(healthy, code=0, cwd=folder), "addresses", "ok")
    for (name, place), value in values.items():
        now = healthy("git", "config", f"--{place}", name.format(f"{CLOUD}/acme/"), cwd=clone).stdout
        assert now == f"{value.replace('x-token-auth@', '')}\n"


def test_addresses_with_a_password_can_be_refused_by_git(healthy: Runner, bitbucket: FakeBitbucket) -> None:
    """Git's own setting, with what it does not stop; it does stop a clone."""
    document = json.dumps(looked(healthy, code=0))
    assert "git-lfs, which reads .lfsconfig" in document
    command = ["git", "config", "--global", "transfer.credentialsInUrl", "die"]
    assert " ".join(command) in document
    healthy(*command)
    assert "refuses" in told(looked(healthy, code=0), "foreign addresses", "ok")
    address = bitbucket.url.replace("https://", "https://mallory:secret@")
    refused = healthy("git", "clone", f"{address}/acme/app.git", check=False)
    assert "plaintext credentials" in refused.stderr


def test_one_of_several_addresses_of_a_remote_is_named(healthy: Runner, clone: Path) -> None:
    """Without that, `git remote set-url` would change the first one."""
    config(healthy, "--add", "remote.origin.url", "https://x-token-auth@bitbucket.org/acme/b+c.git", cwd=clone)
    hint = told(looked(healthy, "--fix", code=0, cwd=clone), "addresses", "note").rpartition(" | run: ")[2]
    healthy("sh", "-c", hint, cwd=clone)
    urls = healthy("git", "config", "--get-all", "remote.origin.url", cwd=clone).stdout
    assert urls == f"{CLOUD}/acme/app.git\n{CLOUD}/acme/b+c.git\n"


def test_a_name_in_an_address_is_taken_out_from_any_directory_of_the_work_tree(healthy: Runner, clone: Path) -> None:
    """`--fix` finds the file that git names; what a variable sets is in no file, and none is made for it."""
    folder = clone / "sub"
    folder.mkdir()
    config(healthy, "remote.origin.url", "https://x-token-auth@bitbucket.org/acme/app.git", cwd=clone)
    looked(healthy, "--fix", code=0, cwd=folder)
    assert healthy("git", "config", "remote.origin.url", cwd=clone).stdout == f"{CLOUD}/acme/app.git\n"
    healthy.env |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "remote.x.url"}
    healthy.env["GIT_CONFIG_VALUE_0"] = "https://x-token-auth@bitbucket.org/acme/app.git"
    assert "GIT_CONFIG_…" in told(looked(healthy, "--fix", code=0, cwd=folder), "addresses", "note")
    assert list(folder.iterdir()) == []


def test_what_git_sends_unasked_is_found(healthy: Runner, home: Path) -> None:
    """A header or an entry in ~/.netrc goes before every helper; a CI recipe's `insteadOf` puts in a token."""
    config(healthy, "--global", f"url.https://x-token-auth:{tokens.access_token()}@bitbucket.org/.insteadOf", CLOUD)
    config(healthy, "--global", f"http.{CLOUD}/.extraHeader", "Authorization: Basic eA==")
    (home / ".netrc").write_text("machine bitbucket.org login x password y\n")
    document = looked(healthy, code=1)
    assert "~/.netrc" in told(document, "addresses", "wrong")
    assert "url.….insteadof (~/.gitconfig)" in told(document, "addresses", "wrong")
    assert "http.extraHeader" in told(document, "addresses", "note")
    hints = [one["hint"] for one in document["findings"] if one["level"] == "note" and one["check"] == "addresses"]
    assert "git-credential-bitbucket migrate" in hints[0]


@pytest.mark.parametrize(
    "opened",
    [
        {
            "run/git-credential-bitbucket": (0o755, "socket"),
            "run/git-credential-bitbucket-control": (0o755, "socket"),
            ".local/share/git-credential-bitbucket": (0o755, "vault"),
        },
        {
            "run/git-credential-bitbucket/socket": (0o666, "socket"),
            "run/git-credential-bitbucket-control/socket": (0o666, "socket"),
            ".local/share/git-credential-bitbucket/vault": (0o644, "vault"),
            "key": (0o644, "vault"),
        },
    ],
    ids=["directories", "files"],
)
def test_paths_that_are_open_to_others_are_closed(
    healthy: Runner, home: Path, opened: dict[str, tuple[int, str]]
) -> None:
    """By chmod, and the next look is clean."""
    for path, (mode, _) in opened.items():
        (home / path).chmod(mode)
    document = looked(healthy)
    for path, (_, check) in opened.items():
        assert any("chmod" in line and f"~/{path}" in line for line in told(document, check).split("\n")), path
    assert sorted(looked(healthy, "--fix", code=0)["fixed"]) == sorted(f"made ~/{path} private" for path in opened)
    assert not [path for path in opened if (home / path).stat().st_mode & 0o077]
    assert looked(healthy, code=0)["fixed"] == []


def test_a_directory_that_is_not_ours_alone_is_left_alone(healthy: Runner, home: Path) -> None:
    """Where a setting puts the vault right into a home directory, that directory is not closed to the web server."""
    home.chmod(0o755)
    healthy.env["GIT_CREDENTIAL_BITBUCKET_VAULT"] = str(home / "vault")
    document = looked(healthy, "--fix", code=1)
    assert "is open to others" in told(document, "vault", "wrong")
    assert document["fixed"] == []
    assert home.stat().st_mode & 0o777 == 0o755


def test_a_path_that_cannot_be_looked_at_does_not_end_the_look(healthy: Runner) -> None:
    healthy.env["GIT_CREDENTIAL_BITBUCKET_SOCKET"] = "/proc/1/root/x/socket"
    document = looked(healthy, code=1)
    assert wrong(document) & {"socket", "daemon"}
    assert "answers" in told(document, "network", "ok")


def test_a_path_that_is_a_link_is_told_and_left_alone(healthy: Runner, home: Path) -> None:
    """Its target may be anything."""
    healthy(HELPER, "daemon", "stop")
    directory = home / "run" / "git-credential-bitbucket"
    target = home / "elsewhere"
    directory.rename(target)
    target.chmod(0o755)
    directory.symlink_to(target)
    assert "is not a directory" in told(looked(healthy, "--fix", code=1), "socket", "wrong")
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_daemon_that_does_not_answer_is_named_with_its_process(healthy: Runner, home: Path) -> None:
    """And nobody else is sent there: the look ends in seconds."""
    healthy(HELPER, "daemon", "stop")
    with listener_at(home / "run" / HELPER / "socket"):
        started = time.monotonic()
        said = told(looked(healthy, code=1), "daemon", "wrong")
        assert time.monotonic() - started < 60
    assert f"process {os.getpid()} listens at the daemon's socket and does not answer" in said
    assert f"kill {os.getpid()}" in said


def test_git_s_own_cache_daemon_at_our_socket_is_replaced(healthy: Runner, home: Path) -> None:
    """It sits down wherever `git credential-cache store` finds nobody."""
    healthy(HELPER, "daemon", "stop")
    path = home / "run" / HELPER / "socket"
    request = f"protocol=https\nhost=example.org\nusername=a\npassword={os.urandom(4).hex()}\n"
    healthy("git", "credential-cache", "--socket", str(path), "store", stdin=request)
    assert "another program listens" in told(looked(healthy, code=1), "daemon", "wrong")
    assert "started the daemon in its place" in looked(healthy, "--fix", code=0)["fixed"]


def test_without_a_daemon_the_way_is_the_same(healthy: Runner) -> None:
    healthy.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    document = looked(healthy, code=0)
    assert "answered in-process" in told(document, "daemon", "ok")
    assert "ATCTT…" in told(document, "round trip", "ok")


def test_a_locked_vault_and_a_missing_key_are_told(healthy: Runner, home: Path) -> None:
    healthy(HELPER, "lock")
    said = told(looked(healthy, code=1), "vault", "wrong")
    assert "was locked by hand" in said
    assert "run: git-credential-bitbucket unlock" in said
    healthy(HELPER, "daemon", "stop")
    (home / "key").unlink()
    said = told(looked(healthy, code=1), "vault", "wrong")
    assert "the key file ~/key cannot be read: no such file or directory" in said


def test_a_damaged_vault_is_told(healthy: Runner, home: Path) -> None:
    healthy(HELPER, "daemon", "stop")
    folder = home / ".local" / "share" / HELPER
    for file in folder.glob("vault*"):
        if file.suffix != ".lock":
            file.write_bytes(b"nonsense")
    assert "vault" in wrong(looked(healthy, code=1))


def test_a_missing_keyring_is_a_note_before_the_first_login(run: Runner, bitbucket: FakeBitbucket) -> None:
    """There is a passphrase instead; the keyring is asked within its time limit."""
    run("git", "config", "--global", "http.proxy", bitbucket.proxy_url)
    run(HELPER, "configure")
    document = looked(run, code=1)
    assert "passphrase" in told(document, "keyring", "note")
    assert wrong(document) == {"round trip"}
    assert "git-credential-bitbucket login" in told(document, "round trip", "wrong")


def test_credentials_that_are_not_well_are_told_with_their_hint(healthy: Runner) -> None:
    """One that was rejected, and one that ends soon."""
    healthy(HELPER, "login", "--no-verify", "--api-token", "--expires", "3d", stdin=tokens.api_token())
    token = tokens.access_token()
    healthy(HELPER, "login", "--no-verify", "--access-token", "--for", "beta", stdin=token)
    healthy(HELPER, "erase", stdin=f"protocol=https\nhost=bitbucket.org\npath=beta/x\npassword={token}\n\n")
    document = looked(healthy, code=1)
    assert "suspended for bitbucket.org/beta/x, where it was rejected" in told(document, "credentials", "wrong")
    assert "restore" in told(document, "credentials", "wrong")
    assert "expires in 3 days" in told(document, "credentials", "note")
    assert "git-credential-bitbucket rotate" in told(document, "credentials", "note")
    assert "3 stored: 3 ready" in told(document, "credentials", "ok")


def test_an_expired_token_is_wrong_with_the_hint_that_status_names(healthy: Runner, home: Path) -> None:
    """`status --fail-within` fails for it as well."""
    (one,) = json.loads(healthy(HELPER, "status", "--json").stdout)["credentials"]
    entered = f"id={one['id']}\nends_at=1700000000.0\n"
    assert ipc.send_request(str(control_of(home)), ipc.format_request("amend", entered.encode()))[1] == b"ok=1\n"
    hint = f"create a new token, then run: git-credential-bitbucket rotate {one['id']}"
    document = looked(healthy, code=1)
    assert "expired on 2023-11-14" in told(document, "credentials", "wrong")
    assert hint in told(document, "credentials", "wrong")
    assert "1 stored: 1 expired" in told(document, "credentials", "ok")
    assert f"hint: {hint}\n" in healthy(HELPER, "status", "--fail-within", "1d", check=False).stderr


def test_a_revoked_token_is_wrong_and_one_that_cannot_be_asked_about_is_not(
    healthy: Runner, bitbucket: FakeBitbucket
) -> None:
    """Bitbucket is asked unless it cannot be reached: here nothing is known of it before."""
    said = told(looked(healthy, code=0), "credentials", "ok")
    assert "Bitbucket says that 1 of 1 are valid" in said
    healthy(HELPER, "login", "--no-verify", "--api-token", stdin=bitbucket.issue_api_token("alice"))
    assert "could not be checked: Bitbucket's REST API accepts" in told(looked(healthy, code=0), "credentials", "note")
    bitbucket.revoke(kind="repo_access_token")
    document = looked(healthy, code=1)
    assert wrong(document) == {"credentials"}
    assert "Bitbucket rejects access-token" in told(document, "credentials", "wrong")


def test_the_environment_is_looked_at(healthy: Runner, bitbucket: FakeBitbucket) -> None:
    """A token there is noted; an app password, a rejected or revoked token and half a consumer are wrong."""
    token = healthy.env["BITBUCKET_TOKEN"] = bitbucket.issue_access_token("acme/app")
    assert "the credential in BITBUCKET_TOKEN is used before" in told(looked(healthy, code=0), "environment", "note")
    bitbucket.revoke(token)
    assert "rejects the credential in BITBUCKET_TOKEN" in told(looked(healthy, code=1), "credentials", "wrong")
    healthy("git", "credential", "reject", stdin=f"url={CLOUD}\nusername=x-token-auth\npassword={token}\n\n")
    assert "rejected the secret in BITBUCKET_TOKEN" in told(looked(healthy, code=1), "environment", "wrong")
    healthy.env["BITBUCKET_TOKEN"] = tokens.app_password()
    assert "app password" in told(looked(healthy, code=1), "environment", "wrong")
    del healthy.env["BITBUCKET_TOKEN"]
    healthy.env["BITBUCKET_CLIENT_SECRET"] = os.urandom(16).hex()
    assert "BITBUCKET_CLIENT_ID is not" in told(looked(healthy, code=1), "environment", "wrong")


def test_a_machine_without_a_network_gets_one_finding(healthy: Runner) -> None:
    config(healthy, "--global", "--unset", "http.proxy")
    config(healthy, "--global", "http.proxy", "http://127.0.0.1:9")
    document = looked(healthy, code=1)
    assert wrong(document) == {"network"}
    assert "the proxy http://127.0.0.1:9 could not connect to https://bitbucket.org" in told(document, "network")
    config(healthy, "--global", "http.proxy", "http://proxy.invalid:3128")
    document = looked(healthy, code=1)
    assert wrong(document) == {"network"}
    assert "proxy.invalid" in told(document, "network")
    assert len([one for one in document["findings"] if one["check"] == "network"]) == 1


def test_an_address_that_is_none_is_named_and_git_is_answered(healthy: Runner) -> None:
    """A static token needs no endpoint; a login is refused with the setting's name, and no traceback."""
    config(healthy, "--global", f"credential.{CLOUD}.oauthTokenURL", "https://[::1/x")
    healthy(HELPER, "daemon", "stop")
    document = looked(healthy, code=1)
    assert wrong(document) == {"network"}
    assert f"https://[::1 is not a valid server address | correct credential.{CLOUD}.oauthTokenURL" in told(
        document, "network", "wrong"
    )
    assert told(document, "round trip", "ok")
    refused = healthy(HELPER, "login", "--oauth", check=False)
    assert refused.returncode == 1, refused.stderr
    assert f"credential.{CLOUD}.oauthTokenURL" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A proxy that takes a connection and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_network_that_swallows_everything_ends_in_bounded_time(healthy: Runner, black_hole: str) -> None:
    config(healthy, "--global", "http.proxy", black_hole)
    started = time.monotonic()
    document = looked(healthy, code=1)
    assert time.monotonic() - started < network.ANSWER_S + 60
    assert wrong(document) == {"network"}


def test_a_certificate_that_is_not_trusted_is_told(healthy: Runner) -> None:
    """A proxy that opens TLS has a CA of its own."""
    del healthy.env["GIT_SSL_CAINFO"]
    said = told(looked(healthy, code=1), "network", "wrong")
    assert "certificate" in said
    assert "http.sslCAInfo" in said


def test_a_ca_file_that_is_not_there_is_told(healthy: Runner) -> None:
    healthy.env["GIT_SSL_CAINFO"] = "/nowhere/ca.pem"
    assert "the CA file /nowhere/ca.pem cannot be read" in told(looked(healthy, code=1), "network", "wrong")


def test_tls_that_is_not_verified_is_wrong(healthy: Runner) -> None:
    """OAuth is refused then, and git gives tokens to anybody on the way."""
    config(healthy, "--global", f"http.{CLOUD}/.sslVerify", "false")
    assert "turns off TLS verification" in told(looked(healthy, code=1), "TLS", "wrong")


@pytest.mark.parametrize(("ahead", "level"), [(0, "ok"), (-20, "ok"), (90, "note"), (-4000, "wrong"), (4000, "wrong")])
def test_the_clock_is_compared_with_bitbucket_s(ahead: float, level: str) -> None:
    """A machine's clock cannot be set in a test, so the comparison itself is tested."""
    (found,) = network._clock(ahead)
    assert found.level == level
    assert (found.hint is None) == (level == "ok")


@pytest.mark.parametrize(
    ("version", "level", "lacks"),
    [
        ("2.25.1", "wrong", "too old"),
        ("2.39.5", "note", "expiry of tokens"),
        ("2.39.3 (Apple Git-146)", "note", "expiry of tokens"),
        ("2.43.0", "note", "second try"),
        ("2.46.0", "ok", ""),
        ("2.55.0.windows.1", "ok", ""),
        ("3.0", "ok", ""),
        ("nonsense", "wrong", "too old"),
    ],
)
def test_what_a_git_is_too_old_for(version: str, level: str, lacks: str) -> None:
    """By its version; what is only slower needs nobody."""
    found = programs.check_version(version, "/usr/bin/git")
    assert found.level == level
    assert lacks in found.text


def test_a_relative_path_entry_and_another_installation_are_told(healthy: Runner, home: Path) -> None:
    other = home / "other" / HELPER
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    link = home / ".local" / "bin" / HELPER
    healthy.env["PATH"] = f"{other.parent}:bin:{healthy.env['PATH']}"
    said = told(json.loads(healthy(link, "doctor", "--json").stdout), "PATH", "note")
    assert "relative or empty" in said
    assert "another installation first: ~/other/git-credential-bitbucket" in said


def test_a_configuration_that_git_cannot_read_is_the_one_finding(healthy: Runner, home: Path) -> None:
    (home / ".gitconfig").write_text("[credential\n")
    assert "cannot read its configuration" in told(looked(healthy, code=1), "configuration", "wrong")


def test_another_host_is_looked_at_by_its_address(healthy: Runner, bitbucket: FakeBitbucket) -> None:
    """One that git's configuration opts in; others are refused."""
    document = looked(healthy, bitbucket.url, code=1)
    assert f"configure --host {bitbucket.url}" in told(document, "configuration", "wrong")
    document = looked(healthy, bitbucket.url, "--fix", code=1)
    assert wrong(document) == {"round trip"}
    healthy(HELPER, "login", "--api-token", "--host", bitbucket.url, stdin=tokens.api_token())
    looked(healthy, bitbucket.url, code=0)
    assert "not configured as Bitbucket" in told(looked(healthy, "https://github.com", code=1), "configuration")


def test_on_a_terminal_every_finding_has_its_word_and_hint(healthy: Runner, person: Person) -> None:
    """In columns on a wide one, in lines on a narrow one."""
    healthy(HELPER, "unconfigure")
    person.env.update(healthy.env)
    for columns in (120, 50):
        with person.types(HELPER, "doctor", columns=columns) as dialogue:
            shown = dialogue.ends(code=1)
        lines = " ".join(shown.split())
        assert "git is not configured to ask git-credential-bitbucket for https://bitbucket.org" in lines
        assert "hint: run: git-credential-bitbucket configure" in lines
        assert "2 problems found" in lines
        assert "doctor --fix" in lines


def test_what_is_to_be_typed_can_be(healthy: Runner, home: Path) -> None:
    """Brackets and blanks are quoted, and a home directory that is shown as ~ stays one for a shell."""
    refused = healthy(HELPER, "doctor", "https://[::1]:8443/acme", check=False)
    assert "git config --global 'credential.https://[::1]:8443.provider' bitbucket" in refused.stdout + refused.stderr
    explained = healthy(HELPER, "explain", "https://[::1]:8443/acme/app", check=False).stdout
    assert "git config --global 'credential.https://[::1]:8443.provider' bitbucket" in explained
    command = f"echo {shlex.quote(f'{home}/my socket')}"
    shown = finding.safe(command, healthy.env)
    assert str(home) not in shown
    assert healthy("sh", "-c", shown).stdout == f"{home}/my socket\n"


def test_what_looks_like_a_secret_never_leaves() -> None:
    token = tokens.api_token()
    text = f"/home/a/x {token} https://u:{token[:8]}@h /home/ab"
    assert finding.safe(text, {"HOME": "/home/a"}) == "~/x ATATT… https://u:…@h /home/ab"


def test_a_removed_directory_is_no_trouble(healthy: Runner, home: Path) -> None:
    gone = home / "work" / "gone"
    gone.mkdir()
    done = healthy("sh", "-c", f"rmdir {gone}; exec {HELPER} doctor", cwd=gone)
    assert "no problems found" in done.stdout


def test_a_setting_of_gits_configuration_is_told_by_its_key(healthy: Runner, clone: Path, home: Path) -> None:
    """And one that does not count, with where it stands."""
    key = healthy.env.pop("GIT_CREDENTIAL_BITBUCKET_KEY_FILE")
    healthy("git", "config", "--global", "credentialBitbucket.keyFile", key)
    healthy("git", "config", "--global", "credentialBitbucket.vault", str(home / ".local/share" / HELPER / "vault"))
    document = looked(healthy, code=0)
    assert "credentialBitbucket.keyFile=~/key |" in told(document, "settings", "ok")
    assert f"credentialBitbucket.vault=~/.local/share/{HELPER}/vault |" in told(document, "settings", "ok")
    healthy("git", "config", "credentialBitbucket.vault", "/theirs", cwd=clone)
    wrong = told(looked(healthy, code=1, cwd=clone), "settings", "wrong")
    assert "credentialBitbucket.vault in .git/config is ignored" in wrong


def test_what_is_set_is_told_by_the_name_that_counts(healthy: Runner) -> None:
    """Of the two that each setting has. An app password helps nobody; the vault's credential is what works."""
    healthy.env["BITBUCKET_APP_PASSWORD"] = tokens.app_password()
    healthy.env["BITBUCKET_CREDENTIAL_KEY_FILE"] = healthy.env.pop("GIT_CREDENTIAL_BITBUCKET_KEY_FILE")
    document = looked(healthy)
    assert "\nBITBUCKET_CREDENTIAL_KEY_FILE=~/key |" in "\n" + told(document, "settings", "ok")
    assert "Bitbucket removed app passwords" in told(document, "environment", "note")
