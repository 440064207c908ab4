"""git_config.py with real git: which lines of its configuration count, and how they are read."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from git_credential_bitbucket import config, git_config, paths
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.gitsetup import config_writer
from git_credential_bitbucket.scan import safe_git as audit_git

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "https://bitbucket.org"
PATH = "/usr/local/bin:/usr/bin:/bin"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment built up: a home of its own, no system configuration."""
    home = tmp_path / "home"
    home.mkdir()
    return {"HOME": str(home), "PATH": PATH, "GIT_CONFIG_NOSYSTEM": "1"}


def configure(env: dict[str, str], text: str) -> Path:
    """Write the global configuration, old enough to be trusted not to change within a clock tick."""
    path = Path(env["HOME"], ".gitconfig")
    path.write_text(text, encoding="utf-8")
    age(path)
    return path


def age(path: Path) -> None:
    """Make `path` look as if it had been written a minute ago."""
    before = path.stat().st_mtime_ns - 60_000_000_000
    os.utime(path, ns=(before, before))


def test_names_are_case_blind_but_for_the_url_s_path(env: dict[str, str]) -> None:
    """Section and key have no case, nor have scheme and host; the path has."""
    configure(env, '[CREDENTIAL "HTTPS://BitBucket.org/Acme"]\n\tOAuthScopes = repository\n')
    read = git_config.read(env)
    assert read.credential(URL + "/Acme/app", "oauthscopes") == "repository"
    assert read.credential(URL + "/acme/app", "oauthScopes") is None


def test_values_with_line_breaks_and_keys_without_value_arrive_whole(env: dict[str, str]) -> None:
    """A value may hold line feeds, and a key without a value means true."""
    configure(env, '[credential]\n\tnote = "a\\nb=c\\n"\n\tuseHttpPath\n\tempty =\n')
    read = git_config.read(env)
    assert read.value("credential.note") == "a\nb=c\n"
    assert read.value("credential.useHttpPath") == "true"
    assert read.value("credential.empty") == ""


def test_a_repository_s_own_configuration_does_not_count(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Local scope is ignored, whether found by the directory or pushed by GIT_DIR, GIT_WORK_TREE or GIT_CONFIG."""
    tree = tmp_path / "tree"
    subprocess.run(["git", "init", "-q", str(tree)], env=env, check=True)
    local = tree / ".git" / "config"
    with local.open("a", encoding="utf-8") as file:
        file.write('[credential "https://evil.example"]\n\tprovider = bitbucket\n')
    monkeypatch.chdir(tree)
    for pushed in (
        {},
        {"GIT_DIR": str(tree / ".git"), "GIT_WORK_TREE": str(tree)},
        {"GIT_COMMON_DIR": str(tree / ".git"), "GIT_DIR": str(tree / ".git")},
        {"GIT_CONFIG": str(local)},
    ):
        assert git_config.read(env | pushed).credential_urls() == []


@pytest.mark.parametrize("scope", ["local", "worktree"])
def test_a_repository_s_scope_does_not_count_wherever_git_finds_it(
    env: dict[str, str], tmp_path: Path, scope: str
) -> None:
    """As where the root directory itself, in which git is run, is a repository's: its lines come, and are left out."""
    tree, tools = tmp_path / "tree", tmp_path / "tools"
    subprocess.run(["git", "init", "-q", str(tree)], env=env, check=True)
    for words in (["extensions.worktreeConfig", "true"], [f"--{scope}", f"credential.{URL}.oauthClientId", "theirs"],
                  [f"--{scope}", "credential.https://evil.example.provider", "bitbucket"]):  # fmt: skip
        subprocess.run(["git", "-C", str(tree), "config", *words], env=env, check=True)
    tools.mkdir()
    there = tools / "git"
    there.write_text(f'#!/bin/sh\nPATH={PATH}\nexec git -C {tree} "$@"\n', encoding="utf-8")
    there.chmod(0o755)
    at_root = env | {"PATH": f"{tools}:{PATH}"}
    assert "https://evil.example" in git_config.read_repository(at_root, "/").credential_urls()
    read = git_config.read(at_root)
    assert read.credential_urls() == []
    assert read.credential("https://evil.example", "provider", named=True) is None
    assert read.credential(URL, "oauthClientId") is None


def test_system_global_and_command_scope_count(env: dict[str, str], tmp_path: Path) -> None:
    """Later scopes win, and `git -c` (GIT_CONFIG_PARAMETERS) and GIT_CONFIG_COUNT are both command scope."""
    system = tmp_path / "system"
    system.write_text("[credential]\n\ta = system\n\tb = system\n\tc = system\n\td = system\n", encoding="utf-8")
    configure(env, "[credential]\n\tb = global\n\tc = global\n\td = global\n")
    del env["GIT_CONFIG_NOSYSTEM"]
    env |= {
        "GIT_CONFIG_SYSTEM": str(system),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "credential.c",
        "GIT_CONFIG_VALUE_0": "count",
        "GIT_CONFIG_PARAMETERS": "'credential.d'='parameters'",
    }
    read = git_config.read(env)
    found = [read.value(f"credential.{key}") for key in "abcd"]
    assert found == ["system", "global", "count", "parameters"]


def test_no_token_of_the_caller_reaches_git_s_environment() -> None:
    """Git's environment is built up from what it needs, so nothing secret or repository-bound is handed down."""
    env = git_config.git_environment(
        {"HOME": "/h", "PATH": "/bin", "BITBUCKET_API_TOKEN": "x", "GIT_DIR": "/d", "GIT_CONFIG": "/c",
         "GIT_EXEC_PATH": "/e", "GIT_CONFIG_COUNT": "0", "GIT_TRACE": "1"}
    )  # fmt: skip
    assert env == {"HOME": "/h", "PATH": "/bin", "GIT_CONFIG_COUNT": "0", "LC_ALL": "C"}


def test_helpers_come_in_git_s_order_with_their_origin(env: dict[str, str], tmp_path: Path) -> None:
    """General and specific helpers mix in file order, an included file's own path is told, an empty value resets."""
    extra = tmp_path / "extra"
    extra.write_text('[credential "bitbucket.org"]\n\thelper = partial\n', encoding="utf-8")
    path = configure(
        env,
        f"[credential]\n\thelper = gone\n\thelper =\n\thelper = first\n"
        f'[credential "https://example.com"]\n\thelper = elsewhere\n[include]\n\tpath = {extra}\n'
        f'[credential "https://bitbucket.org"]\n\thelper = last\n',
    )
    assert git_config.read(env).helpers(URL) == [
        ("first", str(path), "global"),
        ("partial", str(extra), "global"),
        ("last", str(path), "global"),
    ]


def test_the_helpers_are_the_ones_that_git_runs(env: dict[str, str], tmp_path: Path) -> None:
    """Git itself, filling a credential, asks exactly the listed helpers in that order."""
    log = tmp_path / "log"
    record = "!f() { echo %s >>" + str(log) + "; }; f"
    lines = []
    for url in ("", "https://bitbucket.org", "bitbucket.org", "https://*.org", "http://bitbucket.org", "https://"):
        lines += [f'[credential "{url}"]' if url else "[credential]", f'\thelper = "{record % (url or "all")}"']
    configure(env, "\n".join(lines) + "\n")
    expected = [value for value, _, _ in git_config.read(env).helpers(URL)]
    request = "protocol=https\nhost=bitbucket.org\n\n"
    subprocess.run(
        ["git", "credential", "fill"], env=env | {"GIT_TERMINAL_PROMPT": "0"}, input=request, text=True,
        cwd="/", check=False, capture_output=True,
    )  # fmt: skip
    asked = log.read_text(encoding="utf-8").split("\n")[:-1]
    assert [record % name for name in asked] == expected
    assert asked == ["all", "https://bitbucket.org", "bitbucket.org", "https://*.org", "https://"]


def test_a_wildcard_or_an_unscoped_key_never_names_a_host(env: dict[str, str]) -> None:
    """What must be said of one host by name is not taken from a pattern, nor from a setting for all hosts."""
    configure(env, '[credential]\n\tprovider = bitbucket\n[credential "https://*.example"]\n\tprovider = bitbucket\n')
    read = git_config.read(env)
    assert read.credential("https://a.example", "provider") == "bitbucket"
    assert read.credential("https://a.example", "provider", named=True) is None


def test_a_damaged_file_is_reported_with_git_s_own_words(env: dict[str, str]) -> None:
    """Git names file and line; so do we, with a hint."""
    path = configure(env, "[credential]\n\thelper = x\n[broken\n")
    with pytest.raises(SettingsError) as caught:
        git_config.read(env)
    assert caught.value.cause == f"git cannot read its configuration: bad config line 3 in file {path}"
    assert caught.value.hint


def test_a_bogus_count_is_reported(env: dict[str, str]) -> None:
    """GIT_CONFIG_COUNT that is no number makes git refuse, and we say why."""
    with pytest.raises(SettingsError, match="command-line config"):
        git_config.read(env | {"GIT_CONFIG_COUNT": "many"})


def test_git_is_never_taken_from_the_work_tree(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository that brings a `git` of its own, on PATH by a relative or absolute entry, is passed over."""
    tree = tmp_path / "tree"
    (tree / ".git").mkdir(parents=True)
    planted = tree / "bin" / "git"
    planted.parent.mkdir()
    planted.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    planted.chmod(0o755)
    (tree / "git").symlink_to(planted)
    monkeypatch.chdir(tree)
    path = f":.:bin:{planted.parent}:{tree}:{tmp_path}/tree/../tree/bin:{PATH}"
    assert git_config.find_git({"PATH": path}) in {"/usr/local/bin/git", "/usr/bin/git", "/bin/git"}
    with pytest.raises(SettingsError):
        git_config.find_git({"PATH": f".:{planted.parent}"})
    assert git_config.read(env | {"PATH": path}).credential_urls() == []


def test_a_changed_file_makes_the_settings_stale(env: dict[str, str], tmp_path: Path) -> None:
    """Editing, removing, or creating a file that would be read shows; nothing else does."""
    included = tmp_path / "later"
    path = configure(env, f"[include]\n\tpath = {included}\n")
    assert not git_config.read(env).is_stale()
    for change in (
        lambda: path.write_text(f"[include]\n\tpath = {included}\n[credential]\n\ta = b\n", encoding="utf-8"),
        lambda: included.write_text("[credential]\n\ta = c\n", encoding="utf-8"),
        lambda: Path(env["HOME"], ".config", "git", "config").write_text("[x]\n\ty = z\n", encoding="utf-8"),
        included.unlink,
        path.unlink,
    ):
        Path(env["HOME"], ".config", "git").mkdir(parents=True, exist_ok=True)
        read = git_config.read(env)
        assert not read.is_stale()
        change()
        assert read.is_stale()
        for file in (path, included, Path(env["HOME"], ".config", "git", "config")):
            if file.exists():
                age(file)


def test_a_file_written_just_now_counts_as_stale(env: dict[str, str]) -> None:
    """Within one tick of the clock a second write would not show, so such settings are read again."""
    Path(env["HOME"], ".gitconfig").write_text("[credential]\n\ta = b\n", encoding="utf-8")
    assert git_config.read(env).is_stale()


def test_bytes_that_are_no_utf8_survive(env: dict[str, str]) -> None:
    """A path in Latin-1 comes back as the same bytes."""
    Path(env["HOME"], ".gitconfig").write_bytes(b"[http]\n\tsslCAInfo = /ca/\xe9.pem\n")
    value = git_config.read(env).http(URL, "sslCAInfo")
    assert value is not None
    assert os.fsencode(value) == b"/ca/\xe9.pem"


def runs(program: Path) -> bool:
    """Whether a process has `program` in its command line."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if os.fsencode(program) in command.read_bytes():
                return True
    return False


def test_a_git_that_does_not_end_is_ended_and_told(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a home directory's server is gone: whoever runs git gets an error with a hint."""
    tools = tmp_path / "tools"
    tools.mkdir()
    git = tools / "git"
    os.mkfifo(tools / "nothing")
    git.write_text(f"#!/bin/sh\nread -r line <{tools}/nothing\n")
    git.chmod(0o755)
    monkeypatch.setattr(git_config, "GIT_TIMEOUT_S", 1.0)
    hanging = {**env, "PATH": f"{tools}:{PATH}"}
    for running in (
        lambda: git_config.read(hanging),
        lambda: audit_git.config_files(hanging),
        lambda: audit_git.find(str(tmp_path), hanging),
        lambda: config_writer.run([["config", "--global", "a.b", "c"]], hanging),
    ):
        with pytest.raises(SettingsError, match="git did not finish within 1 seconds") as caught:
            running()
        assert caught.value.hint
        assert not runs(git)


@pytest.mark.parametrize("kind", ["global", "by a file that is included", "repository", "work tree"])
def test_a_fifo_in_include_path_is_named_at_once(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Git would wait for it without end; which of all files it is, it does not say."""
    monkeypatch.setattr(git_config, "GIT_TIMEOUT_S", 600.0)
    fifo = tmp_path / "fi fo"
    os.mkfifo(fifo)
    repository, folder = tmp_path / "repository", tmp_path / "repository"
    subprocess.run(["git", "init", "-q", repository], env=env, check=True)
    include = f'[include]\n\tpath = "{fifo}"\n'
    if kind == "global":
        configure(env, include)
    elif kind == "by a file that is included":
        (tmp_path / "home" / "more").write_text(f"[other]\n\tpath = {tmp_path}\n{include}")
        configure(env, "[include] path = ~/more\n")
    else:
        if kind == "work tree":
            commands = (["commit", "-q", "--allow-empty", "-m", "x"], ["worktree", "add", "-q", str(tmp_path / "tree")])
            for words in commands:
                named = ["-c", "user.name=x", "-c", "user.email=x"]
                subprocess.run(["git", *named, *words], env=env, cwd=repository, capture_output=True, check=True)
            folder = tmp_path / "tree"
        with (repository / ".git" / "config").open("a") as config:
            config.write(f"[include]\n\tpath = {os.path.relpath(fifo, repository / '.git')}\n")
    (folder / "below").mkdir()
    askers: list[Callable[[], object]] = [
        lambda: git_config.read_repository(env, str(folder / "below")),
        lambda: audit_git.find(str(folder), env),
    ]
    if kind in ("global", "by a file that is included"):
        askers.append(lambda: git_config.read(env))
    for ask in askers:
        with pytest.raises(SettingsError, match=r"git waits for .*fi fo, which its configuration names") as caught:
            ask()
        assert caught.value.hint


@pytest.mark.parametrize("name", ["/dev/null", "nowhere", "folder"])
def test_a_git_that_is_slow_is_waited_for(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever its configuration names that it does not wait for: /dev/null stands for no configuration at all."""
    monkeypatch.setattr(git_config, "STALL_S", 0.0)
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    assert (
        git_config.read({**env, "GIT_CONFIG_GLOBAL": str(path)} if name == "/dev/null" else env).credential_urls() == []
    )
    configure(env, f"[credential]\n\tpath = {path}\n\tinteractive = never\n[include]\n\tpath = /dev/null\n")
    assert git_config.read(env).value("credential.interactive") == "never"


def test_a_git_that_cannot_be_run_is_told(env: dict[str, str], tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_bytes(b"\x7fELF no more")
    (tools / "git").chmod(0o755)
    with pytest.raises(SettingsError, match="git could not be run: exec format error"):
        git_config.run_git({**env, "PATH": str(tools)}, "--version")


def test_git_gets_what_it_is_given_where_it_is_run(env: dict[str, str], tmp_path: Path) -> None:
    """Standard input, the folder, what is added to the environment; and its answer is left to the caller."""
    given = git_config.run_git(env, "config", "--file", "-", "--list", given=b"[a]\n\tb = c\n")
    assert (given.returncode, given.stdout) == (0, b"a.b=c\n")
    refused = git_config.run_git(env, "rev-parse", "--git-dir", folder=str(tmp_path), more={"LC_ALL": "C"})
    assert (refused.returncode, refused.stderr[:5]) == (128, b"fatal")


OWN = "GIT_CREDENTIAL_BITBUCKET_"


def test_our_settings_are_taken_from_the_configuration(env: dict[str, str]) -> None:
    """Each by its key, in either case; the last one counts, `~/` is the home, and nothing stands for nothing."""
    text = "vault = ~/v\n\tKEYFILE = /old\n\tkeyFile = ~/k\n\tidleExit = 60\n\tkeyring\n\twarn = 1\n\twarn =\n"
    configure(env, f'[credentialBitbucket]\n\t{text}[credentialBitbucket "x"]\n\tlog = on\n')
    git_config.adopt(env)
    found = {name.removeprefix(OWN): value for name, value in env.items() if name.startswith(OWN)}
    del found["STAMPS"], found["ADOPTED"]
    home = env["HOME"]
    assert found == {"DEFAULT_VAULT": f"{home}/v", "KEY_FILE": f"{home}/k", "IDLE_EXIT": "60", "KEYRING": "true"}


def test_a_variable_goes_before_its_key(env: dict[str, str]) -> None:
    """Which vault is the default, the configuration says all the same: that is whose daemon has the default socket."""
    configure(env, "[credentialBitbucket]\n\tvault = /v\n\tdaemon = off\n")
    env |= {f"{OWN}VAULT": "/mine", f"{OWN}DAEMON": "on"}
    git_config.adopt(env)
    assert (env[f"{OWN}VAULT"], env[paths.DEFAULT_VAULT], env[f"{OWN}DAEMON"]) == ("/mine", "/v", "on")


def test_command_scope_is_as_a_variable(env: dict[str, str]) -> None:
    """It is for one command, so it does not say what the default vault is."""
    configure(env, "[credentialBitbucket]\n\tvault = /v\n\tlog = /log\n")
    given = {"VAULT": "/once", "LOG": "/other"}
    for number, (setting, value) in enumerate(given.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": config.key(setting), f"GIT_CONFIG_VALUE_{number}": value}
    env["GIT_CONFIG_COUNT"] = "2"
    git_config.adopt(env)
    assert (env[f"{OWN}VAULT"], env[paths.DEFAULT_VAULT], env[f"{OWN}LOG"]) == ("/once", "/v", "/other")


def test_a_repository_and_another_global_file_have_no_say(env: dict[str, str], tmp_path: Path) -> None:
    """The one is somebody else's; the other the daemon, which serves all, does not read either."""
    repository = tmp_path / "clone"
    subprocess.run(["git", "init", "-q", repository], env=env, check=True)
    subprocess.run(["git", "-C", repository, "config", "credentialBitbucket.vault", "/theirs"], env=env, check=True)
    (tmp_path / "other").write_text("[credentialBitbucket]\n\tvault = /other\n")
    env |= {"GIT_CONFIG_GLOBAL": str(tmp_path / "other"), "GIT_DIR": str(repository / ".git")}
    before = Path.cwd()
    os.chdir(repository)
    try:
        git_config.adopt(env)
    finally:
        os.chdir(before)
    assert paths.DEFAULT_VAULT not in env
    assert f"{OWN}VAULT" not in env


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("vault = v", "vault (FILE) is not an absolute path"),
        ("keyFile = ~alice/key", "keyFile (FILE) is not an absolute path"),
        ("socket = ./s", "socket (FILE) is not an absolute path"),
        ('log = "a\\nb"', "log (FILE) contains unprintable characters"),
    ],
)
def test_a_key_that_cannot_be_meant_is_one_clear_error(env: dict[str, str], line: str, said: str) -> None:
    file = configure(env, f"[credentialBitbucket]\n\t{line}\n")
    with pytest.raises(SettingsError) as told:
        git_config.adopt(env)
    assert told.value.cause == f"credentialBitbucket.{said.replace('FILE', str(file))}"


def test_a_change_of_our_settings_is_seen(env: dict[str, str]) -> None:
    configure(env, "[credentialBitbucket]\n\tvault = /v\n")
    git_config.adopt(env)
    assert not git_config.is_stale(env)
    configure(env, "[credentialBitbucket]\n\tvault = /v\n[user]\n\tname = x\n")
    assert git_config.is_stale(env)
    assert not git_config.has_changed(env)
    assert not git_config.is_stale(env)
    configure(env, "[credentialBitbucket]\n\tvault = /w\n[user]\n\tname = x\n")
    assert git_config.has_changed(env)


def test_nothing_is_run_twice_nor_where_there_is_no_git(env: dict[str, str]) -> None:
    """A second call, or one with a PATH that has no git, changes nothing."""
    configure(env, "[credentialBitbucket]\n\tvault = /v\n")
    without = {**env, "PATH": "/nonexistent"}
    git_config.adopt(without)
    assert without == {**env, "PATH": "/nonexistent"}
    git_config.adopt(env)
    adopted = {**env, "PATH": "/nonexistent"}
    git_config.adopt(adopted)
    assert adopted == {**env, "PATH": "/nonexistent"}
