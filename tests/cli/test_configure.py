"""`configure` and `unconfigure` with real git: what is written, what is left alone, what is taken back."""

from pathlib import Path

import pytest

from tests.fake_bitbucket import tokens
from tests.running import Runner

NAME = "git-credential-bitbucket"
URL = "https://bitbucket.org"
FILLING = "protocol=https\nhost=bitbucket.org\npath=acme/app.git\n\n"


def helpers(run: Runner, scope: str = "--global") -> list[str]:
    """The values of credential.https://bitbucket.org.helper, as git reads them."""
    done = run("git", "config", scope, "--null", "--get-all", f"credential.{URL}.helper", check=False)
    return done.stdout.split("\0")[:-1]


def assert_git_asks_us(run: Runner) -> None:
    """`git credential fill` gets a token that only this helper can have found."""
    token = tokens.access_token()
    done = run("git", "credential", "fill", env={**run.env, "BITBUCKET_TOKEN": token}, stdin=FILLING)
    assert f"password={token}\n" in done.stdout
    assert "username=x-token-auth\n" in done.stdout


def test_writes_reset_path_and_use_http_path(bare_run: Runner, link: Path, home: Path) -> None:
    """The list of helpers is reset, then comes the stable link and not what it points at; git then asks us."""
    done = bare_run(NAME, "configure")
    assert helpers(bare_run) == ["", str(link)]
    assert bare_run("git", "config", f"credential.{URL}.useHttpPath").stdout == "true\n"
    assert str(link) in done.stdout
    assert str(home / ".gitconfig") in done.stdout
    assert done.stderr == ""
    assert_git_asks_us(bare_run)


def test_a_second_run_changes_nothing(bare_run: Runner, home: Path) -> None:
    bare_run(NAME, "configure")
    file = home / ".gitconfig"
    before = file.stat().st_ino, file.read_bytes()
    assert "already" in bare_run(NAME, "configure").stdout
    assert (file.stat().st_ino, file.read_bytes()) == before
    assert bare_run(NAME, "configure", "--dry-run").stdout == "# nothing to change\n"


def test_a_dry_run_prints_the_commands_and_runs_none(bare_run: Runner, home: Path) -> None:
    """What it prints does, typed into a shell, what `configure` would have done."""
    commands = bare_run(NAME, "configure", "--dry-run").stdout
    assert not (home / ".gitconfig").exists()
    bare_run("sh", "-ec", commands)
    assert "already" in bare_run(NAME, "configure").stdout
    taken_back = bare_run(NAME, "unconfigure", "-n").stdout
    assert helpers(bare_run) != []
    bare_run("sh", "-ec", taken_back)
    assert (home / ".gitconfig").read_text() == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[user]\n\tname = Alice ; not ours\n",
        '[credential "https://bitbucket.org"]\n\tusername = alice\n',
        '[credential "https://bitbucket.org"]\n\tuseHttpPath = false\n\tuseHttpPath = true\n',
        '[credential "https://bitbucket.org"]\n\tuseHttpPath = false\n',
        '[credential "https://bitbucket.org"]\n\thelper = cache\n',
        "[credential]\n\thelper = cache\n[credential]\n\tuseHttpPath = false\n",
    ],
)
def test_what_was_there_stays_and_comes_back(bare_run: Runner, home: Path, text: str) -> None:
    """After `configure` git asks us alone, whatever stood there; `unconfigure` gives back the file byte for byte."""
    file = home / ".gitconfig"
    file.write_text(text)
    bare_run(NAME, "configure")
    assert_git_asks_us(bare_run)
    bare_run(NAME, "configure")
    bare_run(NAME, "unconfigure")
    assert file.read_text() == text


def test_a_reset_of_somebody_else_comes_back_as_it_meant(bare_run: Runner, home: Path) -> None:
    """Two equal lines cannot be told apart by `git config`, so they are written anew, in their order."""
    (home / ".gitconfig").write_text(f'[credential "{URL}"]\n\thelper =\n\thelper = cache # mine\n')
    assert "no longer asked: cache" in bare_run(NAME, "configure").stdout
    assert helpers(bare_run)[:3] == ["", "cache", ""]
    bare_run(NAME, "unconfigure")
    assert helpers(bare_run) == ["", "cache"]


def test_unconfigure_twice_is_no_error(bare_run: Runner) -> None:
    assert "nothing to remove" in bare_run(NAME, "unconfigure").stdout


def test_a_helper_named_by_hand_is_not_ours_to_take_back(bare_run: Runner) -> None:
    """`helper = bitbucket` was written by a person."""
    bare_run("git", "config", "--global", f"credential.{URL}.helper", "bitbucket")
    bare_run(NAME, "unconfigure")
    assert helpers(bare_run) == ["bitbucket"]


def test_a_path_of_an_older_installation_is_brought_up_to_date(bare_run: Runner, link: Path) -> None:
    """In its place: lines behind it stay behind it."""
    for value in ("", f"/opt/(old)+1.0/bin/{NAME}", "cache"):
        bare_run("git", "config", "--global", "--add", f"credential.{URL}.helper", value)
    done = bare_run(NAME, "configure")
    assert helpers(bare_run) == ["", str(link), "cache"]
    assert "git asks cache after this program" in done.stderr


def test_a_reset_that_was_lost_is_put_back(bare_run: Runner, link: Path) -> None:
    """A line of ours without the reset before it lets others answer first."""
    for value in ("cache", str(link)):
        bare_run("git", "config", "--global", "--add", f"credential.{URL}.helper", value)
    bare_run(NAME, "configure")
    assert helpers(bare_run) == ["cache", "", str(link)]


def test_a_reset_for_the_same_host_behind_ours_is_overtaken(bare_run: Runner, link: Path) -> None:
    """Another program was configured since; who now types `configure` means this one."""
    bare_run(NAME, "configure")
    for value in ("", "cache"):
        bare_run("git", "config", "--global", "--add", f"credential.{URL}.helper", value)
    assert "no longer asked: cache" in bare_run(NAME, "configure").stdout
    assert helpers(bare_run) == ["", "cache", "", str(link)]
    assert_git_asks_us(bare_run)
    bare_run(NAME, "unconfigure")
    assert helpers(bare_run) == ["", "cache"]


@pytest.mark.parametrize("name", ["my home", "hömé", "it's $HOME", 'a"b\\c', "semi;colon & co", "(x) [y] *?"])
def test_a_home_with_any_name(bare_env: dict[str, str], home: Path, prefix: Path, name: str) -> None:
    """Git and the shell that it runs helpers by take the path as it is meant, and it can be taken back."""
    other = home / name
    link = other / ".local" / "bin" / NAME
    link.parent.mkdir(parents=True)
    link.symlink_to(prefix / "bin" / NAME)
    run = Runner({**bare_env, "HOME": str(other), "XDG_CONFIG_HOME": str(other / ".config")}, home / "work")
    run(link, "configure")
    assert_git_asks_us(run)
    assert "already" in run(link, "configure").stdout
    run(link, "unconfigure")
    assert (other / ".gitconfig").read_text() == ""


def test_the_xdg_file_is_used_where_it_is_git_s(bare_run: Runner, home: Path) -> None:
    """Also once a ~/.gitconfig has come beside it: what is there is found, not written again."""
    file = home / ".config" / "git" / "config"
    file.parent.mkdir()
    file.write_text("[user]\n\tname = Alice\n")
    bare_run(NAME, "configure")
    assert NAME in file.read_text()
    (home / ".gitconfig").write_text("[user]\n\temail = alice@example.com\n")
    assert "already" in bare_run(NAME, "configure").stdout
    bare_run(NAME, "unconfigure")
    assert file.read_text() == "[user]\n\tname = Alice\n"
    assert (home / ".gitconfig").read_text() == "[user]\n\temail = alice@example.com\n"


def test_an_included_file_is_brought_up_to_date_where_it_is(bare_run: Runner, home: Path, link: Path) -> None:
    """People keep their configuration in several files; ours is found in any of them."""
    included = home / "included"
    text = f'[credential "{URL}"]\n\thelper =\n\thelper = /old/{NAME}\n\tuseHttpPath = true\n'
    included.write_text(text)
    main = f"[include]\n\tpath = {included}\n"
    (home / ".gitconfig").write_text(main)
    bare_run(NAME, "configure")
    assert included.read_text() == text.replace(f"/old/{NAME}", str(link))
    assert (home / ".gitconfig").read_text() == main
    bare_run(NAME, "unconfigure")
    assert included.read_text() == ""


def test_git_config_global_names_the_file(bare_run: Runner, home: Path) -> None:
    file = home / "elsewhere"
    file.touch()
    run = Runner({**bare_run.env, "GIT_CONFIG_GLOBAL": str(file)}, bare_run.folder)
    run(NAME, "configure")
    assert_git_asks_us(run)
    assert not (home / ".gitconfig").exists()


def test_a_relative_git_config_global_is_refused(bare_run: Runner) -> None:
    """It would mean another file in every directory."""
    env = {**bare_run.env, "GIT_CONFIG_GLOBAL": "here"}
    done = bare_run(NAME, "configure", env=env, check=False)
    assert done.returncode == 1
    assert "GIT_CONFIG_GLOBAL is not an absolute path" in done.stderr


def test_the_system_s_configuration(bare_run: Runner, home: Path, link: Path) -> None:
    """`--system` writes the machine's file, and says where a person's own lines come after it."""
    system = home / "system"
    system.touch()
    env = {k: v for k, v in bare_run.env.items() if k != "GIT_CONFIG_NOSYSTEM"} | {"GIT_CONFIG_SYSTEM": str(system)}
    run = Runner(env, bare_run.folder)
    (home / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    done = run(NAME, "configure", "--system")
    assert helpers(run, "--system") == ["", str(link)]
    assert f"git asks store after this program ({home}/.gitconfig)" in done.stderr
    assert "home directory" in done.stderr
    assert "already" in run(NAME, "configure", "--system").stdout
    assert "nothing to remove" in run(NAME, "unconfigure").stdout
    run(NAME, "unconfigure", "--system")
    assert system.read_text() == ""


def test_a_system_configuration_that_git_ignores_is_not_written(bare_run: Runner) -> None:
    """Nobody could see afterwards what was written."""
    done = bare_run(NAME, "configure", "--system", check=False)
    assert done.returncode == 1
    assert "GIT_CONFIG_NOSYSTEM" in done.stderr


def test_another_host_is_opted_in(bare_run: Runner, home: Path, link: Path) -> None:
    """`--host` writes for that host only, in git's own spelling, and is taken back for that host only."""
    bare_run(NAME, "configure")
    bare_run(NAME, "configure", "--host", "HTTPS://Bitbucket.Example:8443/")
    base = "credential.https://bitbucket.example:8443"
    assert bare_run("git", "config", f"{base}.provider").stdout == "bitbucket-data-center\n"
    assert bare_run("git", "config", f"{base}.useHttpPath").stdout == "true\n"
    assert bare_run("git", "config", "--get-all", f"{base}.helper").stdout == f"\n{link}\n"
    assert "already" in bare_run(NAME, "configure", "--host", "https://bitbucket.example:8443").stdout
    bare_run(NAME, "unconfigure", "--host", "https://bitbucket.example:8443")
    assert "bitbucket.example" not in (home / ".gitconfig").read_text()
    assert helpers(bare_run) == ["", str(link)]


def test_unconfigure_without_a_host_takes_back_all(bare_run: Runner, home: Path) -> None:
    """Every host that `configure` wrote, and a provider that a person had named stays."""
    text = '[credential "https://bb.example"]\n\tprovider = bitbucket\n'
    (home / ".gitconfig").write_text(text)
    bare_run(NAME, "configure", "--host", "https://bb.example")
    bare_run(NAME, "configure")
    bare_run(NAME, "unconfigure")
    assert (home / ".gitconfig").read_text() == text


@pytest.mark.parametrize(
    "url", ["bb.example", "https://bb.example/scm/acme/app.git", "https://al@bb.example", "ssh://bb.example"]
)
def test_what_is_no_host_is_a_usage_error(bare_run: Runner, url: str) -> None:
    """A path or a name in it would opt in something else than a person thinks."""
    done = bare_run(NAME, "configure", "--host", url, check=False)
    assert done.returncode == 2
    assert "https://bitbucket.example.com" in done.stderr


def test_an_account_without_a_name_is_a_usage_error(bare_run: Runner) -> None:
    """A script's variable may be empty."""
    assert bare_run(NAME, "configure", "--account", "", check=False).returncode == 2


def test_plain_http_is_warned_of(bare_run: Runner) -> None:
    """It may be opted in for a test, and everybody on the way reads along."""
    assert "plain http" in bare_run(NAME, "configure", "--host", "http://bb.example").stderr


@pytest.mark.parametrize(
    ("helper", "effect"),
    [
        ("store", "writes every token to a file in plain text"),
        ("store --file /x", "writes every token to a file in plain text"),
        ("/usr/lib/git-core/git-credential-store", "writes every token to a file in plain text"),
        ("cache --timeout 1", "every token in memory"),
        ("osxkeychain", "receives every token"),
    ],
)
def test_a_storing_helper_behind_ours_is_warned_of(bare_run: Runner, home: Path, helper: str, effect: str) -> None:
    """It would be handed every token: the line and its file are named."""
    bare_run("git", "config", "--global", f"credential.{URL}.username", "alice")
    bare_run("git", "config", "--global", "credential.helper", helper)
    done = bare_run(NAME, "configure")
    assert f"git asks {helper} after this program ({home}/.gitconfig)" in done.stderr
    assert effect in done.stderr
    assert done.returncode == 0


def test_a_helper_with_a_password_in_it_is_named_without(bare_run: Runner) -> None:
    """CI recipes write a function of the shell with the token's value in it: before ours, after ours, replaced."""
    helper = "!f() { echo username=alice; echo password=k3-secret; }; f"
    bare_run("git", "config", "--global", f"credential.{URL}.helper", helper)
    bare_run("git", "config", "--global", f"credential.{URL}/acme.helper", helper.replace("alice", "bob"))
    done = bare_run(NAME, "configure")
    assert "no longer asked: !… (" in done.stdout
    assert "git asks !… after this program (" in done.stderr
    assert "receives every token" in done.stderr
    assert "k3-secret" not in done.stdout + done.stderr


def test_a_storing_helper_for_one_workspace_is_found_too(bare_run: Runner) -> None:
    """A longer URL has a list of its own: the same file, but lines further down than ours."""
    bare_run(NAME, "configure")
    bare_run("git", "config", "--global", f"credential.{URL}/acme.helper", "store")
    assert "git asks store after this program" in bare_run(NAME, "configure").stderr


def test_a_helper_that_stores_nothing_is_no_cause_for_alarm(bare_run: Runner, home: Path) -> None:
    """git-credential-oauth behind ours is only asked where we have nothing."""
    (home / ".gitconfig").write_text(f'[credential "{URL}"]\n\tusername = alice\n[credential]\n\thelper = oauth\n')
    assert bare_run(NAME, "configure").stderr == ""


def test_a_reset_behind_ours_is_warned_of(bare_run: Runner, home: Path) -> None:
    """It takes us off the list, and git would never ask."""
    (home / ".gitconfig").write_text(
        f'[credential "{URL}"]\n\tusername = alice\n[credential]\n\thelper =\n\thelper = cache\n'
    )
    done = bare_run(NAME, "configure")
    assert "git has no credential helper of this program" in done.stderr
    assert str(home / ".gitconfig") in done.stderr


def test_a_helper_from_the_environment_is_named_so(bare_run: Runner) -> None:
    """GIT_CONFIG_COUNT has no file to be looked into."""
    env = {
        **bare_run.env,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "credential.helper",
        "GIT_CONFIG_VALUE_0": "store",
    }
    assert "(command line or environment)" in bare_run(NAME, "configure", env=env).stderr


def test_a_locked_configuration_is_one_clear_error(bare_run: Runner, home: Path) -> None:
    """Git's own lock of another writer: nothing is changed, and the cure is told."""
    (home / ".gitconfig.lock").touch()
    done = bare_run(NAME, "configure", check=False)
    assert done.returncode == 1
    lines = done.stderr.split("\n")
    assert "File exists" in lines[0]
    assert ".lock" in lines[1]
    assert lines[2:] == [""]


def test_a_configuration_that_cannot_be_written_is_one_clear_error(bare_run: Runner, home: Path) -> None:
    """Its folder is not there (a full disk or a read-only home look alike)."""
    env = {**bare_run.env, "GIT_CONFIG_GLOBAL": str(home / "none" / "config")}
    done = bare_run(NAME, "configure", env=env, check=False)
    assert done.returncode == 1
    assert "could not write its configuration" in done.stderr
    assert "hint:" in done.stderr


def test_a_configuration_that_git_cannot_read_is_left_alone(bare_run: Runner, home: Path) -> None:
    (home / ".gitconfig").write_text("[credential\n")
    done = bare_run(NAME, "configure", check=False)
    assert done.returncode == 1
    assert "bad config line 1" in done.stderr
    assert (home / ".gitconfig").read_text() == "[credential\n"
