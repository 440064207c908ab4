"""Access tokens of projects: which repositories each is for, beside a workspace's and a repository's, by real git."""

import pytest

from tests.cli.listed import listed
from tests.cli.person import Person
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner

HELPER = "git-credential-bitbucket"
PROJECTS = {"web": "WEB", "api": "WEB", "ops": "OPS", "lone": "LONE"}


@pytest.fixture
def ready(keyed: Runner, bitbucket: FakeBitbucket) -> Runner:
    """Git asks the helper, and workspace acme has three projects."""
    for name, project in PROJECTS.items():
        bitbucket.create_repository(f"acme/{name}", project=project)
    keyed(HELPER, "configure", "--host", bitbucket.url)
    return keyed


def logged_in(run: Runner, bitbucket: FakeBitbucket, place: str = "acme", project: str = "", *words: str) -> str:
    """Log in with a new access token of that scope; returns it."""
    token = bitbucket.issue_access_token(place, project=project)
    of_project = ("--project", project) if project else ()
    run(
        HELPER, "login", "--access-token", "--host", bitbucket.url, "--for", place, *of_project, *words,
        stdin=token,
    )  # fmt: skip
    return token


def sent(run: Runner, bitbucket: FakeBitbucket, name: str) -> str | None:
    """The digest of what git sends for a repository of acme; None where it has nothing to send, or is rejected."""
    since = bitbucket.mark()
    done = run("git", "ls-remote", f"{bitbucket.url}/acme/{name}.git", check=False)
    secrets = [entry.secret for entry in bitbucket.requests("git", since=since) if entry.status == 200]
    assert (done.returncode == 0) == bool(secrets), done.stderr
    return secrets[-1] if secrets else None


def test_each_repository_gets_the_token_of_its_project(ready: Runner, bitbucket: FakeBitbucket) -> None:
    """Two projects' side by side; a repository's own goes before, the workspace's is for all others."""
    web = logged_in(ready, bitbucket, "acme", "WEB")
    ops = logged_in(ready, bitbucket, "acme", "OPS")
    own = logged_in(ready, bitbucket, "acme/api")
    wanted = {"web": web, "api": own, "ops": ops, "lone": None}
    for name, token in wanted.items():
        assert sent(ready, bitbucket, name) == (token and tokens.digest(token)), name
    wide = logged_in(ready, bitbucket, "acme")
    for name, token in {**wanted, "lone": wide}.items():
        assert token is not None
        assert sent(ready, bitbucket, name) == tokens.digest(token), name
    told = {(one["scope"], one["project"], tuple(one["repositories"])) for one in listed(ready)}
    host = bitbucket.netloc
    assert told == {
        (f"{host}/acme (project WEB)", "WEB", ("web", "api")),
        (f"{host}/acme (project OPS)", "OPS", ("ops",)),
        (f"{host}/acme/api", None, ()),
        (f"{host}/acme", None, ()),
    }
    said = ready(HELPER, "explain", f"{bitbucket.url}/acme/web").stdout
    assert f"access token for {host}/acme (project WEB)" in said
    assert f"because its scope is narrower than that of the others: {host}/acme (project WEB)" in said
    assert "repositories: web, api" in ready(HELPER, "status", "--long").stdout


def test_a_new_repository_is_found_by_a_refresh(ready: Runner, bitbucket: FakeBitbucket) -> None:
    """Git is told how; so is who asks `explain`; and a person may say it where Bitbucket does not."""
    web = logged_in(ready, bitbucket, "acme", "WEB")
    (one,) = listed(ready)
    bitbucket.create_repository("acme/new", project="WEB")
    hint = f"if it is in project WEB: git-credential-bitbucket refresh {one['id']}; else log in"
    failed = ready("git", "ls-remote", f"{bitbucket.url}/acme/new.git", check=False)
    assert f"no credential for {bitbucket.netloc}/acme/new" in failed.stderr
    assert hint in failed.stderr
    person = Person({**ready.env, "GIT_TERMINAL_PROMPT": "1", "TERM": "xterm"}, ready.folder)
    with person.types("git", "ls-remote", f"{bitbucket.url}/acme/new.git") as dialogue:
        dialogue.reads(f"Hint: {hint}.")
        dialogue.reads("How do you want to authenticate")
        dialogue.presses("c")
        dialogue.finishes()
    assert hint in ready(HELPER, "explain", f"{bitbucket.url}/acme/new", check=False).stdout
    assert ready(HELPER, "refresh", one["id"]).stdout.endswith("(project WEB): web, api, new\n")
    assert sent(ready, bitbucket, "new") == tokens.digest(web)
    bitbucket.create_repository("acme/newest", project="WEB")
    fixed = ready(HELPER, "doctor", "--fix", bitbucket.url).stdout
    assert f"read the repositories of {one['scope']} again" in fixed
    assert sent(ready, bitbucket, "newest") == tokens.digest(web)
    ready(HELPER, "refresh", "--repositories", "web,acme/API", one["id"])
    assert [each["repositories"] for each in listed(ready)] == [["web", "api"]]
    assert sent(ready, bitbucket, "new") is None
    bitbucket.revoke(web)
    refused = ready(HELPER, "refresh", check=False)
    assert (refused.returncode, "the token is not valid" in refused.stderr) == (1, True)
    assert [each["repositories"] for each in listed(ready)] == [["web", "api"]]


def test_what_rest_does_not_tell_a_person_does(ready: Runner, bitbucket: FakeBitbucket) -> None:
    """By option or at the terminal; where nobody can be asked it is an error that names the option."""
    words = ("login", "--access-token", "--host", bitbucket.url, "--for", "acme", "--project", "WEB")
    bitbucket.script_fault("api", "410")
    refused = ready(HELPER, *words, stdin=bitbucket.issue_access_token("acme", project="WEB"), check=False)
    assert refused.returncode == 1
    assert "the repositories of project WEB are unknown: Bitbucket answered with 410" in refused.stderr
    assert "--repositories" in refused.stderr
    assert listed(ready) == []
    token = bitbucket.issue_access_token("acme", project="WEB")
    ready(HELPER, *words, "--repositories", "acme/web", stdin=token)
    assert [entry.path for entry in bitbucket.requests("api")][1:] == ["/2.0/user"]
    assert sent(ready, bitbucket, "web") == tokens.digest(token)
    assert sent(ready, bitbucket, "api") is None
    bitbucket.script_fault("api", "503")
    token = bitbucket.issue_access_token("acme", project="WEB")
    with Person({**ready.env, "TERM": "xterm"}, ready.folder).types(HELPER, *words, "--replace") as dialogue:
        dialogue.reads("Access token (not shown): ")
        dialogue.types(token)
        dialogue.reads("Repositories in the project")
        dialogue.types("other/web")
        dialogue.reads("Repositories in the project")
        dialogue.types("api web")
        dialogue.reads("Expiry date")
        dialogue.types("")
        dialogue.ends()
    assert sent(ready, bitbucket, "api") == tokens.digest(token)


def test_a_projects_token_is_named_like_any_other(ready: Runner, bitbucket: FakeBitbucket) -> None:
    """By `workspace/{KEY}`; a rotated one keeps its repositories, and the workspace's own is another."""
    logged_in(ready, bitbucket, "acme", "WEB")
    wide = logged_in(ready, bitbucket, "acme")
    scope = f"{bitbucket.url}/acme/{{WEB}}"
    (ours,) = [one for one in listed(ready) if one["project"]]
    assert tokens.digest(ready(HELPER, "token", ours["id"]).stdout.strip()) == sent(ready, bitbucket, "api")
    transcript = ready(HELPER, "doctor", "--live", f"{bitbucket.url}/acme/api", check=False).stdout
    assert "project_access_token" in transcript
    new = bitbucket.issue_access_token("acme", project="WEB")
    said = ready(HELPER, "rotate", scope, stdin=new).stdout
    assert f"Replaced: access token for {bitbucket.netloc}/acme (project WEB)" in said
    assert f"revoke the old one at Bitbucket here: {bitbucket.url}/acme/workspace/projects/WEB\n" in said
    assert sent(ready, bitbucket, "api") == tokens.digest(new)
    for one in [each for each in listed(ready) if each["project"]]:  # the new one, and the disabled
        ready(HELPER, "logout", one["id"])
    refused = ready(HELPER, "logout", scope, check=False)
    assert "no stored credential" in refused.stderr
    assert sent(ready, bitbucket, "api") == tokens.digest(wide)
    ready(HELPER, "logout", f"{bitbucket.url}/acme")
    assert sent(ready, bitbucket, "api") is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--project", "WEB"), "--project needs --access-token and --for WORKSPACE"),
        (("--for", "acme/app", "--project", "WEB"), "--project needs --access-token and --for WORKSPACE"),
        (("--for", "acme", "--repositories", "app"), "--repositories needs --project"),
        (("--for", "acme", "--project", 'W"EB'), "not a project key"),
        (("--for", "acme", "--project", "WEB", "--repositories", "a/b"), "not a list of repositories"),
        (("--for", "acme/{WEB}"), "not a workspace"),
        (("--for", "acme/OPS/*"), "a scope has no wildcards"),
    ],
)
def test_what_is_no_project_is_refused(keyed: Runner, words: tuple[str, ...], said: str) -> None:
    """Nothing is widened to a workspace by a typing error."""
    refused = keyed(HELPER, "login", "--no-verify", "--access-token", *words, stdin=tokens.access_token(), check=False)
    assert refused.returncode in (1, 2)
    assert said in refused.stderr
    assert listed(keyed) == []


@pytest.mark.parametrize(
    ("place", "project", "told"),
    [("acme/web", "", "acme/web"), ("acme", "", "acme"), ("acme", "WEB", "acme (project WEB)")],
)
def test_bitbucket_tells_what_an_access_token_is_of_in_a_repository(
    ready: Runner, bitbucket: FakeBitbucket, place: str, project: str, told: str
) -> None:
    """The kind of token is told beside every answer; the repository is the remote here."""
    ready("git", "init", "--quiet")
    ready("git", "remote", "add", "origin", f"{bitbucket.url}/acme/web.git")
    token = bitbucket.issue_access_token(place, project=project)
    said = ready(HELPER, "login", "--access-token", "--host", bitbucket.url, stdin=token).stdout
    assert ready(HELPER, "token").stdout == f"{token}\n"
    assert f"Logged in: access token for {bitbucket.netloc}/{told}" in said
    assert sent(ready, bitbucket, "web") == tokens.digest(token)


@pytest.mark.parametrize("here", ["nothing", "a public repository", "another's", "unreachable"])
def test_an_access_token_is_never_filed_for_the_whole_host(ready: Runner, bitbucket: FakeBitbucket, here: str) -> None:
    """Where Bitbucket does not tell what it reaches, nobody guesses."""
    bitbucket.create_repository("beta/open", public=True)
    bitbucket.create_repository("beta/app")
    if here != "nothing":
        remote = {"a public repository": "beta/open", "another's": "beta/app"}.get(here, "acme/web")
        ready("git", "init", "--quiet")
        ready("git", "remote", "add", "origin", f"{bitbucket.url}/{remote}.git")
    if here == "unreachable":
        bitbucket.script_fault("api", "reset")
    token = bitbucket.issue_access_token("acme")
    refused = ready(HELPER, "login", "--access-token", "--host", bitbucket.url, stdin=token, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "hint: name it: --for WORKSPACE/REPOSITORY" in refused.stderr
    assert listed(ready) == []


def test_a_person_is_asked_what_an_access_token_is_for(ready: Runner, bitbucket: FakeBitbucket) -> None:
    """The workspace, and whether it is a project's; no answer is no answer."""
    token = bitbucket.issue_access_token("acme", project="OPS")
    words = ("login", "--access-token", "--host", bitbucket.url)
    with Person({**ready.env, "TERM": "xterm"}, ready.folder).types(HELPER, *words) as dialogue:
        dialogue.reads("Access token (not shown): ")
        dialogue.types(token)
        for typed in ("", "acme"):
            dialogue.reads("Workspace or repository of the token")
            dialogue.types(typed)
        dialogue.reads("Project key")
        dialogue.types("OPS")
        dialogue.reads("Expiry date")
        dialogue.types("")
        dialogue.ends()
    assert sent(ready, bitbucket, "ops") == tokens.digest(token)
    assert sent(ready, bitbucket, "web") is None
