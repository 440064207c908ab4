"""What `install/demo` runs in its own environment: the main job step by step, each one checked with the stand-in.

Not a test of details, but proof to somebody who watches. A step shows the commands and what they said, tells what was
found where it counts (the stand-in's log, the disk, the processes), and how long it took.
"""

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import requests
from rich.text import Text

from git_credential_bitbucket import __version__
from install.stage import COMMAND_TIMEOUT_S, INDENT, Failed, Stage
from tests.e2e.leaks import Needles
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.tokens import digest

NAME = "git-credential-bitbucket"
SITE = "https://bitbucket.org"
APP, DEPLOY, SHOP, INFRA = "acme/app", "acme/deploy", "widgets/shop", "acme/infra"
PASSWORD = "a password of Data Center's"
TOKEN_LIFE_S = 8.0
PRIVATE = 0o600
INTERRUPTED = 130


def configure(stage: Stage) -> None:
    """Ask for the helper, and read git's own opinion."""
    with stage.step("Configure: git asks this helper for Bitbucket's credentials"):
        stage.run(NAME, "configure")
        reset, *helpers = stage.run("git", "config", "--get-all", f"credential.{SITE}.helper", quiet=True).splitlines()
        stage.found(
            "git's list for bitbucket.org is a reset and this helper",
            not reset and [Path(*shlex.split(helper)).name for helper in helpers] == [NAME],
        )


def log_in_by_oauth(stage: Stage) -> None:
    """A browser that clicks; key and secret of the consumer by standard input, as a script would give them."""
    with stage.step("Log in by OAuth: the browser opens, somebody allows the access"):
        port = free_port()
        callback = f"http://127.0.0.1:{port}/"
        consumer = stage.standin.add_consumer(callback=callback)
        stage.run("git", "config", "--global", f"credential.{SITE}.oauthRedirectURI", callback)
        browser = stage.folder / "browser"
        words = [sys.executable, "-m", "tests.fake_bitbucket.browser", "--ca", stage.standin.ca_file]
        words += ["--proxy", stage.standin.proxy_url]
        browser.write_text(f'#!/bin/sh\ncd {shlex.quote(os.getcwd())} && exec {shlex.join(words)} "$1"\n')
        browser.chmod(0o700)
        env = {**stage.env, "BROWSER": shlex.quote(str(browser))}
        stage.run(NAME, "login", "--oauth", env=env, stdin=f"{consumer.key}\n{consumer.secret}\n")
        stage.found("one authorization code was exchanged for tokens", stage.grants() == ["authorization_code"])
        vault = stage.home / ".local/share" / NAME / "vault"
        stage.found(
            f"they are in {vault.relative_to(stage.home)}, encrypted, readable by its owner alone",
            vault.stat().st_mode & 0o777 == PRIVATE
            and not Needles(stage.standin.secrets()).found_in(vault.read_bytes()),
        )


def clone_and_push(stage: Stage) -> None:
    """The main job."""
    clone = stage.home / "work/app"
    with stage.step("Clone"):
        since = stage.standin.mark()
        stage.run("git", "clone", f"{SITE}/{APP}.git")
        names = {e.username for e in stage.offered(APP, since)}
        stage.found("git sent the OAuth token, under the name that Bitbucket wants with it", names == {"x-token-auth"})
    with stage.step("Commit and push"):
        commit = stage.commit(clone, "By an OAuth token")
        stage.run("git", "push", cwd=clone)
        stage.found("the commit is at Bitbucket", stage.standin.head(APP) == commit)


def outlive_the_token(stage: Stage) -> None:
    """The token that git was given is dead, as Bitbucket's are after two hours; the next push does not notice."""
    clone = stage.home / "work/app"
    with stage.step(f"Wait until the access token has ended (after {TOKEN_LIFE_S:.0f} s here, two hours at Bitbucket)"):
        old = stage.run(NAME, "token", "--git", f"{SITE}/{APP}.git", quiet=True).strip()
        stage.found("Bitbucket refuses the token with which git has pushed", stage.refuses(APP, old))
    with stage.step("Push again: git is given a renewed token, and nobody is asked anything"):
        since = stage.standin.mark()
        commit = stage.commit(clone, "By a renewed token")
        stage.run("git", "push", cwd=clone)
        stage.found("the commit is at Bitbucket", stage.standin.head(APP) == commit)
        secrets = {e.secret for e in stage.offered(APP, since)}
        stage.found("by another token than before", secrets and digest(old) not in secrets)
        renewals = stage.grants().count("refresh_token")
        stage.found(f"renewed by the refresh token ({renewals} so far), without a second login", renewals)
    stage.standin.turn(token_lifetime=7200)


def outlive_a_revocation(stage: Stage) -> None:
    """What only git 2.46 and later can: another token within the same command."""
    stage.run(NAME, "refresh", quiet=True)
    if not stage.git_is_at_least(2, 46):
        stage.console.print(
            f"\n[dim]{INDENT}(left out: a token revoked in mid-push; this git is older than 2.46)[/dim]"
        )
        return
    with stage.step("Push while the token is revoked: git is given another one within the same command"):
        commit = stage.commit(stage.home / "work/app", "By a token that was revoked in mid-push")
        stage.standin.revoke(after=1)
        since = stage.standin.mark()
        stage.run("git", "push", cwd=stage.home / "work/app")
        statuses = {e.status for e in stage.standin.requests("git", since=since) if e.auth}
        stage.found("Bitbucket answered 401 in between", requests.codes.unauthorized in statuses)
        stage.found("the commit is at Bitbucket", stage.standin.head(APP) == commit)


def log_in_with_tokens(stage: Stage) -> None:
    """Two static tokens beside the OAuth login, and each repository gets its own."""
    api_token = stage.standin.issue_api_token()
    deploy_token = stage.standin.issue_access_token(DEPLOY)
    with stage.step("Keep an API token, for the workspace widgets"):
        stage.run(
            NAME,
            "login",
            "--api-token",
            "--for",
            "widgets",
            "--expires",
            "90d",
            stdin=f"{api_token}\nalice@example.com\n",
        )
    with stage.step(f"Keep a repository's access token, for {DEPLOY}"):
        stage.run(NAME, "login", "--access-token", "--for", DEPLOY, stdin=f"{deploy_token}\n")
    with stage.step("Each repository gets its own"):
        wanted = {
            APP: ("x-token-auth", None),
            DEPLOY: ("x-token-auth", digest(deploy_token)),
            SHOP: ("x-bitbucket-api-token-auth", digest(api_token)),
        }
        for place, (username, secret) in wanted.items():
            since = stage.standin.mark()
            stage.run("git", "ls-remote", f"{SITE}/{place}.git")
            sent = {(e.username, e.secret) for e in stage.offered(place, since)}
            name, told = sent.pop() if len(sent) == 1 else ("", "")
            others = {digest(api_token), digest(deploy_token)}
            stage.found(
                f"{place}: {username}, {'the OAuth token' if secret is None else 'its own token'}",
                name == username and (told == secret if secret else told not in others),
            )
        stage.run(NAME, "status", env={**stage.env, "COLUMNS": "120"})


def fetch_from_a_source(stage: Stage) -> None:
    """A secret that somebody else keeps, and rotates: here a file, as a secret manager's agent writes it."""
    secret = stage.folder / "mounted-secret"
    old, new = stage.standin.issue_access_token(INFRA), stage.standin.issue_access_token(INFRA)
    with stage.step("Leave a token where it is: only a reference to it is stored"):
        secret.write_text(f"{old}\n")
        stage.run(NAME, "login", "--access-token", "--for", INFRA, "--from", f"file:{secret}")
        since = stage.standin.mark()
        stage.run("git", "ls-remote", f"{SITE}/{INFRA}.git")
        stage.found("git sent the token from there", {e.secret for e in stage.offered(INFRA, since)} == {digest(old)})
    with stage.step("The secret is rotated there: the next git command has the new one, and nobody is asked"):
        stage.standin.revoke(old)
        secret.write_text(f"{new}\n")
        since = stage.standin.mark()
        stage.run("git", "ls-remote", f"{SITE}/{INFRA}.git")
        stage.found("git sent the new token", {e.secret for e in stage.offered(INFRA, since)} == {digest(new)})


def serve_a_data_center(stage: Stage) -> None:
    """Bitbucket's other half, which can create tokens by REST: so a rotation needs no browser."""
    stage.standin.create_person("carol", password=PASSWORD)
    site = stage.standin.data_center_url()
    stage.run("git", "config", "--global", f"http.{site}/.proxy", "", quiet=True)
    with stage.step("A Bitbucket Data Center beside it: configure it, log in with an HTTP access token, clone"):
        stage.run(NAME, "configure", "--host", site)
        old = stage.standin.issue_http_token("carol", name="laptop")
        stage.run(NAME, "login", "--access-token", "--host", site, stdin=f"{old}\n")
        since = stage.standin.mark()
        stage.run("git", "clone", stage.standin.data_center_url(APP), "from-data-center")
        names = {e.username for e in stage.standin.requests("git", since=since) if e.auth}
        stage.found("git sent it under its owner's name, which the server told", names == {"carol"})
    with stage.step("Rotate it: a token is created, verified and put into use, and the old one is revoked"):
        stage.run(NAME, "rotate", site, "--expires", "90d", stdin=f"{PASSWORD}\n")
        living = list(stage.standin.http_tokens())
        stage.found("one token of hers is valid now, and it is another one", len(living) == 1 and old not in living)
        since = stage.standin.mark()
        stage.run("git", "fetch", cwd=stage.home / "work/from-data-center")
        sent = {e.secret for e in stage.standin.requests("git", since=since) if e.auth}
        stage.found("git sent the new one", sent == {digest(living[0])})


def ci_job(stage: Stage) -> None:
    """A runner: nothing but a token in its environment."""
    with stage.step("A runner's job: a token in the environment, no daemon, nothing on disk"):
        home = stage.new_home("runner")
        token = stage.standin.issue_access_token(DEPLOY)
        env = stage.environment(home, {"CI": "true", "BITBUCKET_ACCESS_TOKEN": token})
        stage.run(NAME, "configure", env=env)
        since = stage.standin.mark()
        stage.run("git", "clone", "--quiet", f"{SITE}/{DEPLOY}.git", env=env, cwd=home / "work")
        secrets = {e.secret for e in stage.offered(DEPLOY, since)}
        stage.found("git sent the token from BITBUCKET_ACCESS_TOKEN", secrets == {digest(token)})
        left = [path for path in (home / "run").iterdir() if path.name != "markers"]
        stage.found("no daemon was started, no vault was made", not left and not (home / ".local").exists())


def exec_job(stage: Stage) -> None:
    """The same with a consumer, whose secret the job does not get to see."""
    with stage.step("exec: a build whose git is served, with no secret in its environment"):
        home = stage.folder / "runner"
        consumer = stage.standin.add_consumer()
        env = stage.environment(home, {"CI": "true", "BITBUCKET_CLIENT_ID": consumer.key})
        env["BITBUCKET_CLIENT_SECRET"] = consumer.secret
        since = stage.standin.mark()
        job = f"env >../seen; git clone --quiet {SITE}/{APP}.git"
        stage.run(NAME, "exec", "--", "sh", "-c", job, env=env, cwd=home / "work")
        stage.found("the repository is there", (home / "work/app/.git").is_dir())
        stage.found("the job's environment had no secret", consumer.secret not in (home / "seen").read_text())
        stage.found("the consumer's token was minted for this job", stage.grants(since) == ["client_credentials"])
        stage.found("its private daemon went with it", not list((home / "run").rglob("socket")))


def search_for_secrets(stage: Stage) -> None:
    """All that was made above is looked for, in several codings."""
    with stage.step("Look for every secret of this demonstration: on disk, among the processes, in what was said"):
        needles = Needles([*stage.standin.secrets(), PASSWORD])
        here = [stage.folder / name for name in ("home", "runner", "tmp")]
        stage.found(
            f"none of {len(stage.standin.secrets())} is in any file outside the vault", not list(needles.files(*here))
        )
        stage.found("none is in a process's arguments or environment", not list(needles.processes()))
        stage.found("none was printed", not needles.found_in("\n".join(stage.said).encode()))


def take_leave(stage: Stage) -> None:
    """Everything is taken back."""
    with stage.step("Log out, and take the configuration back"):
        stage.run(NAME, "logout", "--all")
        stage.run(NAME, "unconfigure")
        stage.run(NAME, "daemon", "stop")
        revoked = [e.status for e in stage.standin.requests("revoke")]
        stage.found("Bitbucket was told that the OAuth login is over", revoked == [requests.codes.ok])
        config = (stage.home / ".gitconfig").read_text()
        stage.found("git's configuration does not name the helper any more", NAME not in config)


STEPS: tuple[Callable[[Stage], None], ...] = (
    configure,
    log_in_by_oauth,
    clone_and_push,
    outlive_the_token,
    outlive_a_revocation,
    log_in_with_tokens,
    fetch_from_a_source,
    serve_a_data_center,
    ci_job,
    exec_job,
    search_for_secrets,
    take_leave,
)


def free_port() -> int:
    """A port that nobody listens at: the usual one may be taken on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def main(folder: Path) -> int:
    """Run the steps; returns the exit code."""
    began = time.monotonic()
    with FakeBitbucket(str(folder), token_lifetime=TOKEN_LIFE_S) as bitbucket:
        for place in (APP, DEPLOY, SHOP, INFRA):
            bitbucket.create_repository(place)
        stage = Stage(folder, bitbucket)
        key = folder / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(32))
        # Your keyring is left alone; the vault's key is in a file, as on a server.
        stage.env |= {"GIT_CREDENTIAL_BITBUCKET_KEYRING": "off", "GIT_CREDENTIAL_BITBUCKET_KEY_FILE": str(key)}
        git = stage.run("git", "--version", quiet=True).strip()
        stage.console.print(f"[bold]{NAME} {__version__}[/bold], {git}, Python {sys.version.split()[0]}")
        stage.console.print(f"bitbucket.org is a stand-in on this machine; all files are in {folder}")
        try:
            for step in STEPS:
                step(stage)
        except KeyboardInterrupt:
            stage.console.print("\nInterrupted.")
            return INTERRUPTED
        except (Failed, subprocess.TimeoutExpired) as exc:
            stage.console.print(Text(f"\nFAILED: {exc}", style="bold red"))
            return 1
        finally:
            subprocess.run(
                [NAME, "daemon", "stop"], env=stage.env, capture_output=True, check=False, timeout=COMMAND_TIMEOUT_S
            )
        seconds = time.monotonic() - began
        stage.console.print(f"\n[bold]All {stage.steps} steps did what they say, in {seconds:.0f} s.[/bold]")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
