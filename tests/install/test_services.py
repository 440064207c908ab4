"""The units for systemd and launchd: valid, started with a real inherited socket, and what they start serves git."""

import configparser
import plistlib
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import installed
from tests.daemon.daemons import child_of
from tests.running import Runner

UNITS = installed.ROOT / "install" / "systemd"
PLIST = installed.ROOT / "install" / "launchd" / f"{installed.NAME}.plist"


@pytest.fixture
def link(home: Path, executable: Path) -> Path:
    """The executable where the units look for it."""
    link = home / ".local" / "bin" / installed.NAME
    link.parent.mkdir()
    link.symlink_to(executable)
    return link


def unit(kind: str) -> configparser.ConfigParser:
    """A unit file, read as it is."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # its documented use
    parser.read(UNITS / f"{installed.NAME}.{kind}")
    return parser


@pytest.fixture
def socket_path(home: Path) -> Path:
    """Where the socket unit lets systemd listen: where the relay looks for the daemon."""
    path = unit("socket")["Socket"]["ListenStream"].replace("%t", str(home / "run"))
    assert path == str(home / "run" / installed.NAME / "socket")
    return Path(path)


@pytest.fixture
def waiting(bare_env: dict[str, str], home: Path, link: Path, socket_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Systemd's own tool, listening at the socket for what the service unit starts."""
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        pytest.skip("there is no systemd-socket-activate")
    command = shlex.split(unit("service")["Service"]["ExecStart"].replace("%h", str(home)))
    assert command[0] == str(link)
    socket_path.parent.mkdir(mode=0o700)
    names = [f"--setenv={name}" for name in bare_env]
    with subprocess.Popen(
        [tool, f"--listen={socket_path}", *names, *command],
        env={**bare_env, "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "Listening on" in process.stderr.readline()
        yield process
        process.kill()


def test_the_units_are_valid(bare_env: dict[str, str], home: Path, link: Path) -> None:
    """By systemd's own word: every setting is known, and what is to be started is there."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("there is no systemd-analyze")
    for path in UNITS.iterdir():
        shutil.copy(path, home)
    names = [home / path.name for path in UNITS.iterdir()]
    assert link.exists()
    done = Runner(bare_env, home)(tool, "verify", "--user", "--man=no", *names)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_service_gives_up_what_it_never_needs(bare_env: dict[str, str], home: Path) -> None:
    """By systemd's own measure, in tenths: 96 without the filters that an unprivileged service may have."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("there is no systemd-analyze")
    path = UNITS / f"{installed.NAME}.service"
    Runner(bare_env, home)(tool, "security", "--user", "--no-pager", "--offline=true", "--threshold=85", path)


def test_a_socket_of_systemd_is_served_and_left_in_place(
    waiting: "subprocess.Popen[str]", bare_env: dict[str, str], home: Path, link: Path, socket_path: Path
) -> None:
    """The first request starts the daemon, by the inherited descriptor; when it leaves, the socket is systemd's."""
    env = {**bare_env, "PATH": f"{link.parent}:{bare_env['PATH']}"}
    run = Runner(env, home / "work")
    told = run(installed.NAME, "daemon", "status", "--json").stdout
    assert f'"pid": {child_of(waiting.pid)},' in told
    request = b"protocol=https\nhost=bitbucket.org\n"
    run("git", "credential-cache", "--socket", socket_path, "get", stdin=request)
    inode = socket_path.stat().st_ino
    run(installed.NAME, "daemon", "stop")
    assert waiting.wait(60) == 0
    assert socket_path.stat().st_ino == inode


def test_it_runs_in_the_foreground(bare_env: dict[str, str], home: Path, link: Path) -> None:
    """As launchd and containers start it: it makes its own socket, says when it is ready, ends with the signal."""
    with PLIST.open("rb") as file:
        plist = plistlib.load(file)
    command = [word.replace("@HOME@", str(home)) for word in plist["ProgramArguments"]]
    env = {**bare_env, **plist["EnvironmentVariables"]}
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        told = Runner(env, home / "work")(link, "daemon", "status", "--json").stdout
        assert f'"pid": {child_of(process.pid)},' in told
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not (home / "run" / installed.NAME / "socket").exists()
