"""Two people, two projects, a workspace and a repository on one machine: what is sent for every URL."""

import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.sandbox import Machine, machine_git
from tests.fake_bitbucket.tokens import digest
from tests.sockets import free_port

ROOT = Path(__file__).parents[2]
PROJECTS = {
    "acme/app": "WEB", "acme/web": "WEB", "acme/ops": "OPS", "acme/lone": "LONE", "beta/tool": "CORE",
}  # fmt: skip


class Day:
    """A machine on which all have logged in. Its state: the machine, the account ids, and whose each secret is."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.bitbucket = machine.standin
        self.owners: dict[str | None, str] = {}
        self.ids: dict[str, str] = {}
        for name in ("alice", "bob"):
            person = self.bitbucket.control("create_person", username=name)
            self.ids[name] = person["account_id"].replace(":", "%3A")
        for repository, project in PROJECTS.items():
            self.bitbucket.create_repository(repository, project=project)
        self._log_in_people()
        for owner, place, words in (
            ("WEB", "acme", ("--project", "WEB")),
            ("OPS", "acme", ("--project", "OPS")),
            ("acme", "acme", ()),
            ("acme/app", "acme/app", ()),
        ):
            token = self.bitbucket.issue_access_token(place, project=words[1] if words else "")
            self._login("--access-token", "--for", place, *words, stdin=token)
            self.owners[digest(token)] = owner

    def _login(self, *words: str, stdin: str = "", more: dict[str, str] | None = None) -> None:
        self.machine.helper("login", "--host", self.machine.site, *words, stdin=stdin, more=more)

    def _log_in_people(self) -> None:
        callback = f"http://127.0.0.1:{free_port()}/"
        consumer = self.bitbucket.add_consumer(callback=callback)
        for key, value in (("oauthRedirectURI", callback), ("oauthScopes", "account repository")):
            self.machine.git("config", "--global", f"credential.{self.machine.site}.{key}", value)
        for name in ("alice", "bob"):
            token = self.bitbucket.issue_api_token(name)
            self._login("--api-token", stdin=f"{token}\n{name}@example.com\n")
            self.owners[digest(token)] = f"{name}'s API token"
        for name in ("alice", "bob"):
            script = self.machine.home / f"browser-{name}"
            words = [sys.executable, "-m", "tests.fake_bitbucket.browser", "--ca", self.bitbucket.ca_file]
            words += ["--account", name]
            script.write_text(f'#!/bin/sh\ncd {ROOT} && exec {shlex.join(words)} "$1"\n')
            script.chmod(0o700)
            known = set(self.bitbucket.secrets())
            client = consumer.environment
            self._login("--oauth", more={**client, "BROWSER": str(script)})
            self.owners.update({digest(new): f"{name}'s OAuth login" for new in set(self.bitbucket.secrets()) - known})

    def digests(self, owner: str) -> set[str | None]:
        """The digests of somebody's secrets."""
        return {secret for secret, name in self.owners.items() if name == owner}

    def sent(self, username: str, repository: str, folder: Path | None = None) -> str:
        """Whose secret git sends for a URL; whatever is rejected or fails is part of the answer."""
        name = self.ids.get(username.removesuffix("'s id"), "") if username.endswith("'s id") else username
        url = self.bitbucket.url.replace("//", f"//{name}@" if name else "//") + f"/{repository}.git"
        mark = self.bitbucket.mark()
        answer = self.machine.git("ls-remote", url, cwd=folder, check=False)
        return self.senders(mark) + answer.stderr

    def senders(self, since: int, endpoint: str = "git") -> str:
        """Whose secrets Bitbucket was sent after entry number `since` of its log, in order."""
        # curl sends an account id that is in the address by itself, of which Basic takes the part after the colon for
        # a secret.
        offered = self.machine.offered(since=since, endpoint=endpoint)
        offered = [e for e in offered if not (e.status == 401 and e.username == "712020")]
        owners = [self.owners.get(e.secret, "?") + ("" if e.status == 200 else f" {e.status}") for e in offered]
        return ", ".join(dict.fromkeys(owners))


EVERY = ("", "alice", "bob%40example.com", "x-token-auth", "carol")
TABLE: dict[tuple[str, str, str], dict[str, str]] = {
    # (default, where, repository): username in the URL -> whose secret is sent
    ("", "", "acme/app"): dict.fromkeys((*EVERY, "bob's id"), "acme/app"),
    ("", "", "acme/web"): dict.fromkeys(("", "bob"), "WEB"),
    ("", "", "acme/ops"): dict.fromkeys(("", "bob"), "OPS"),
    ("", "", "acme/lone"): dict.fromkeys(("", "bob"), "acme"),
    ("", "", "beta/tool"): {
        "": "bob's OAuth login",
        "alice": "alice's OAuth login",
        "bob": "bob's OAuth login",
        "alice%40example.com": "alice's OAuth login",
        "bob%40example.com": "bob's OAuth login",
        "alice's id": "alice's OAuth login",
        "bob's id": "bob's OAuth login",
        "x-token-auth": "bob's OAuth login",
        "x-bitbucket-api-token-auth": "bob's API token",
        "carol": "bob's OAuth login",
    },
    ("alice", "", "beta/tool"): {
        "": "alice's OAuth login",
        "alice": "alice's OAuth login",
        "bob": "bob's OAuth login",
        "x-token-auth": "alice's OAuth login",
        "x-bitbucket-api-token-auth": "alice's API token",
    },
    ("alice", "bob's folder", "beta/tool"): {"": "bob's OAuth login", "alice": "alice's OAuth login"},
    ("alice", "bob's folder", "acme/web"): {"": "WEB"},
}


def by_submodules(day: Day) -> Iterator[tuple[str, str]]:
    """What `git submodule add` sends; a relative URL has the username of the repository that it is relative to."""
    for username in ("", "alice@"):
        clone = day.machine.clone(f"{day.machine.site}/acme/app".replace("//", f"//{username}"))
        for number, url in enumerate((f"{day.machine.site}/acme/ops", "../web", "../../beta/tool")):
            mark = day.bitbucket.mark()
            day.machine.git("submodule", "--quiet", "add", url, f"sub{number}", cwd=clone)
            yield f"{username} submodule {url.removeprefix(day.machine.site)}", day.senders(mark)


def by_lfs(day: Day) -> Iterator[tuple[str, str]]:
    """What git-lfs sends to push a file; the address of its verification names no repository."""
    day.machine.git("lfs", "install", "--skip-repo")
    clone = day.machine.clone(f"{day.machine.site}/acme/ops")
    day.machine.git("lfs", "track", "*.bin", cwd=clone)
    day.machine.commit(clone, "large.bin")
    mark = day.bitbucket.mark()
    day.machine.git("lfs", "push", "--all", "origin", cwd=clone)
    yield "git-lfs acme/ops", day.senders(mark, "lfs")


def by_exec(day: Day) -> Iterator[tuple[str, str]]:
    """What git sends below `exec`: the environment's secret and nothing of the vault."""
    token = day.bitbucket.issue_access_token("acme")
    day.owners[digest(token)] = "the environment"
    narrow = ("--for", f"{day.machine.site}/acme/ops")
    for words, repository in (((), "acme/ops"), (narrow, "acme/ops"), (narrow, "acme/web")):
        mark = day.bitbucket.mark()
        command = ["git", "ls-remote", f"{day.machine.site}/{repository}"]
        done = day.machine.helper("exec", *words, *command, more={"BITBUCKET_TOKEN": token}, check=False)
        without = "no credential for" in done.stderr
        yield f"exec {words[:1]} {repository}", day.senders(mark) + "-" * without


def by_tokens_file(day: Day, folder: Path) -> Iterator[tuple[str, str]]:
    """What git sends where some scopes have a token in the environment."""
    lines = ""
    for scope in ("acme", "acme/web"):
        token = day.bitbucket.issue_access_token(scope)
        day.owners[digest(token)] = f"line {scope}"
        lines += f"{scope}={token}\n"
    path = folder / "tokens"
    path.touch(mode=0o600)
    path.write_text(lines)
    for repository in ("acme/app", "acme/web", "beta/tool"):
        mark = day.bitbucket.mark()
        day.machine.git("ls-remote", f"{day.machine.site}/{repository}", more={"BITBUCKET_TOKENS_FILE": str(path)})
        yield f"tokens file {repository}", day.senders(mark)


def by_auth(day: Day) -> Iterator[tuple[str, str]]:
    """What `BitbucketAuth` sends for each scope."""
    scopes = ("", "acme", "acme/app", "acme/ops", "beta/tool")
    mark, ours = day.bitbucket.mark(), {"REQUESTS_CA_BUNDLE": day.bitbucket.ca_file}
    words = (day.machine.site, day.bitbucket.api_url, *scopes)
    day.machine.run(day.machine.program.parent / "python", "-c", _AUTH, *words, more=ours)
    for scope, entry in zip(scopes, day.machine.offered(since=mark, endpoint="api"), strict=True):
        yield f"BitbucketAuth {scope}", day.owners.get(entry.secret, "?")


_AUTH = (
    "import sys, requests\n"
    "from git_credential_bitbucket import BitbucketAuth\n"
    "for scope in sys.argv[3:]:\n"
    "    requests.get(sys.argv[2] + '/user', auth=BitbucketAuth(scope, url=sys.argv[1]), timeout=60)"
)
TOOLS = {
    " submodule /acme/ops": "OPS",
    " submodule ../web": "WEB",
    " submodule ../../beta/tool": "bob's OAuth login",
    "alice@ submodule /acme/ops": "OPS",
    "alice@ submodule ../web": "WEB",
    "alice@ submodule ../../beta/tool": "alice's OAuth login",
    "git-lfs acme/ops": "OPS",
    "exec () acme/ops": "the environment",
    "exec ('--for',) acme/ops": "the environment",
    "exec ('--for',) acme/web": "-",
    "tokens file acme/app": "line acme",
    "tokens file acme/web": "line acme/web",
    "tokens file beta/tool": "bob's OAuth login",
    "BitbucketAuth ": "bob's OAuth login",
    "BitbucketAuth acme": "acme",
    "BitbucketAuth acme/app": "acme/app",
    "BitbucketAuth acme/ops": "OPS",
    "BitbucketAuth beta/tool": "bob's OAuth login",
}


@machine_git
def test_the_right_account_is_sent_for_every_url(machine: Machine, tmp_path: Path) -> None:
    """By repository, username in the URL, default and directory; where git tells the path, and where it does not.

    By submodules, git-lfs, `exec`, a file of tokens in the environment, and Python's requests as well.

    Not with the newer git of these tests: it is started by a loader, under the loader's name, so without a path nobody
    can look at its command line.
    """
    day = Day(machine)
    used = [*by_submodules(day), *by_exec(day), *by_tokens_file(day, tmp_path), *by_auth(day)]
    used += by_lfs(day) if shutil.which("git-lfs") else [(tool, TOOLS[tool]) for tool in TOOLS if "lfs" in tool]
    assert dict(used) == TOOLS
    folder = machine.work / "bobs"
    machine.git("init", "--quiet", folder)
    included = machine.home / "bob.gitconfig"
    machine.git("config", "--file", included, f"credential.{machine.site}.username", "bob")
    machine.git("config", "--global", f"includeIf.gitdir:{folder}/.path", included)
    sent: dict[tuple[str, str, str], dict[str, str]] = {}
    for default in ("", "alice"):
        if default:
            machine.helper("switch", default, "--for", machine.site)
        for (of, where, repository), names in TABLE.items():
            if of == default:
                cwd = folder if where else None
                sent[of, where, repository] = {name: day.sent(name, repository, cwd) for name in names}
    assert sent == TABLE
    machine.git("config", "--global", f"credential.{machine.site}.useHttpPath", "false")
    for repository, owner in [("acme/app", "acme/app"), ("acme/ops", "OPS"), ("beta/tool", "alice's OAuth login")]:
        assert day.sent("", repository) == owner
    assert day.sent("bob", "beta/tool") == "bob's OAuth login"
    token = machine.helper("token", "--git", f"{machine.site}/beta/tool").stdout.strip()
    del machine.told[-2:]  # where no secret may be, but in what `token` prints
    assert digest(token) in day.digests("alice's OAuth login")
