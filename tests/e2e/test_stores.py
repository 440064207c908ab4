"""What git may have this program keep: by a person's or program's wish, or by whatever a repository holds. Real git.

Git says the same `store` for all of them. alice is the person who works here, mallory one whose token reaches git by an
address, or who is asked for at a prompt.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.sandbox import Machine, machine_git, only_line
from tests.fake_bitbucket.client import FakeBitbucket

HOSTILE = "acme/sub"
"""The repository whose address somebody else has written."""


class Scene:
    """A machine with repositories at hand. Its state: who has which token, and what a store has said."""

    def __init__(self, machine: Machine, bitbucket: FakeBitbucket) -> None:
        self.machine = machine
        self.standin = bitbucket
        bitbucket.create_person("mallory", email="mallory@example.com")
        for repository in ("acme/app", HOSTILE, "beta/tool"):
            bitbucket.create_repository(repository)
        self.tokens = {name: bitbucket.issue_api_token(name) for name in ("alice", "mallory")}
        self.said = ""

    def log_in(self) -> None:
        """Alice has logged in, for the whole host."""
        email = "alice@example.com"
        self.machine.keep("", kind="api-token", secret=self.tokens["alice"], account=email, username="alice")

    def without_paths(self) -> None:
        """Git does not tell the repository."""
        self.machine.git("config", "--global", f"credential.{self.standin.url}.useHttpPath", "false")

    def git(self, *arguments: str | Path, check: bool = True, cwd: Path | None = None, **more: str) -> str:
        """Run git; what was said on standard error, of which our part is kept."""
        done = self.machine.git(*arguments, check=check, cwd=cwd, more=more)
        self.said += "".join(line + "\n" for line in done.stderr.split("\n") if line.startswith("git-credential-bitb"))
        return done.stderr

    def hostile_url(self, rest: str = "") -> str:
        """An address with a password in it."""
        return f"https://mallory:{self.tokens['mallory']}@{self.standin.netloc}/{HOSTILE}.git{rest}"

    def answer(self, path: str = "acme/app.git", username: str = "") -> str | None:
        """Whose token git gets for a path; asked as git asks, so without it where git does not tell it."""
        asked = self.machine.request("", path=path, **({"username": username} if username else {}))
        done = self.machine.git("credential", "fill", stdin=asked, check=False)
        given = dict(line.split("=", 1) for line in done.stdout.split("\n") if line).get("password")
        return next((name for name, token in self.tokens.items() if token == given), given and "somebody")

    def answers(self) -> dict[str, str | None]:
        """Whose token serves each repository."""
        return {place: self.answer(f"{place}.git") for place in ("acme/app", HOSTILE, "beta/tool")}


@pytest.fixture
def scene(machine: Machine, bitbucket: FakeBitbucket) -> Iterator[Scene]:
    """A scene with each of the gits."""
    yield from played(machine, bitbucket)


@pytest.fixture
def older_scene(older: Machine, bitbucket: FakeBitbucket) -> Iterator[Scene]:
    """A scene with the git that this machine has."""
    yield from played(older, bitbucket)


def played(machine: Machine, bitbucket: FakeBitbucket) -> Iterator[Scene]:
    """A scene; what attackers write down in plain text is not ours to look for afterwards."""
    made = Scene(machine, bitbucket)
    yield made
    shutil.rmtree(machine.work)
    (machine.home / ".gitconfig").unlink()
    machine.told[:] = [made.said]


Hostile = Callable[[Scene], str]
"""Has git store mallory's token, and returns the path that git then names."""
Wanted = Callable[[Scene], None]


def an_address(scene: Scene) -> str:
    """A person pastes an address with a password in it."""
    scene.git("ls-remote", scene.hostile_url())
    return f"{HOSTILE}.git"


def a_submodule(scene: Scene) -> str:
    """A password in the `.gitmodules` of somebody's repository."""
    origin = scene.machine.work / "origin"
    scene.git("init", origin)
    (origin / ".gitmodules").write_text(f'[submodule "sub"]\n\tpath = sub\n\turl = {scene.hostile_url()}\n')
    commit = scene.standin.head(HOSTILE)
    scene.git("add", ".gitmodules", cwd=origin)
    scene.git("update-index", "--add", "--cacheinfo", f"160000,{commit},sub", cwd=origin)
    scene.git("commit", "--message", "sub", cwd=origin)
    scene.git("clone", "--recurse-submodules", origin, scene.machine.work / "clone")
    assert (scene.machine.work / "clone" / "sub" / "README.md").exists()
    return f"{HOSTILE}.git"


def a_redirect(scene: Scene) -> str:
    """A harmless address, whose server answers with one that has a password in it."""
    location = scene.hostile_url("/info/refs?service=git-upload-pack")
    scene.standin.script_fault("git", "redirect", location=location)
    scene.git("ls-remote", scene.standin.clone_url("evil/harmless"))
    return f"{HOSTILE}.git"


def another_helper(scene: Scene) -> str:
    """Configured before us, it answered; git tells everybody that the answer was good."""
    with another_helper_configured(scene):
        scene.git("ls-remote", url(scene))
    return f"{HOSTILE}.git"


def another_helper_of_git_lfs(scene: Scene) -> str:
    """As before; git-lfs tells it by `git credential approve`."""
    with another_helper_configured(scene):
        fetch_large_file(scene)
    return f"{HOSTILE}.git"


@contextlib.contextmanager
def another_helper_configured(scene: Scene) -> Iterator[None]:
    """Have git ask somebody who has mallory's token, before it asks us."""
    configuration = scene.machine.home / ".gitconfig"
    before = configuration.read_text()
    helper = scene.machine.work / "helper"
    answer = f"username=mallory\npassword={scene.tokens['mallory']}\n"
    helper.write_text(f"#!/bin/sh\n[ $1 != get ] || printf '{answer}'\n")
    helper.chmod(0o755)
    key = f"credential.{scene.standin.url}.helper"
    scene.git("config", "--global", "--unset-all", key)
    for value in ("", str(helper), str(scene.machine.program)):
        scene.git("config", "--global", "--add", key, value)
    yield
    configuration.write_text(before)


def fetch_large_file(scene: Scene, lfsconfig: str = "", remote: str = "", **more: str) -> Path:
    """Have git-lfs look for an object of a repository that holds `lfsconfig`; returns the work tree."""
    if shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed")
    clone = scene.machine.work / "lfs"
    scene.git("init", clone)
    scene.git("remote", "add", "origin", remote or url(scene), cwd=clone)
    (clone / ".lfsconfig").write_text(lfsconfig)
    (clone / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs\n")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1\n"
    (clone / "large.bin").write_text(pointer)
    scene.git("add", ".", cwd=clone)
    scene.git("commit", "--message", "large", cwd=clone)
    answer = scene.git("lfs", "fetch", check=False, cwd=clone, **more)
    assert "no such object" in answer  # which only somebody with a right to the repository is told
    return clone


def url(scene: Scene) -> str:
    """The plain address."""
    return scene.standin.clone_url(HOSTILE)


UNSOLICITED = [an_address, a_submodule, a_redirect, another_helper, another_helper_of_git_lfs]


@pytest.mark.parametrize(
    ("git", "way"), [*(("machine", way) for way in UNSOLICITED), ("newer", another_helper)], indirect=["git"]
)
def test_what_nobody_asked_for_answers_its_own_address_alone(scene: Scene, way: Hostile) -> None:
    """Its username and path, and no other request, also where there is nothing else."""
    path = way(scene)  # asking before it would be a miss, which a store may answer
    assert set(scene.answers().values()) == {None}
    assert_bound(scene, path)
    assert scene.answer(path, "mallory") == "mallory"
    assert scene.answer("acme/app.git", "mallory") is None


def test_where_git_tells_no_path_it_answers_its_username_alone(older_scene: Scene) -> None:
    """With `useHttpPath` off."""
    older_scene.without_paths()
    path = an_address(older_scene)
    assert set(older_scene.answers().values()) == {None}
    assert_bound(older_scene, path)
    assert older_scene.answer(path, "mallory") == "mallory"


@pytest.mark.parametrize("way", [an_address, a_submodule])
def test_what_nobody_asked_for_takes_no_logins_place(older_scene: Scene, way: Hostile) -> None:
    """Not even at its own address, where a login serves that."""
    older_scene.log_in()
    path = way(older_scene)
    assert set(older_scene.answers().values()) == {"alice"}
    assert_bound(older_scene, path)


def assert_bound(scene: Scene, path: str) -> None:
    """Neither those who ask without its username nor the REST API get it; and a person is told how to keep it."""
    assert "mallory" not in {scene.answer(path, name) for name in ("", "x-bitbucket-api-token-auth", "bob")}
    rest = scene.machine.helper("token", f"{scene.standin.url}/{HOSTILE}", check=False)
    assert scene.tokens["mallory"] not in rest.stdout
    assert scene.said.count("hint: ") == 1
    assert "git-credential-bitbucket login" in scene.said


def test_it_is_said_once(older_scene: Scene) -> None:
    for _ in range(3):
        an_address(older_scene)
    assert older_scene.said.count("hint: ") == 1


def by_hand(scene: Scene) -> None:
    """A person, or a runner's script, types `git credential approve`."""
    scene.machine.approve("", "mallory", scene.tokens["mallory"])


def askpass(scene: Scene) -> Path:
    """A program that answers git's questions as mallory would."""
    program = scene.machine.work / "askpass"
    secret = scene.machine.work / "askpass.answer"
    secret.write_text(scene.tokens["mallory"])
    program.write_text(f'#!/bin/sh\ncase "$1" in Username*) echo mallory;; *) cat {secret};; esac\n')
    program.chmod(0o755)
    return program


def by_git_askpass(scene: Scene) -> None:
    """An editor's terminal: its askpass asks the person."""
    scene.git("ls-remote", url(scene), GIT_ASKPASS=str(askpass(scene)))


def by_core_askpass(scene: Scene) -> None:
    """The same by configuration."""
    scene.git("-c", f"core.askPass={askpass(scene)}", "ls-remote", url(scene))


def by_ssh_askpass(scene: Scene) -> None:
    """The same as ssh has it, where git has none of its own."""
    scene.git("ls-remote", url(scene), SSH_ASKPASS=str(askpass(scene)))


def by_git_lfs(scene: Scene) -> None:
    """git-lfs asks by itself, and has git's helpers keep what worked."""
    fetch_large_file(scene, GIT_ASKPASS=str(askpass(scene)))


@machine_git
@pytest.mark.parametrize("paths", [True, False], ids=["paths", "no paths"])
def test_what_was_approved_seeds_an_empty_vault(scene: Scene, paths: bool) -> None:
    assert_seeds(scene, by_hand, paths)


@pytest.mark.parametrize("way", [by_git_askpass, by_git_lfs])
def test_what_was_asked_for_seeds_an_empty_vault(scene: Scene, way: Wanted) -> None:
    assert_seeds(scene, way, paths=True)


@pytest.mark.parametrize(("way", "paths"), [(by_core_askpass, True), (by_ssh_askpass, True), (by_git_askpass, False)])
def test_whatever_asks_may_seed_an_empty_vault(older_scene: Scene, way: Wanted, paths: bool) -> None:
    """Each of the programs that git knows for it; and where git tells no path."""
    assert_seeds(older_scene, way, paths)


def assert_seeds(scene: Scene, way: Wanted, paths: bool) -> None:
    """An API token serves the whole host from then on, by its own username; and nothing is said."""
    if not paths:
        scene.without_paths()
    way(scene)
    assert scene.said == ""
    assert set(scene.answers().values()) == {"mallory"}
    assert scene.answer("beta/tool.git", "mallory") == "mallory"


@machine_git
def test_what_was_approved_takes_nobodys_place(scene: Scene) -> None:
    """It is kept beside another person's login, and answers by its username."""
    scene.log_in()
    by_hand(scene)
    assert set(scene.answers().values()) == {"alice"}
    assert scene.answer("beta/tool.git", "mallory") == "mallory"


@pytest.mark.parametrize("way", [by_hand, by_git_askpass, by_git_lfs])
def test_what_was_asked_for_replaces_ones_own(older_scene: Scene, way: Wanted) -> None:
    """A new token of the same person: the old one, revoked at Bitbucket, is not offered any more."""
    scene = older_scene
    old = scene.tokens["mallory"]
    by_hand(scene)
    scene.standin.revoke(old)
    scene.git("ls-remote", url(scene), check=False)
    scene.said = ""
    scene.tokens["mallory"] = scene.standin.issue_api_token("mallory")
    way(scene)
    assert set(scene.answers().values()) == {"mallory"}


@pytest.mark.parametrize("way", [by_git_askpass, by_git_lfs])
def test_a_prompt_after_a_rejection_serves_where_that_was(older_scene: Scene, way: Wanted) -> None:
    """Alice's token was rejected for one repository: the new one serves that, and she the others."""
    scene = older_scene
    scene.log_in()
    scene.standin.script_fault("git", "401", count=2)
    scene.git("ls-remote", url(scene), check=False)
    assert scene.answers() == {"acme/app": "alice", HOSTILE: None, "beta/tool": "alice"}
    scene.standin.release()
    way(scene)
    assert scene.answers() == {"acme/app": "alice", HOSTILE: "mallory", "beta/tool": "alice"}


@machine_git
@pytest.mark.parametrize(
    "text",
    [
        '[submodule "sub"]\n\tpath = sub\n\turl = {url}\n\tupdate = !git credential approve <given\n',
        '[submodule "sub"]\n\tpath = sub\n\turl = -u./x\n',
        '[submodule "sub"]\n\tpath = sub\n\turl = ext::sh -c git% credential% approve% <given\n',
    ],
    ids=["update", "option", "ext"],
)
def test_a_repository_has_no_credential_approved_by_its_submodules(scene: Scene, text: str) -> None:
    """Git itself refuses to run what `.gitmodules` names."""
    work = scene.machine.work
    (work / "given").write_text(scene.machine.request("", username="mallory", password=scene.tokens["mallory"]))
    origin = work / "origin"
    scene.git("init", origin)
    shutil.copy(work / "given", origin / "given")
    (origin / ".gitmodules").write_text(text.format(url=url(scene)))
    scene.git("add", ".", cwd=origin)
    scene.git("update-index", "--add", "--cacheinfo", f"160000,{scene.standin.head(HOSTILE)},sub", cwd=origin)
    tree = scene.machine.git("write-tree", cwd=origin).stdout.strip()  # `git commit` refuses some of them
    commit = scene.machine.git("commit-tree", "-m", "sub", tree, cwd=origin).stdout.strip()
    scene.git("update-ref", "HEAD", commit, cwd=origin)
    scene.git("clone", "--recurse-submodules", origin, work / "clone", check=False)
    assert scene.machine.credentials() == []


COMMANDS = """
[credential]
	helper = !git credential approve <given
[core]
	askPass = git credential approve <given;
[alias]
	credential = !git credential approve <given
[lfs]
	standalonetransferagent = x
[lfs "customtransfer.x"]
	path = git
	args = credential approve
[lfs "extension.x"]
	clean = git credential approve
	smudge = git credential approve
	priority = 0
"""


def test_a_repository_has_no_credential_approved_by_its_lfsconfig(older_scene: Scene) -> None:
    """git-lfs takes addresses from `.lfsconfig`, and no command; it fetches with the token in the remote's address."""
    scene = older_scene
    given = scene.machine.work / "lfs" / "given"
    given.parent.mkdir()
    given.write_text(scene.machine.request("", username="mallory", password=scene.tokens["mallory"]))
    clone = fetch_large_file(scene, COMMANDS, scene.hostile_url())
    scene.git("lfs", "install", "--local", cwd=clone)
    for words in (("pull",), ("checkout",), ("push", "--all", "origin")):
        scene.git("lfs", *words, check=False, cwd=clone)
    assert set(scene.answers().values()) == {None}  # what was approved would serve the host


def test_an_address_with_a_password_in_an_lfsconfig_is_nothing_to_keep(older_scene: Scene) -> None:
    """git-lfs uses it, and has nobody keep it."""
    scene = older_scene
    fetch_large_file(scene, f"[lfs]\n\turl = {scene.hostile_url('/info/lfs')}\n")
    assert set(scene.answers().values()) == {None}
    assert scene.machine.credentials() == []


@machine_git
def test_relative_submodules_are_served_as_their_parent(scene: Scene) -> None:
    """Whatever name the parent's address holds; and nothing is kept that was not there before."""
    scene.log_in()
    before = [one["id"] for one in scene.machine.credentials()]
    clone = scene.machine.clone(scene.standin.clone_url("acme/app", "mallory"))
    (clone / ".gitmodules").write_text('[submodule "sub"]\n\tpath = sub\n\turl = ../sub.git\n')
    scene.git("add", ".gitmodules", cwd=clone)
    scene.git("update-index", "--add", "--cacheinfo", f"160000,{scene.standin.head(HOSTILE)},sub", cwd=clone)
    scene.git("commit", "--message", "sub", cwd=clone)
    scene.git("push", cwd=clone)
    again = scene.machine.clone(scene.standin.clone_url("acme/app"), "--recurse-submodules")
    assert (again / "sub" / "README.md").exists()
    assert [one["id"] for one in scene.machine.credentials()] == before
    assert {entry.status for entry in scene.machine.offered()} == {200}


def test_a_redirect_to_another_host_takes_nothing_along(older_scene: Scene) -> None:
    """Git asks about the other host, which is none of ours; and the login is as good as before."""
    scene = older_scene
    scene.log_in()
    with FakeBitbucket() as other:
        other.create_repository(HOSTILE)
        location = f"{other.url}/{HOSTILE}.git/info/refs?service=git-upload-pack"
        scene.standin.script_fault("git", "redirect", location=location)
        scene.git("ls-remote", url(scene), check=False, GIT_SSL_NO_VERIFY="1")
        assert [(entry.status, entry.auth) for entry in other.requests("git")] == [(401, None)]
    assert scene.said == ""
    assert set(scene.answers().values()) == {"alice"}


def test_a_rejection_by_one_repository_is_that_ones(scene: Scene) -> None:
    """A submodule that alice may not read, say: she is told, and everything else is served as before."""
    scene.log_in()
    scene.standin.script_fault("git", "401", count=2)
    answer = scene.git("ls-remote", url(scene), check=False)
    scene.standin.release()
    assert only_line(answer + scene.git("ls-remote", url(scene), check=False))
    assert scene.answers() == {"acme/app": "alice", HOSTILE: None, "beta/tool": "alice"}
