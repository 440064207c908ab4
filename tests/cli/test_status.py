"""status: a table, blocks, JSON, metrics and exit codes; never a secret."""

import json
import os
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from git_credential_bitbucket.agent.status_views import CredentialView
from git_credential_bitbucket.bitbucket import rest, token_kinds
from git_credential_bitbucket.client import environment_tokens
from git_credential_bitbucket.diagnostics import metrics, status_report, status_table
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.secret import Secret
from tests.cli.listed import listed
from tests.cli.person import Person
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner
from tests.sandbox import keep

HELPER = "git-credential-bitbucket"
NOW = time.time()
DAY = 86400


def stated(**more: object) -> CredentialView:
    """A credential as the client states it."""
    told = {
        "id": "0123456789ab",
        "scope": "bitbucket.org/acme/app",
        "kind": "access-token",
        "account": None,
        "bitbucket_username": None,
        "account_id": None,
        "project": None,
        "repositories": [],
        "default": False,
        "username": "x-token-auth",
        "secret": "ATCTT…",
        "state": "ready",
        "why": None,
        "hint": None,
        "oauth_scopes": ["repository"],
        "created_at": NOW - 5 * DAY,
        "last_used_at": NOW - 7200,
        "expires_at": None,
        "expires_in": None,
        "ends_at": None,
        "renewed_at": None,
        "source": None,
        "fetched_at": None,
        "renewal_due_at": None,
        "trouble": None,
        "origin": "login",
        "forget_at": None,
        "url": "https://bitbucket.org/acme/app",
        "suspended_for": [],
        "replaced_by": None,
        **more,
    }
    return cast("CredentialView", told)


def report(*credentials: CredentialView, **vault: str | None) -> status_report.Report:
    """A report of these."""
    told = {"state": "open", "path": "/home/a/vault", "key": "the keyring", "trouble": None, "hint": None, **vault}
    return status_report.Report(NOW, told, None, None, status_report.encode([*credentials]))


def shown(told: status_report.Report, width: int, *, long: bool = False) -> str:
    """The report on a terminal of that width."""
    console = Console(width=width, record=True, markup=False, highlight=False, file=open(os.devnull, "w"))  # noqa: SIM115 - the console's
    with console.file:
        status_table.print_report(told, long=long, console=console)
    return console.export_text()


def test_what_fits_is_a_table_with_causes_below() -> None:
    """One line a credential, and why one of them is not offered."""
    gone = stated(id="ba9876543210", state="disabled", why="it was disabled: rejected", hint="restore ba9876543210")
    text = shown(report(stated(ends_at=NOW + 42 * DAY + 60), gone), 120)
    first, second, third = text.splitlines()[:3]
    assert first.split() == ["SCOPE", "KIND", "ACCOUNT", "EXPIRES", "IN", "LAST", "USED", "STATE", "ID"]
    assert "42 days" in second
    assert "2 h 0 min ago" in second
    assert "disabled" in third
    assert "ba9876543210: it was disabled: rejected\n  restore ba9876543210\n" in text


@pytest.mark.parametrize("width", [20, 40, 60, 70])
def test_a_narrow_terminal_gets_blocks_with_every_word_whole(width: int) -> None:
    """A table would break names in the middle."""
    text = shown(report(stated()), width)
    assert text.startswith("bitbucket.org/acme/app\n")
    assert "expires in: unknown" in " ".join(text.split())
    assert all(len(line) <= width or " " not in line.strip() for line in text.split("\n"))


@pytest.mark.parametrize("width", [60, 200])
def test_what_bitbucket_says_is_shown_in_every_form(width: int) -> None:
    """Not in the table alone, which 80 columns have no room for."""
    told = report(stated(), stated(id="ba9876543210"), stated(id="0123456789cd"))
    verdicts = {
        "0123456789ab": rest.Verdict(valid=True).view(),
        "ba9876543210": rest.Verdict(valid=None, reason="a 503").view(),
        "0123456789cd": rest.Verdict(valid=None, reason=token_kinds.NEEDS_EMAIL).view(),
    }
    text = shown(replace(told, verdicts=verdicts), width)
    assert "Bitbucket says that it is valid" in text
    assert "Bitbucket did not say whether it is valid: a 503" in text
    assert token_kinds.LOGIN_WITH_EMAIL in " ".join(text.split())
    assert "Bitbucket" not in shown(told, width)


def test_a_token_that_bitbucket_rejects_is_to_be_replaced_whatever_was_guessed_before() -> None:
    """While it is only suspended, access is the question; asked, Bitbucket has answered that."""
    guess = stated(state="suspended", hint="check that it has access to this repository")
    assert status_report.replacement_hint(guess) == guess["hint"]
    hint = status_report.replacement_hint(guess, is_rejected=True)
    assert hint == "create a new token, then run: git-credential-bitbucket rotate 0123456789ab"
    login = stated(kind="oauth", state="suspended", hint=guess["hint"])
    hint = status_report.replacement_hint(login, is_rejected=True)
    assert hint == "run: git-credential-bitbucket refresh 0123456789ab", "which says whether the login is over"
    fetched = stated(source="file:/run/token", hint="a valid one is fetched once it is there")
    hint = status_report.replacement_hint(fetched, is_rejected=True)
    assert hint == "create a new token, and put it where it is fetched from: file:/run/token"


def test_a_disabled_credential_is_no_default_and_each_name_of_an_account_is_told() -> None:
    """The default is what answers; a username in a URL may be any of the names."""
    old = stated(id="ba9876543210", state="disabled", default=True)
    new = stated(default=True, account="alice@example.com", bitbucket_username="Alice", account_id="557058:1")
    text = shown(report(old, new), 60)
    assert text.count("default") == 1
    assert "state: ready, default" in text
    assert "also known as: 557058:1, alice\n" in text


def test_long_tells_scopes_and_renewals() -> None:
    one = stated(kind="oauth", expires_at=NOW + 6000, renewed_at=NOW - 1200, renewal_due_at=NOW + 4200)
    text = shown(report(one), 120, long=True)
    assert "expires in: renews itself (1 h 40 min left)" in text
    assert "scopes: repository\n" in text
    assert "last renewal: 20 min ago\n" in text
    assert "next renewal: in 1 h 10 min, if it is used\n" in text


def test_a_token_that_still_works_but_could_not_be_renewed_shows_the_hint() -> None:
    """Before it has ended."""
    text = shown(report(stated(trouble="no connection", trouble_hint="check the network")), 120, long=True)
    assert "trouble: no connection; check the network" in text


def test_what_was_moved_aside_as_damaged_is_told_below() -> None:
    text = shown(report(stated(), damaged="/v.damaged-1", damage="it was disabled", damage_hint="rm /v.damaged-1"), 120)
    assert "  it was disabled\n  rm /v.damaged-1\n" in text


def test_names_from_outside_cannot_draw_on_the_terminal() -> None:
    """An account's name is the server's word."""
    assert "\x1b" not in shown(report(stated(account="a\x1b[2Jb")), 120)


@pytest.mark.parametrize(
    ("one", "within", "cause"),
    [
        (stated(ends_at=NOW + 6 * DAY - 60), 7, "expires in 6 days"),
        (stated(ends_at=NOW - DAY), 7, "has expired"),
        (stated(expires_at=NOW + 60), 1, "expires in"),
        (stated(kind="oauth", state="login-expired"), 7, "needs a new login"),
        (stated(kind="app-password", state="app-password"), 7, "needs a new login"),
        (stated(), 7, "has no known expiry"),
        (stated(ends_at=NOW + 8 * DAY, state="suspended"), 7, "is suspended"),
        (stated(ends_at=NOW + 8 * DAY, suspended_for=["bitbucket.org/acme/app"]), 7, "is suspended for bitbucket"),
        (stated(ends_at=NOW + 8 * DAY, state="disabled"), 7, "is disabled"),
        (stated(kind="oauth", renewed_at=NOW, state="unreachable"), 7, "could not be renewed"),
    ],
)
def test_fail_within_fails_for_what_expires_or_needs_a_person(one: CredentialView, within: int, cause: str) -> None:
    with pytest.raises(Error, match=cause):
        status_report.check(report(one), within * DAY)


@pytest.mark.parametrize(
    "one",
    [
        stated(ends_at=NOW + 8 * DAY),
        stated(kind="oauth", renewed_at=NOW, expires_at=NOW + 60),
        stated(state="disabled", ends_at=NOW - DAY, replaced_by="ba9876543210"),
    ],
)
def test_fail_within_passes_what_lasts_renews_itself_or_is_put_away(one: CredentialView) -> None:
    """A token that was replaced is no alarm."""
    status_report.check(report(one), 7 * DAY)


def test_fail_within_passes_a_disabled_token_beside_one_that_works_for_the_same_person() -> None:
    """Git lacks nothing; where it is another person's, somebody does."""
    disabled = stated(id="ba9876543210", state="disabled", account="alice")
    working = stated(ends_at=NOW + 8 * DAY, account="alice")
    status_report.check(report(disabled, working), DAY)
    with pytest.raises(Error, match="is disabled"):
        status_report.check(report(disabled, {**working, "account": "bob"}), DAY)


def test_an_unknown_expiry_passes_where_that_is_said() -> None:
    """Nobody may know the date, and cron is to warn of the rest."""
    status_report.check(report(stated()), DAY, unknown_ok=True)


@pytest.mark.parametrize("vault", [{"state": "locked"}, {"trouble": "the vault is damaged"}])
def test_fail_within_fails_where_nothing_can_be_seen(vault: dict[str, str]) -> None:
    with pytest.raises(Error, match="credentials cannot be read"):
        status_report.check(report(**vault), DAY)


def test_metrics_tell_what_fail_within_and_check_do() -> None:
    """A monitor sees what cron is mailed: rejected, not known, and the environment's."""
    token = environment_tokens.EnvironmentCredential("BITBUCKET_TOKEN", "access-token", Secret("x"))
    told = replace(
        report(stated(), stated(id="ba9876543210", state="suspended", ends_at=NOW + DAY)),
        tokens=[token],
        verdicts={"0123456789ab": rest.Verdict(valid=None).view(), "BITBUCKET_TOKEN": rest.Verdict(valid=False).view()},
    )
    text = re.sub(r',scope="[^}]*', "", metrics.text(told)).replace("git_credential_bitbucket_", "")
    for line in (
        'credential_expiry_known{id="0123456789ab"} 0',
        'credential_expiry_known{id="ba9876543210"} 1',
        'credential_checked{id="0123456789ab"} 0',
        'credential_checked{variable="BITBUCKET_TOKEN"} 1',
        'credential_rejected{id="0123456789ab"} 0',
        'credential_rejected{id="ba9876543210"} 1',
        'credential_rejected{variable="BITBUCKET_TOKEN"} 1',
        'environment_credential_ready{variable="BITBUCKET_TOKEN"} 1',
    ):
        assert f"\n{line}\n" in text


def test_metrics_escape_labels_and_hold_no_secret() -> None:
    text = metrics.text(report(stated(account='a"b\\c\nd', ends_at=NOW + DAY)))
    assert 'account="a\\"b\\\\c\\\\nd"' in text
    assert 'credential_end_timestamp_seconds{id="0123456789ab",scope="bitbucket.org/acme/app"' in text
    assert "vault_readable 1\n" in text
    assert "ATCTT" not in text
    assert text.endswith("\n")


def test_metrics_come_whole_and_readable_to_the_collector(keyed: Runner, home: Path) -> None:
    """By rename, with nothing left beside it; of the mode that the umask gives."""
    keyed(HELPER, "login", "--no-verify", "--api-token", "--expires", "10d", stdin=tokens.api_token())
    folder = home / "metrics"
    folder.mkdir()
    for _ in range(2):
        said = keyed("sh", "-c", f"umask 022; exec {HELPER} status --prometheus {folder}/a.prom")
        assert (said.stdout, said.stderr) == ("", "")
    assert os.listdir(folder) == ["a.prom"]
    assert (folder / "a.prom").stat().st_mode & 0o777 == 0o644
    assert "git_credential_bitbucket_credential_ready{" in (folder / "a.prom").read_text()


def test_metrics_go_to_standard_output_by_a_dash(keyed: Runner) -> None:
    """As elsewhere; with nothing else there, and no file of that name."""
    said = keyed(HELPER, "status", "--prometheus", "-").stdout
    assert said.startswith("# HELP git_credential_bitbucket_")
    assert said.count("# HELP git_credential_bitbucket_vault_readable") == 1
    assert not (keyed.folder / "-").exists()
    assert keyed(HELPER, "status", "--prometheus", "-", "--json", check=False).returncode == 2


def test_metrics_that_cannot_be_written_are_an_error(keyed: Runner, home: Path) -> None:
    refused = keyed(HELPER, "status", "--prometheus", str(home / "nowhere" / "a.prom"), check=False)
    assert refused.returncode == 1
    assert "cannot be written: no such file" in refused.stderr


def test_metrics_in_place_of_a_link_or_a_pipe_are_refused(keyed: Runner, home: Path) -> None:
    """As in place of a device: `--prometheus /dev/null` by root would leave a file there for everybody."""
    os.mkfifo(home / "a.prom")
    os.symlink(home / "target", home / "b.prom")
    for name in ("a.prom", "b.prom"):
        refused = keyed(HELPER, "status", "--prometheus", str(home / name), check=False)
        assert refused.returncode == 1
        assert f"{home / name} is not a plain file" in refused.stderr
        assert "hint: name a file, or - for standard output" in refused.stderr
    assert not (home / "target").exists()


def test_metrics_of_a_name_that_is_no_utf8_and_holds_escapes(keyed: Runner, home: Path) -> None:
    """On standard output nothing moves the cursor; into a file it is no traceback, and nothing is left beside it."""
    account = b"al\xffi\x1b]0;x\x07ce"
    text = b"protocol=https\nhost=bitbucket.org\nusername=%b\npassword=%b\n\n"
    secret = tokens.api_token().encode()
    approve = ["git", "-c", "credential.helper=bitbucket", "credential", "approve"]
    subprocess.run(approve, env=keyed.env, cwd=keyed.folder, input=text % (account, secret), check=True)
    said = keyed(HELPER, "status", "--prometheus", "-").stdout
    assert 'account="al\\\\xffi\\\\x1b]0;x\\\\x07ce"' in said
    assert "\x1b" not in said
    folder = home / "metrics"
    folder.mkdir()
    done = keyed(HELPER, "status", "--prometheus", str(folder / "a.prom"))
    assert (done.stdout, done.stderr) == ("", "")
    assert os.listdir(folder) == ["a.prom"]
    assert 'account="al\\\\xffi\\\\x1b' in (folder / "a.prom").read_text()


def test_json_is_whole_and_without_secrets(keyed: Runner) -> None:
    """For programs: numbers as numbers, and the state of vault and daemon."""
    token = tokens.api_token()
    keyed(HELPER, "login", "--no-verify", "--api-token", "--expires", "20d", stdin=token)
    document = json.loads(keyed(HELPER, "status", "--json").stdout)
    assert document["vault"]["state"] == "open"
    assert document["vault"]["key"] == "a key file"
    assert isinstance(document["daemon"]["pid"], int)
    (one,) = document["credentials"]
    assert one["ends_at"] == pytest.approx(time.time() + 20 * DAY, abs=60)
    assert token[5:20] not in json.dumps(document)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_json_has_a_line_a_credential(count: int) -> None:
    """As the agent encoded it: what is not looked into is not decoded."""
    text = b"".join(status_report.document(report(*[stated()] * count))).decode()
    assert json.loads(text)["credentials"] == [stated()] * count
    assert len([line for line in text.split("\n") if line.startswith("    {")]) == count


def test_what_is_no_terminal_gets_whole_lines_without_colours(keyed: Runner) -> None:
    """For grep and mail; a wide table stays one line a credential."""
    keyed(
        HELPER, "login", "--no-verify", "--access-token", "--for", f"{'w' * 60}/{'r' * 60}", stdin=tokens.access_token()
    )
    said = keyed(HELPER, "status").stdout
    assert "\x1b" not in said
    assert f"{'w' * 60}/{'r' * 60}" in said.splitlines()[1]


def test_a_scope_narrows_the_list(keyed: Runner) -> None:
    """An id does as well."""
    for place in ("acme", "acme/app"):
        keep(keyed.env, f"https://bitbucket.org/{place}", tokens.access_token())
    said = json.loads(keyed(HELPER, "status", "--json", "acme").stdout)
    assert [one["scope"] for one in said["credentials"]] == ["bitbucket.org/acme"]


def test_what_is_in_memory_only_is_said_to_be(keyed: Runner) -> None:
    """In each form, and by `daemon stop`, which leaves it alone; the vault's credentials are not."""
    for place, more in (("acme", []), ("beta", ["--memory"])):
        keyed(HELPER, "login", "--no-verify", "--access-token", "--for", place, *more, stdin=tokens.access_token())
    kept, remembered = listed(keyed)
    assert (kept["memory"], remembered["memory"]) == (False, True)
    assert f"in memory only, until the daemon stops: {remembered['id']}\n" in keyed(HELPER, "status").stdout
    assert keyed(HELPER, "status", "--long").stdout.count("stored: in memory only, until the daemon stops\n") == 1
    refused = keyed(HELPER, "daemon", "stop", check=False)
    assert refused.returncode == 1
    assert f"the access token for bitbucket.org/beta ({remembered['id']})" in refused.stderr
    assert kept["id"] not in refused.stderr
    assert "daemon stopped" in keyed(HELPER, "daemon", "stop", "--force").stdout


def test_a_token_in_the_environment_is_named_for_it_comes_first(keyed: Runner) -> None:
    keyed.env["BITBUCKET_TOKEN"] = tokens.access_token()
    assert "environment: the credential in BITBUCKET_TOKEN is used before" in keyed(HELPER, "status").stdout


def test_scopes_in_the_tokens_file_are_named(keyed: Runner, home: Path) -> None:
    """Beside a single token; what is wrong with one of them is told instead."""
    (home / "tokens").touch(0o600)
    (home / "tokens").write_text(f"acme={tokens.access_token()}\nbeta/app={tokens.access_token()}\n")
    keyed.env |= {"BITBUCKET_TOKEN": tokens.access_token(), "BITBUCKET_TOKENS_FILE": str(home / "tokens")}
    named = "BITBUCKET_TOKENS_FILE (beta/app, acme) and BITBUCKET_TOKEN"
    assert f"environment: the credential in {named} is used before" in keyed(HELPER, "status").stdout
    assert json.loads(keyed(HELPER, "status", "--json").stdout)["environment"] == named
    (home / "tokens").write_text("acme=BBDC-" + "x" * 44)
    assert "environment: line 1 of BITBUCKET_TOKENS_FILE holds a token of" in keyed(HELPER, "status").stdout


def test_a_token_in_the_environment_is_fine_beside_the_other_product(keyed: Runner) -> None:
    """It answers at its own product only, and a stored credential of the other is no trouble."""
    server = "https://git.corp.example"
    keyed("git", "config", "--global", f"credential.{server}.provider", "bitbucket-data-center")
    words = ("login", "--access-token", "--host", server, "--for", "KEY", "--no-verify")
    keyed(HELPER, *words, stdin=tokens.http_token())
    for token in (tokens.access_token(), tokens.http_token()):
        keyed.env["BITBUCKET_ACCESS_TOKEN"] = token
        keyed(HELPER, "status", "--fail-within", "7d", "--unknown-ok")
        said = keyed(HELPER, "status").stdout
        assert "the credential in BITBUCKET_ACCESS_TOKEN is used before any stored credential" in said


def test_a_suspended_token_in_the_environment_is_not_said_to_answer(keyed: Runner) -> None:
    """Nor is one that cannot be read; the list says why."""
    token = keyed.env["BITBUCKET_ACCESS_TOKEN"] = tokens.access_token()
    keyed(HELPER, "erase", stdin=f"protocol=https\nhost=bitbucket.org\nusername=x-token-auth\npassword={token}\n\n")
    said = keyed(HELPER, "status").stdout
    assert "environment: Bitbucket rejected the secret in BITBUCKET_ACCESS_TOKEN" in said
    assert "is answered before" not in said
    assert json.loads(keyed(HELPER, "status", "--json").stdout)["environment"] == "BITBUCKET_ACCESS_TOKEN"
    keyed.env["BITBUCKET_ACCESS_TOKEN"] = "two\nlines"
    said = keyed(HELPER, "status").stdout
    assert "environment: BITBUCKET_ACCESS_TOKEN holds more than one line\n" in said


def test_a_locked_vault_is_told_with_its_hint(person: Person, keyed: Runner) -> None:
    """On a terminal, with the source of its key."""
    keep(keyed.env, "https://bitbucket.org", tokens.api_token(), kind="api-token")
    keyed(HELPER, "lock")
    with person.types(HELPER, "status") as dialogue:
        dialogue.reads("the vault was locked by hand")
        dialogue.reads("git-credential-bitbucket unlock")
        dialogue.ends()
    assert keyed(HELPER, "status", "--fail-within", "7d", check=False).returncode == 1


@pytest.mark.parametrize("kept_in_memory", [False, True], ids=["nothing else", "another in memory"])
def test_a_scope_in_a_locked_vault_is_no_scope_without_a_credential(keyed: Runner, kept_in_memory: bool) -> None:
    """What is kept cannot be seen, and that is what is told."""
    keep(keyed.env, "https://bitbucket.org/acme/app", tokens.access_token())
    if kept_in_memory:
        words = ("--no-verify", "--access-token", "--for", "acme/web", "--memory")
        keyed(HELPER, "login", *words, stdin=tokens.access_token())
    keyed(HELPER, "lock")
    assert "the vault was locked by hand" in keyed(HELPER, "status", "acme/app").stdout
    refused = keyed(HELPER, "status", "--fail-within", "7d", "acme/app", check=False)
    assert refused.returncode == 1
    assert "the stored credentials cannot be read: the vault was locked by hand" in refused.stderr


def test_a_rejected_token_is_listed_with_what_to_do(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Suspect first; `restore` offers it again."""
    token = bitbucket.issue_access_token("acme/app")
    keep(keyed.env, "https://bitbucket.org/acme/app", token)
    keyed(HELPER, "erase", stdin=f"protocol=https\nhost=bitbucket.org\npath=acme/app\npassword={token}\n\n")
    (one,) = listed(keyed)
    assert one["state"] == "suspended"
    said = keyed(HELPER, "restore", "acme/app").stdout
    assert said.startswith("Re-enabled: access token for bitbucket.org/acme/app")
    assert listed(keyed)[0]["state"] == "ready"
    refused = keyed(HELPER, "restore", "acme/app", check=False)
    assert refused.returncode == 1


def test_a_mistyped_span_does_not_look_like_a_token_that_expires(keyed: Runner) -> None:
    """Exit code 1 is the alarm; 2 is a command that was not understood."""
    refused = keyed(HELPER, "status", "--fail-within", "7", check=False)
    assert refused.returncode == 2
    assert "invalid value for '--fail-within'" in refused.stderr
    assert "7d" in refused.stderr


def test_status_starts_no_daemon_and_shows_what_takes_no_question(keyed: Runner) -> None:
    """The vault is read in this process; what only a person can open is said to be locked, and nobody is asked."""
    login = ("--no-verify", "--access-token", "--for", "acme", "--expires", "10d")
    keyed(HELPER, "login", *login, stdin=tokens.access_token())
    keyed(HELPER, "daemon", "stop")
    for words in (
        ["status"],
        ["status", "--fail-within", "7d"],
        ["expires"],
        ["expires", "--json"],
        ["explain", "acme/x"],
    ):
        assert "bitbucket.org/acme" in keyed(HELPER, *words, check=False).stdout, words
        assert keyed(HELPER, "daemon", "status", check=False).returncode == 3, words
    assert json.loads(keyed(HELPER, "status", "--json").stdout)["daemon"] is None
    del keyed.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
    locked = json.loads(keyed(HELPER, "status", "--json").stdout)["vault"]
    assert locked["state"] == "locked"
    assert locked["trouble"]
    for words in (["--fail-within", "7d"], ["--check"], ["--require"]):
        refused = keyed(HELPER, "status", *words, check=False)
        assert refused.returncode == 1, "what could not be looked at is not well"
        assert "error: the stored credentials cannot be read: " in refused.stderr
    assert keyed(HELPER, "daemon", "status", check=False).returncode == 3


def test_an_empty_vault_fails_where_a_credential_is_required(keyed: Runner) -> None:
    """A vault that was lost looks like one that never was."""
    assert keyed(HELPER, "status", "--fail-within", "7d").returncode == 0
    refused = keyed(HELPER, "status", "--require", check=False)
    assert refused.returncode == 1
    assert "error: no credential is stored" in refused.stderr
    keep(keyed.env, "https://bitbucket.org/acme", tokens.access_token())
    assert keyed(HELPER, "status", "--require").returncode == 0


def test_a_token_in_the_environment_is_checked_and_fails_as_a_stored_one(
    keyed: Runner, bitbucket: FakeBitbucket
) -> None:
    """It is what a build uses: revoked, rejected by git, or of unknown expiry."""
    keyed("git", "config", "--global", "http.proxy", bitbucket.proxy_url)
    token = keyed.env["BITBUCKET_ACCESS_TOKEN"] = bitbucket.issue_access_token("acme/app")
    assert "BITBUCKET_ACCESS_TOKEN: Bitbucket says that it is valid" in keyed(HELPER, "status", "--check").stdout
    assert keyed(HELPER, "status", "--fail-within", "7d", "--unknown-ok").returncode == 0
    refused = keyed(HELPER, "status", "--fail-within", "7d", check=False)
    assert refused.returncode == 1
    assert "the expiry of the credential in BITBUCKET_ACCESS_TOKEN is unknown" in refused.stderr
    bitbucket.revoke(token)
    refused = keyed(HELPER, "status", "--check", check=False)
    assert refused.returncode == 1
    assert "error: Bitbucket rejects the credential in BITBUCKET_ACCESS_TOKEN" in refused.stderr
    keyed(HELPER, "erase", stdin=f"protocol=https\nhost=bitbucket.org\nusername=x-token-auth\npassword={token}\n\n")
    refused = keyed(HELPER, "status", "--fail-within", "7d", "--unknown-ok", check=False)
    assert refused.returncode == 1
    assert "Bitbucket rejected the secret in BITBUCKET_ACCESS_TOKEN" in refused.stderr


def test_a_consumer_in_the_environment_is_checked(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """A token is asked for, which is how git would use it."""
    keyed("git", "config", "--global", "http.proxy", bitbucket.proxy_url)
    consumer = bitbucket.add_consumer()
    keyed.env |= consumer.environment
    assert "BITBUCKET_CLIENT_SECRET: Bitbucket says that it is valid" in keyed(HELPER, "status", "--check").stdout
    keyed.env["BITBUCKET_CLIENT_SECRET"] = consumer.secret[::-1]
    refused = keyed(HELPER, "status", "--check", check=False)
    assert refused.returncode == 1
    assert "error: Bitbucket rejects the credential in BITBUCKET_CLIENT_SECRET" in refused.stderr


def test_without_a_network_nothing_is_said_to_be_rejected(keyed: Runner) -> None:
    """It could not be checked, and that is no failure of the token."""
    keep(keyed.env, "https://bitbucket.org/acme", tokens.access_token())
    keyed.env["BITBUCKET_TOKEN"] = tokens.access_token()
    keyed("git", "config", "--global", "http.proxy", "http://127.0.0.1:9")
    said = keyed(HELPER, "status", "--check").stdout
    assert said.count("Bitbucket did not say whether it is valid: ") == 2
