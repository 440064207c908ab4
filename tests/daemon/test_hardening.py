"""What a daemon has given up: the work tree, inherited descriptors, core dumps, being looked into, a loose umask."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.daemon.conftest import Start
from tests.daemon.daemons import Daemon, eventually


def test_it_stands_in_the_root_directory(daemon: Daemon) -> None:
    """Not in a work tree, which is somebody else's content, nor on a mount that is to go."""
    assert os.readlink(f"/proc/{daemon.pid}/cwd") == "/"


def test_no_descriptor_of_its_starter_is_left(start: Start) -> None:
    """Pipes above all, for git waits for their end; the standard three are /dev/null."""
    ours, theirs = os.pipe()
    daemon = start(pass_fds=[theirs])
    os.close(theirs)
    assert os.read(ours, 1) == b""
    os.close(ours)
    assert daemon.told_about("ping")["pid"] == str(daemon.pid)
    links = {name: os.readlink(f"/proc/{daemon.pid}/fd/{name}") for name in os.listdir(f"/proc/{daemon.pid}/fd")}
    assert {links.pop(number) for number in "012"} == {"/dev/null"}
    assert {link.partition(":")[0] for link in links.values()} == {"socket", "anon_inode"}


def test_it_leaves_no_core_dump(daemon: Daemon) -> None:
    """A core holds every secret in plain text."""
    limits = Path(f"/proc/{daemon.pid}/limits").read_text()
    line = next(line for line in limits.split("\n") if line.startswith("Max core file size"))
    assert line.split()[4:6] == ["0", "0"]


def test_another_process_of_the_same_user_cannot_look_into_it() -> None:
    """Neither memory nor environment nor descriptors nor ptrace, tried as a user who is not root."""
    # Everything is imported before root is given up, for Python itself may lie where only root can read.
    code = (
        "import ctypes, json, os, signal, sys; sys.path[0:0] = [sys.argv[1]]\n"
        "from git_credential_bitbucket.daemon import hardening\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)\n"  # giving up root has forbidden it already: as in an ordinary process
        "told, tell = os.pipe()\n"
        "def child(work):\n"
        "    pid = os.fork()\n"
        "    if pid == 0: work(); os.write(tell, b'x'); signal.pause()\n"
        "    os.read(told, 1); return pid\n"
        "def denied(pid):\n"
        "    libc, found = ctypes.CDLL(None), {}\n"
        "    for name in ('mem', 'environ', 'maps', 'fd/0'):\n"
        "        try: os.close(os.open(f'/proc/{pid}/{name}', os.O_RDONLY)); found[name] = False\n"
        "        except PermissionError: found[name] = True\n"
        "    found['ptrace'] = libc.ptrace(16, pid, 0, 0) == -1\n"
        "    os.kill(pid, signal.SIGKILL); return found\n"
        "print(json.dumps([denied(child(lambda: None)), denied(child(lambda: hardening.harden([tell])))]))\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, root],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    usual, hardened = json.loads(done.stdout)
    assert set(hardened.values()) == {True}
    assert not usual["environ"], "the test itself cannot look"


def test_a_daemon_that_is_traced_does_not_start() -> None:
    """Whoever was attached before it was hardened stays attached: it would see every secret."""
    code = (
        "import ctypes, os, sys; sys.path[0:0] = [sys.argv[1]]\n"
        "from git_credential_bitbucket.daemon import hardening\n"
        "from git_credential_bitbucket.errors import Error\n"
        "def said():\n"
        "    try: hardening.check_untraced()\n"
        "    except Error as exc: return exc.cause.encode()\n"
        "    return b'untraced'\n"
        "(told, tell), (waited, go_on) = os.pipe(), os.pipe(); pid = os.fork()\n"
        "if pid == 0: os.read(waited, 1); os.write(tell, said()); os._exit(0)\n"
        "assert ctypes.CDLL(None).ptrace(0x4206, pid, 0, 0) == 0\n"  # PTRACE_SEIZE, which does not stop it
        "os.write(go_on, b'x'); told = os.read(told, 1000).decode()\n"
        "print(told == f'process {os.getpid()} traces the daemon and could read every secret', said().decode())\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("True untraced\n", "")


def test_neither_key_nor_environment_is_in_its_arguments_or_initial_environment(daemon: Daemon) -> None:
    """What it was told by its standard input shows nowhere, even to root."""
    shown = Path(f"/proc/{daemon.pid}/environ").read_bytes() + Path(f"/proc/{daemon.pid}/cmdline").read_bytes()
    assert b"BITBUCKET_KEY" not in shown
    assert daemon.env["HOME"].encode() not in shown


def test_files_that_it_makes_are_its_own(daemon: Daemon, home: Path) -> None:
    daemon.store("acme/app")
    data = home / ".local" / "share" / "git-credential-bitbucket"
    eventually(data.is_dir)
    for path in [data, *data.iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_its_starters_umask_is_not_its_own(start: Start) -> None:
    """A starter that lets everybody write what it makes, as some containers and services do."""
    daemon = start(launcher=["/bin/sh", "-c", 'umask 0; exec "$@"', "sh"])
    status = Path(f"/proc/{daemon.pid}/status").read_text().split("\n")
    assert [line.split()[1] for line in status if line.startswith("Umask:")] == ["0077"]


def test_it_may_open_as_many_files_as_its_limits_need(daemon: Daemon) -> None:
    """A thousand clients, where the hard limit has them."""
    limits = Path(f"/proc/{daemon.pid}/limits").read_text()
    line = next(line for line in limits.split("\n") if line.startswith("Max open files"))
    soft, hard = line.split()[3:5]
    assert soft == hard or int(soft) >= 4096


def test_its_memory_stays_small(daemon: Daemon) -> None:
    """Idle, after a first answer from the vault; and after a thousand answers hardly more."""
    daemon.store("acme/app")
    assert daemon.secret("acme/app")
    idle = daemon.memory_kib()
    assert idle < 30 * 1024
    for _ in range(1000):
        daemon.secret("acme/app")
    assert daemon.memory_kib() < idle + 1024
