"""audit: what lies about in plain text is found at its place, told masked, in each of the report's forms."""

import base64
import json
import os
import shutil
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from tests.cli.person import Person
from tests.cli.schemas import validated
from tests.fake_bitbucket import tokens
from tests.running import Runner
from tests.scan import repositories
from tests.scan.repositories import Change

HELPER = "git-credential-bitbucket"


def audit(run: Runner, *words: str, found: bool = True, code: int | None = None) -> str:
    """The report on standard output; the exit code is checked."""
    said = run(HELPER, "audit", *words, check=False)
    assert said.returncode == (code if code is not None else 1 if found else 0), said.stderr
    assert said.stderr == ""
    return said.stdout


def entries(run: Runner, *words: str) -> list[tuple[str, str, int | None]]:
    """Kind, place and line of what the JSON form tells."""
    document = validated("audit", audit(run, *words, "--json"))
    return [(one["kind"], one["path"], one["line"]) for one in document["findings"]]


def test_nothing_is_found_where_nothing_is(bare_run: Runner) -> None:
    assert audit(bare_run, found=False) == "Nothing found.\n"


def test_a_persons_files_are_looked_into(bare_run: Runner, home: Path) -> None:
    """The configuration of git and what it includes, stores, .netrc, shell profiles."""
    dead, token, repository = tokens.app_password(), tokens.api_token(), tokens.access_token()
    (home / ".gitconfig").write_text(
        '[include]\n\tpath = more\n[credential]\n\thelper = store --file \\"$HOME/what is kept\\"\n'
        f'[url "https://alice:{dead}@bitbucket.org/"]\n\tinsteadOf = bb:\n'
    )
    encoded = base64.b64encode(f"x-token-auth:{repository}".encode()).decode()
    (home / "more").write_text(f'[http "https://bitbucket.org"]\n\textraHeader = Authorization: Basic {encoded}\n')
    (home / ".git-credentials").write_text(f"https://a:b@github.com\nhttps://alice:{dead}@bitbucket.org\n")
    (home / "what is kept").write_text(f"https://alice%40example.com:{token.replace('=', '%3d')}@bitbucket.org\n")
    (home / ".netrc").write_text(f"machine bitbucket.org\nlogin alice\npassword {dead}\n")
    (home / ".bashrc").write_text(f"alias ll=ls\nexport BITBUCKET_APP_PASSWORD={dead}\n")
    store = home / ".gcm" / "store" / "git" / "https" / "bitbucket.org"
    store.mkdir(parents=True)
    (store / "alice.credential").write_text(f"{token}\nservice=https://bitbucket.org\naccount=alice\n")
    assert sorted(entries(bare_run)) == sorted(
        [
            ("app-password", f"{home}/.gitconfig", 5),
            ("access-token", f"{home}/more", 2),
            ("app-password", f"{home}/.git-credentials", 2),
            ("api-token", f"{home}/what is kept", 1),
            ("app-password", f"{home}/.netrc", 1),
            ("app-password", f"{home}/.bashrc", 2),
            ("api-token", f"{store}/alice.credential", 1),
        ]
    )
    said = audit(bare_run)
    assert "\n~/.netrc:1: " in said
    assert str(home) not in said, "people read ~, programs whole paths"


def test_a_repository_is_its_configuration_and_its_files(bare_run: Runner, home: Path) -> None:
    """Remotes, CI files, ignored files; from any folder in it."""
    token, dead = tokens.access_token(), tokens.app_password()
    work = home / "work"
    bare_run("git", "init", "-q", ".")
    bare_run("git", "remote", "add", "origin", f"https://x-token-auth:{token}@bitbucket.org/acme/app.git")
    (work / "bitbucket-pipelines.yml").write_text(f"script:\n  - curl -u alice:{dead} https://api.bitbucket.org\n")
    (work / "Jenkinsfile").write_text(f"node {{\n  sh 'git clone https://alice:{dead}@bitbucket.org/acme/app'\n}}\n")
    (work / ".github" / "workflows").mkdir(parents=True)
    (work / ".github" / "workflows" / "build.yml").write_text(f"env:\n  BITBUCKET_ACCESS_TOKEN: {token}\n")
    (work / ".gitignore").write_text(".env\n")
    (work / ".env").write_text(f"BITBUCKET_API_TOKEN={tokens.api_token()}\n")
    (work / "src").mkdir()
    (work / "src" / "x.py").write_text(f"app_password = '{dead}'\n")
    bare_run.folder = work / "src"
    assert audit(bare_run).endswith(f", run: {HELPER} migrate\n")
    document = json.loads(audit(bare_run, "--json"))
    assert {(one["source"], one["path"].removeprefix(f"{work}/"), one["line"]) for one in document["findings"]} == {
        ("git-config", ".git/config", 7),
        ("ci", "bitbucket-pipelines.yml", 2),
        ("ci", "Jenkinsfile", 2),
        ("ci", ".github/workflows/build.yml", 2),
        ("environment-file", ".env", 1),
        ("source", "src/x.py", 1),
    }


def test_no_secret_is_ever_told(bare_run: Runner, home: Path) -> None:
    """Not in text, JSON or SARIF, not where a path holds it."""
    made = [tokens.api_token(), tokens.access_token(), tokens.app_password(), "k4" + os.urandom(12).hex()]
    work = home / "work"
    (work / "a.env").write_text(f"{made[0]}\n{made[1]}\nhttps://{made[2]}:{made[3]}@bitbucket.org/a\n")
    (work / f"{made[1]}.txt").write_text(f"BITBUCKET_TOKEN={made[3]}\nhttps://{made[2]}@bitbucket.org\n")
    told = [audit(bare_run, str(work), *form) for form in ((), ("--json",), ("--sarif", "-"))]
    for secret in made:
        assert not any(secret[5:] in text for text in told)


def test_sarif_is_what_code_scanning_takes(bare_run: Runner, home: Path) -> None:
    """Rules, levels, paths relative to the repository, lines; written to a file."""
    bare_run("git", "init", "-q", ".")
    (home / "work" / "a b.env").write_text(f"x\nBITBUCKET_TOKEN={tokens.api_token()}\n")
    audit(bare_run, ".", "--sarif", "out.sarif")
    document = json.loads((home / "work" / "out.sarif").read_text())
    assert document["version"] == "2.1.0"
    [run] = document["runs"]
    [rule] = run["tool"]["driver"]["rules"]
    [result] = run["results"]
    assert (rule["id"], result["ruleId"], result["ruleIndex"], result["level"]) == (
        "api-token",
        "api-token",
        0,
        "error",
    )
    location = result["locations"][0]["physicalLocation"]
    assert location == {"artifactLocation": {"uri": "a%20b.env"}, "region": {"startLine": 2}}


def test_a_link_that_is_named_is_followed(bare_run: Runner, home: Path) -> None:
    """To a file and to a folder, whose paths are relative all the same; one that is found leads out of it."""
    work, kept = home / "work", home / "kept"
    bare_run("git", "init", "-q", "r")
    (work / "r" / "a.env").write_text(f"BITBUCKET_TOKEN={tokens.api_token()}\n")
    kept.write_text(tokens.access_token())
    (work / "r" / "found").symlink_to(kept)
    (work / "file").symlink_to(kept)
    (work / "folder").symlink_to("r")
    assert entries(bare_run, "file") == [("access-token", str(kept), 1)]
    [run] = json.loads(audit(bare_run, "folder", "--sarif", "-"))["runs"]
    [result] = run["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "a.env"}


def test_file_names_are_plain_text_in_sarif(bare_run: Runner, home: Path) -> None:
    """A viewer shows the message: an escape, a link or a name that is no UTF-8 is what a repository chose."""
    bare_run("git", "init", "-q", ".")
    name = b"a\x1b[2J\xe2\x80\xae[see](https:x)\xff.env"
    (home / "work" / os.fsdecode(name)).write_text(f"BITBUCKET_TOKEN={tokens.api_token()}\n")
    [run] = json.loads(audit(bare_run, ".", "--sarif", "-"))["runs"]
    [result] = run["results"]
    text = result["message"]["text"]
    assert "a\\x1b\\[2J\\u202e\\[see\\](https:x)\\xff.env" in text
    assert text.isprintable()
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert unquote_to_bytes(uri) == name


def test_history_is_looked_through_with_commits_and_paths(bare_run: Runner, home: Path) -> None:
    """What was removed long ago is still there: the commit that brought it, the file, the line; once for each file."""
    dead, in_message, in_binary = tokens.app_password(), tokens.access_token(), tokens.api_token()
    bare_run.folder = repositories.make(
        home / "work" / "r",
        bare_run.env,
        [
            Change({"a.txt": b"one\n"}),
            Change({"conf/b.env": f"x\nAPP={dead}\n".encode()}),
            Change({"conf/b.env": f"x\ny\nAPP={dead}\n".encode()}, message=f"use {in_message}".encode()),
            Change({"image.bin": b"\0\1" + in_binary.encode()}, removed=("conf/b.env",)),
            Change({"a.txt": b"two\n"}, removed=("image.bin",)),
        ],
    )
    commits = repositories.git(bare_run.folder, bare_run.env, "rev-list", "--reverse", "main").split()
    assert audit(bare_run, ".", found=False) == "Nothing found.\n"
    found = json.loads(audit(bare_run, ".", "--history", "--json"))["findings"]
    assert [(f["kind"], f["path"], f["line"], f["commit"], f["times"]) for f in found] == [
        ("access-token", "(commit message)", 1, commits[2], 1),
        ("app-password", "conf/b.env", 2, commits[1], 2),
        ("api-token", "image.bin", 1, commits[3], 1),
    ]
    assert f"{commits[1][:12]}:conf/b.env:2: app password" in audit(bare_run, ".", "--history")


def test_history_reaches_what_no_branch_does(bare_run: Runner, home: Path) -> None:
    """A stash, an amended commit, a blob that was only ever added; and what a merge alone brought in."""
    work = home / "work"
    bare_run("git", "init", "-q", "-b", "main", ".")
    secrets = [tokens.app_password() for _ in range(3)]
    (work / "f").write_text(secrets[0])
    bare_run("git", "add", "f")
    (work / "f").write_text("")
    bare_run("git", "add", "f")
    bare_run("git", "commit", "-q", "-m", "one")
    (work / "g").write_text(secrets[1])
    bare_run("git", "add", "g")
    bare_run("git", "commit", "-q", "-m", "two")
    bare_run("git", "reset", "-q", "--hard", "HEAD~1")
    bare_run("git", "checkout", "-q", "-b", "side")
    bare_run("git", "commit", "-q", "--allow-empty", "-m", "side")
    bare_run("git", "checkout", "-q", "main")
    bare_run("git", "merge", "-q", "--no-ff", "--no-commit", "side")
    (work / "h").write_text(secrets[2])
    bare_run("git", "add", "h")
    bare_run("git", "commit", "-q", "-m", "merge")
    (work / "h").unlink()
    found = json.loads(audit(bare_run, ".", "--history", "--json"))["findings"]
    assert sorted(one["path"] for one in found) == ["(in no commit)", "g", "h"]


def test_a_hostile_repository_starts_nothing(bare_run: Runner, home: Path) -> None:
    """Its configuration, and one's within, names programs for all that git may start; there are links and a pipe."""
    work = home / "work"
    bare_run("git", "init", "-q", ".")
    evil = home / "evil"
    evil.write_text(f"#!/bin/sh\necho >> {home}/ran\ncat\n")
    evil.chmod(0o755)
    for key in (
        *("core.fsmonitor", "core.pager", "core.sshCommand", "diff.external", "gpg.program", "core.askPass"),
        *(
            "diff.x.textconv",
            "diff.x.command",
            "filter.x.smudge",
            "filter.x.clean",
            "core.editor",
            "remote.o.uploadpack",
        ),
        *("credential.helper", "pager.log", "core.alternateRefsCommand", "remote.o.vcs"),
    ):
        bare_run("git", "config", "--file", ".git/config", key, str(evil))
    for key, value in {
        "log.showSignature": "true",
        "core.hooksPath": str(home),
        "remote.o.url": f"ext::{evil}",
        "remote.o.promisor": "true",
        "extensions.partialClone": "o",
        "core.repositoryFormatVersion": "1",
        "protocol.allow": "always",
        "protocol.ext.allow": "always",
    }.items():
        bare_run("git", "config", "--file", ".git/config", key, value)
    (work / ".gitattributes").write_text("* filter=x diff=x\n")
    outside = home / "outside.env"
    outside.write_text(tokens.api_token())
    (work / "link.env").symlink_to(outside)
    os.mkfifo(work / "pipe.env")
    (work / "f").write_text(tokens.api_token())
    clean = {**bare_run.env, "GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "filter.x.clean", "GIT_CONFIG_VALUE_0": "cat",
             "GIT_CONFIG_KEY_1": "core.fsmonitor", "GIT_CONFIG_VALUE_1": "false"}  # fmt: skip
    bare_run("git", "add", "f", env=clean)
    bare_run("git", "-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "x", env=clean)
    shutil.copytree(work / ".git", work / "within.git")  # files that any repository may hold
    (home / "ran").unlink(missing_ok=True)
    found = json.loads(audit(bare_run, ".", "--history", "--json"))["findings"]
    assert {(one["path"], one["source"]) for one in found} == {(f"{work}/f", "source"), ("f", "history")}
    assert not (home / "ran").exists()


def test_nothing_hides_in_what_looks_like_a_repository(bare_run: Runner, home: Path) -> None:
    """A clone may hold a folder with the names of a bare one's files; and what stops its history stops no other's."""
    folder = home / "work" / "fake"
    bare_run("git", "init", "-q", "--bare", str(folder))
    for place in ("f", "objects/f", "hooks/f"):
        (folder / place).write_text(tokens.api_token())
    os.mkfifo(folder / "packed-refs")
    bare_run("git", "init", "-q", ".")
    said = bare_run(HELPER, "audit", ".", "--history", "--json", check=False)
    found = [one["path"] for one in json.loads(said.stdout)["findings"]]
    assert sorted(found) == [f"{folder}/{place}" for place in ("f", "hooks/f", "objects/f")]
    assert "not searched: 1 history of a repository (git " in said.stderr


@pytest.mark.parametrize("path", ["packed-refs", f"objects/ab/{'c' * 38}", f"../elsewhere/ab/{'c' * 38}"])
def test_a_pipe_that_git_would_open_is_told(bare_run: Runner, home: Path, path: str) -> None:
    """It would be waited for without end; an archive may hold one."""
    bare_run("git", "init", "-q", ".")
    pipe = home / "work" / ".git" / path
    pipe.parent.mkdir(exist_ok=True, parents=True)
    os.mkfifo(pipe)
    (home / "work" / ".git" / "objects" / "info" / "alternates").write_text(f"{pipe.parent.parent}\n")
    said = bare_run(HELPER, "audit", ".", "--history", check=False)
    assert (said.returncode, said.stdout) == (1, "")
    assert f"git would wait for {pipe}, which is not a regular file" in said.stderr


def test_folders_may_lie_within_each_other_as_deep_as_they_like(bare_run: Runner, home: Path) -> None:
    """Deeper than a program may call itself, and than a path may be long: what is too deep is told."""
    here = os.open(home / "work", os.O_RDONLY)
    names = [*("d" * 1010), *("e" * 250 for _ in range(9))]
    for name in names:  # one by one: a path of all of them is too long
        if name == "e" * 250:
            with os.fdopen(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here), "w") as file:
                file.write(tokens.api_token())
        os.mkdir(name, dir_fd=here)
        above, here = here, os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(above)
    os.close(here)
    said = bare_run(HELPER, "audit", ".", "--json", check=False)
    bare_run("rm", "-rf", "d")  # Python's own gives up as os.walk does
    found = [one["path"] for one in json.loads(said.stdout)["findings"]]
    assert found[0] == f"{home}/work/{'d/' * 1010}f"
    assert "not searched: 1 unreadable (file name too long)" in said.stderr


def test_a_folder_s_name_of_two_lines_is_one(bare_run: Runner, home: Path) -> None:
    """It is no other repository's."""
    folder = repositories.make(home / "work" / "a\nb", bare_run.env, repositories.long_history(3, {}))
    (home / "work" / "a").mkdir()
    said = bare_run(HELPER, "audit", str(folder), "--history", check=False)
    assert (said.returncode, said.stdout) == (0, "Nothing found.\n")


def test_repositories_within_are_looked_into_as_well(bare_run: Runner, home: Path) -> None:
    """A folder of clones, a submodule, a bare one: files, configuration and history; each report names which."""
    tree = home / "work" / "clones"
    secrets = [tokens.app_password() for _ in range(4)]
    for name in ("a", "b/c"):
        repositories.make(tree / name, bare_run.env, [Change({"f": secrets[0].encode()}), Change({"f": b"gone"})])
    bare_run("git", "init", "-q", str(tree / "a" / "sub"))
    (tree / "a" / "sub" / "x.env").write_text(f"K={secrets[1]}\n")
    bare_run(
        "git", "config", "--file", f"{tree}/b/c/.git/config", "remote.o.url", f"https://a:{secrets[2]}@bitbucket.org"
    )
    bare_run("git", "clone", "-q", "--bare", str(tree / "a"), str(tree / "mirror.git"))
    bare_run(
        "git", "config", "--file", f"{tree}/mirror.git/config", "remote.o.url", f"https://{secrets[3]}@bitbucket.org"
    )
    inside = {("app-password", f"{tree}/a/sub/x.env", 1), ("app-password", f"{tree}/b/c/.git/config", 7)}
    inside.add(("app-password", f"{tree}/mirror.git/config", 7))
    assert {(kind, path) for kind, path, _ in entries(bare_run, str(tree))} == {(k, p) for k, p, _ in inside}
    found = json.loads(audit(bare_run, str(tree), "--history", "--json"))["findings"]
    histories = {(one["repository"], one["path"]) for one in found if one["source"] == "history"}
    assert histories == {(f"{tree}/{name}", "f") for name in ("a", "b/c", "mirror.git")}
    [run] = json.loads(audit(bare_run, str(tree), "--history", "--sarif", "-"))["runs"]
    places = [one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in run["results"]]
    assert {"a/f", "b/c/f", "mirror.git/f", "a/sub/x.env"} <= set(places)
    migrate = f"migrate {tree}/b/c {tree}/mirror.git"
    assert audit(bare_run, str(tree)).endswith(f", run: {HELPER} {migrate}\n"), "those whose configuration holds one"
    assert f"Would clean: {tree}/b/c/.git/config\n" in bare_run(HELPER, *migrate.split(), "--dry-run").stdout
    assert "migrate" not in audit(bare_run, f"{tree}/a", "--history").splitlines()[-1], "it changes no other file"


def test_a_repository_within_that_git_does_not_open_is_said(bare_run: Runner, home: Path) -> None:
    """Its files are looked at; its configuration and history are not, and the exit code says so."""
    broken = home / "work" / "broken"
    bare_run("git", "init", "-q", str(broken))
    (broken / ".git" / "config").write_text("[core]\n\trepositoryFormatVersion = 99\n")
    said = bare_run(HELPER, "audit", ".", check=False)
    assert (said.returncode, said.stdout) == (4, "Nothing found.\n")
    assert "not searched: 1 repository, except for its files" in said.stderr
    (broken / "f").write_text(tokens.app_password())
    assert bare_run(HELPER, "audit", ".", check=False).returncode == 1


def test_references_to_app_passwords_have_a_severity_of_their_own(bare_run: Runner, home: Path) -> None:
    """In CI files, code and history: notes, with an exit code that tells them from secrets."""
    files = {
        "bitbucket-pipelines.yml": b"script:\n  - deploy $APP_PASSWORD\n",
        "Jenkinsfile": b"withCredentials([string(credentialsId: 'x', variable: 'BITBUCKET_APP_PASSWORD')]) {}\n",
        ".gitlab-ci.yml": b"variables:\n  BITBUCKET_APP_PASSWORD: $SECRET\n",
        ".github/workflows/x.yml": b"env:\n  P: ${{ secrets.BITBUCKET_APP_PASSWORD }}\n",
        "client.go": b'// Bitbucket\nos.Getenv("APP_PASSWORD")\n',
        "other.go": b'os.Getenv("APP_PASSWORD")\n',
    }
    removed = tuple(files)
    folder = repositories.make(home / "work" / "r", bare_run.env, [Change(files), Change(removed=removed[4:])])
    document = json.loads(audit(bare_run, str(folder), "--json", code=3))
    told = {
        (f["rule"], f["level"], f["source"], f["path"].removeprefix(f"{folder}/"), f["line"])
        for f in document["findings"]
    }
    rule = "app-password-reference"
    assert told == {
        *((rule, "note", "ci", name, 2) for name in (removed[0], *removed[2:4])),
        (rule, "note", "ci", "Jenkinsfile", 1),
    }
    assert {f["secret"] for f in document["findings"]} == {None}
    [run] = json.loads(audit(bare_run, str(folder), "--history", "--sarif", "-", code=3))["runs"]
    assert {one["level"] for one in run["results"]} == {"note"}
    texts = audit(bare_run, str(folder), "--history", code=3)
    assert ":client.go:2: reference to an app password, APP_PASSWORD\n" in texts
    assert "other.go" not in texts
    (folder / "secret.env").write_text(f"K={tokens.app_password()}\n")
    assert "Found: 1 secret, in 1 place; 4 references to app passwords." in audit(bare_run, str(folder))


def test_an_npmrc_of_a_person_is_told_and_left(bare_run: Runner, home: Path) -> None:
    """It asks no helper of git's."""
    text = f"//bitbucket.org/:_authToken={tokens.access_token()}\n"
    (home / ".npmrc").write_text(text)
    assert entries(bare_run) == [("access-token", f"{home}/.npmrc", 1)]
    assert "npm reads it there" in bare_run(HELPER, "migrate").stdout
    assert (home / ".npmrc").read_text() == text


def test_what_cannot_be_looked_at_is_said(bare_run: Runner, home: Path) -> None:
    """A file that is too large; nothing is left out in silence, and the exit code is not that of nothing."""
    with (home / "work" / "huge").open("wb") as file:
        file.truncate(33 << 20)
    said = bare_run(HELPER, "audit", ".", "--json", check=False)
    assert said.returncode == 4
    assert "warning: not searched: 1 larger than 32 MiB" in said.stderr
    [run] = json.loads(bare_run(HELPER, "audit", ".", "--sarif", "-", check=False).stdout)["runs"]
    [notification] = run["invocations"][0]["toolExecutionNotifications"]
    assert notification["message"]["text"] == "not searched: 1 larger than 32 MiB"


def test_a_terminal_sees_how_far_it_is(person: Person, bare_run: Runner, home: Path) -> None:
    """A bar on stderr for the history; the report stays as it is."""
    folder = repositories.make(home / "work" / "r", bare_run.env, repositories.long_history(300, {}))
    with person.types(HELPER, "audit", str(folder), "--history") as dialogue:
        dialogue.reads("history")
        dialogue.reads("Nothing found.")
        dialogue.ends()


@pytest.mark.parametrize("words", [("--history",), ("missing",), ("--json", "--sarif", "-")])
def test_what_cannot_be_done_is_an_error(bare_run: Runner, words: tuple[str, ...]) -> None:
    refused = bare_run(HELPER, "audit", *words, check=False)
    assert refused.returncode in (1, 2)
    assert refused.stderr.startswith(f"{HELPER}: error: ")
    assert refused.stdout == ""


def test_a_work_tree_that_a_repository_points_elsewhere_is_not_followed(bare_run: Runner, home: Path) -> None:
    """core.worktree is the repository's own setting: it could name the whole disk."""
    bare_run("git", "init", "-q", ".")
    bare_run("git", "config", "core.worktree", str(home))
    (home / "elsewhere").write_text(tokens.api_token())
    audit(bare_run, found=False)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives a folder away")
def test_a_repository_of_another_user_is_trusted_by_the_command_that_is_told(bare_run: Runner, home: Path) -> None:
    """As it stands there, whatever the folder's name."""
    folder = home / "work" / "it's theirs"
    bare_run("git", "init", "-q", str(folder))
    os.chown(folder, 65534, -1)
    refused = bare_run(HELPER, "audit", str(folder), check=False)
    assert "detected dubious ownership" in refused.stderr
    bare_run("sh", "-c", refused.stderr.partition("hint: if you trust it, run: ")[2])
    audit(bare_run, str(folder), found=False)


def test_a_host_that_is_opted_in_counts_in_history_too(bare_run: Runner, home: Path) -> None:
    """Its URLs hold passwords that no prefix tells."""
    bare_run("git", "config", "--global", "credential.https://code.example:8443.provider", "bitbucket")
    text = f"https://alice:k3{os.urandom(8).hex()}@code.example:8443/a/b\n".encode()
    folder = repositories.make(home / "work" / "r", bare_run.env, [Change({"a": text}), Change(removed=("a",))])
    assert entries(bare_run, str(folder), "--history") == [("unknown", "a", 1)]


def test_with_a_path_a_persons_own_files_are_not_looked_into(bare_run: Runner, home: Path) -> None:
    (home / ".gitconfig").write_text(f'[url "https://{tokens.app_password()}@bitbucket.org/"]\n\tinsteadOf = bb:\n')
    bare_run("git", "init", "-q", "r")
    audit(bare_run, "r", found=False)
    audit(bare_run)


def test_a_home_that_is_a_repository_is_told_of_once(bare_run: Runner, home: Path) -> None:
    """Dotfiles in git: a person's place and a file of the work tree are the same file."""
    (home / ".bashrc").write_text(f"export BITBUCKET_APP_PASSWORD={tokens.app_password()}\n")
    bare_run("git", "init", "-q", str(home))
    bare_run.folder = home
    assert entries(bare_run) == [("app-password", f"{home}/.bashrc", 1)]


def test_what_several_histories_leave_out_is_added_up(bare_run: Runner, home: Path) -> None:
    huge = home / "huge"
    with huge.open("wb") as file:
        file.truncate(33 << 20)
    for name, count in (("a", 1), ("b", 2), ("c", 0)):
        bare_run("git", "init", "-q", "--bare", name)
        for number in range(count):
            with huge.open("r+b") as file:
                file.write(f"{number}\n".encode())
            bare_run("git", f"--git-dir={name}", "hash-object", "-w", str(huge))
    said = bare_run(HELPER, "audit", "--history", "a", "b", "c", check=False)
    assert said.returncode == 4
    assert "warning: not searched: 3 objects larger than 32 MiB" in said.stderr
    assert bare_run(HELPER, "audit", "--history", "c").stderr == ""
