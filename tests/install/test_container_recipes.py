"""The recipes for containers and other machines, run as they are: in a chroot with git alone, and with a real sshd."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.daemons import eventually
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fake_bitbucket.tokens import digest
from tests.install import container
from tests.install.test_recipes import RECIPES, URL, block
from tests.running import Runner
from tests.sandbox import KEY_FILE, key_file
from tests.sockets import free_port

NAME = "git-credential-bitbucket"
CLONE = f"git clone --quiet {URL} /tmp/app && cat /tmp/app/README.md"
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
contains = pytest.mark.skipif(
    not container.IS_POSSIBLE, reason="no mount namespace may be made: that takes root with CAP_SYS_ADMIN"
)
connects = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None or (os.getuid() == 0 and not container.IS_POSSIBLE),
    reason="there is no sshd, or nothing can be mounted for it",
)


class Machine:
    """A machine with a login, on which a recipe is run. Its state: the daemon, the container's root and git's file."""

    def __init__(self, run: Runner, home: Path, root: Path, bitbucket: FakeBitbucket) -> None:
        self.run, self.home, self.root, self.bitbucket = run, home, root, bitbucket
        self.config = home / "container.gitconfig"
        settings = {"http.proxy": bitbucket.proxy_url, "http.sslCAInfo": container.CA_FILE}
        for key, value in settings.items():
            run("git", "config", "--file", self.config, key, value)
        ca_file = home / "ca.pem"
        ca_file.write_bytes(Path(bitbucket.ca_file).read_bytes())  # others may read it
        self.ca = {container.CA_FILE: str(ca_file)}
        self.token = bitbucket.issue_access_token("acme/app")
        run(NAME, "configure")
        run(NAME, "login", "--access-token", "--for", "acme/app", stdin=self.token)
        docker = home / ".local" / "bin" / "docker"
        words = [sys.executable, container.__file__, str(root), str(self.config), str(ca_file)]
        docker.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        docker.chmod(0o755)

    def recipe(self, name: str, *words: str, check: bool = True, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a recipe's script."""
        return self.run(RECIPES / name, *words, env={**self.run.env, **env}, check=check)

    def inside(self, script: str, env: dict[str, str], mounts: dict[str, Path], user: str = "0") -> str:
        """What a shell prints in a container with the mounts of a recipe."""
        words = container.command(
            str(self.root),
            str(self.config),
            ["sh", "-c", script],
            env,
            {**{inside: str(outside) for inside, outside in mounts.items()}, **self.ca},
            user,
        )
        return self.run(*words).stdout

    def served(self) -> bool:
        """Whether the stand-in was asked with this token, and with nothing else."""
        return {entry.secret for entry in self.bitbucket.requests("git") if entry.auth} == {digest(self.token)}

    def grants(self) -> int:
        """The number of open grants."""
        return len(json.loads(self.run(NAME, "grant", "list", "--json").stdout))


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container's root directory."""
    folder = tmp_path_factory.mktemp("root")
    return container.make(folder) if container.IS_POSSIBLE else folder


@pytest.fixture
def machine(
    bare_env: dict[str, str], home: Path, executables: dict[str, Path], bitbucket: FakeBitbucket, root: Path
) -> Machine:
    """A machine whose git's way to bitbucket.org leads to the stand-in, with the token of one repository."""
    binaries = home / ".local" / "bin"
    binaries.mkdir()
    (binaries / NAME).symlink_to(executables["portable"])
    env = {**bare_env, "PATH": f"{binaries}:{bare_env['PATH']}", KEY_FILE: str(key_file(home))}
    run = Runner(env, home / "work")
    for setting, value in {"http.proxy": bitbucket.proxy_url, "http.sslCAInfo": bitbucket.ca_file}.items():
        run("git", "config", "--global", setting, value)
    bitbucket.create_repository("acme/app", files={"README.md": "cloned\n"})
    bitbucket.create_repository("acme/lib")
    return Machine(run, home, root, bitbucket)


@contains
def test_docker_run(machine: Machine) -> None:
    """Another user's git clones what the grant is for and nothing else, and the grant ends with the container."""
    both = f"{CLONE}; git clone {URL.replace('app', 'lib')} /tmp/lib || echo refused"
    done = machine.recipe("docker/run.sh", "acme/app", "an-image", "sh", "-c", both, CONTAINER_USER="1000")
    assert done.stdout == "cloned\nrefused\n"
    assert machine.token not in done.stdout + done.stderr
    assert machine.served()
    assert machine.grants() == 0


@contains
def test_what_a_container_sees_without_the_daemon(machine: Machine, home: Path) -> None:
    """The guide's words: locked or stopped, git there asks for a username; nothing is started in the container."""
    box = home / "box"
    grant = ("grant", "--for", "acme/app", "--socket", str(box / "socket"))
    machine.run(NAME, *grant)
    env = dict(line.split("=", 1) for line in (RECIPES / "docker" / "git.env").read_text().splitlines())
    clone = f"{{ {CLONE} || echo failed; }} 2>&1"
    for verb, cure in ((("lock",), ("unlock",)), (("daemon", "stop"), grant)):
        machine.run(NAME, *verb)
        said = machine.inside(clone, env, {"/bitbucket": box})
        assert "could not read Username" in said
        assert said.endswith("failed\n")
        machine.run(NAME, *cure)
        assert machine.inside(clone, env, {"/bitbucket": box}) == "cloned\n"
    assert list(box.iterdir()) == [box / "socket"]


@contains
def test_docker_build(machine: Machine, home: Path) -> None:
    """The secret is there for the step that names it and for Bitbucket, and on the machine for as long as the build
    takes.
    """
    (secret := home / "secret").write_text("username=x-token-auth\npassword=made-up\n")
    (git,) = re.findall(r"bitbucket (git .*) clone ", (RECIPES / "docker" / "Dockerfile").read_text())
    for host, answer in (("bitbucket.org", "made-up"), ("evil.example", "refused")):
        asked = f"printf 'protocol=https\\nhost={host}\\n' | {git} credential fill || echo refused"
        assert answer in machine.inside(asked, {}, {"/run/secrets/bitbucket": secret})
    work = home / "tmp"
    work.mkdir()
    machine.recipe("docker/build.sh", "acme/app", str(RECIPES / "docker"), TMPDIR=str(work))
    assert machine.served()
    assert list(work.iterdir()) == []
    refused = machine.recipe("docker/build.sh", "acme/none", str(RECIPES / "docker"), check=False, TMPDIR=str(work))
    assert refused.returncode != 0
    assert list(work.iterdir()) == []


def environment(text: str) -> list[dict[str, str]]:
    """The environments in a pod's description, one a container."""
    found = re.findall(r"- \{name: (\w+), value: (\"?)(.*)\2\}", text)
    named = [(name, value) for name, _, value in found]
    starts = [at for at, (name, _) in enumerate(named) if name in {"HOME", "GIT_CONFIG_COUNT"}]
    return [dict(named[a:b]) for a, b in zip(starts, [*starts[1:], None], strict=True)]


@contains
def test_kubernetes_sidecar(machine: Machine, home: Path) -> None:
    """The sidecar's script fetches the token from the Secret; the app's git gets it by the socket in the emptyDir."""
    text = (RECIPES / "kubernetes" / "sidecar.yaml").read_text()
    sidecar, app = environment(text)
    pod, secret = home / "pod", home / "secret"
    pod.mkdir(mode=0o777)
    secret.mkdir()
    (secret / "token").touch(mode=0o400)
    (secret / "token").write_text(machine.token)
    script = block(text, "-").replace("/bitbucket/git/", f"{pod}/git/").replace("/run/secrets/bitbucket", str(secret))
    places = {**sidecar, "HOME": str(home), "GIT_CREDENTIAL_BITBUCKET_KEY_FILE": str(home / "pod.key")}
    places |= {"XDG_DATA_HOME": str(home / "pod.data"), "XDG_RUNTIME_DIR": str(home / "pod.run")}
    (home / "pod.run").mkdir(mode=0o700)
    with subprocess.Popen(
        ["sh", "-euc", script.replace(sidecar["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"], str(home / "pod.key"))],
        env={**machine.run.env, **places},
        cwd=home / "work",
        start_new_session=True,
    ) as running:
        try:
            eventually((pod / "git" / "socket").exists, 60)
            assert machine.inside(CLONE, app, {"/bitbucket": pod}) == "cloned\n"
        finally:
            os.killpg(running.pid, 15)
    assert machine.served()


@contains
def test_kubernetes_secret(machine: Machine, home: Path) -> None:
    """A Secret as a file, which git's own helper line reads."""
    (home / "secret").mkdir()
    (home / "secret" / "token").write_text(machine.token)
    [app] = environment((RECIPES / "kubernetes" / "secret.yaml").read_text())
    assert machine.inside(CLONE, app, {"/run/secrets/bitbucket": home / "secret"}) == "cloned\n"
    assert machine.served()


@contains
def test_devcontainer(machine: Machine, home: Path) -> None:
    """Before the container starts there is a grant at the mount's source; a second start finds it."""
    document = json.loads((RECIPES / "devcontainer" / "devcontainer.json").read_text())
    for _ in range(2):
        machine.run("sh", "-c", document["initializeCommand"])
        assert machine.grants() == 1
    (mount,) = document["mounts"]
    named = dict(part.split("=", 1) for part in mount.split(",") if "=" in part)
    source = named["source"].replace("${localEnv:XDG_RUNTIME_DIR}", str(home / "run"))
    assert machine.inside(CLONE, document["containerEnv"], {named["target"]: Path(source)}, user="1000") == "cloned\n"
    assert machine.served()


def test_the_recipes_git_settings_are_the_same(home: Path) -> None:
    """In three formats; the sidecar's socket lies one directory further down."""
    del home
    env = dict(line.split("=", 1) for line in (RECIPES / "docker" / "git.env").read_text().splitlines())
    assert json.loads((RECIPES / "devcontainer" / "devcontainer.json").read_text())["containerEnv"] == env
    app = environment((RECIPES / "kubernetes" / "sidecar.yaml").read_text())[1]
    assert {name: value.replace("/bitbucket/git/", "/bitbucket/") for name, value in app.items()} == env


@contextmanager
def sshd(home: Path, *lines: str) -> Iterator[None]:
    """A real sshd, to which `ssh far` in PATH leads; its users' home is `home/far`."""
    folder, far, port = home / "sshd", home / "far", free_port()
    for each in (folder, far):
        each.mkdir(exist_ok=True, mode=0o700)
    for name in ("host", "user"):
        if not (folder / name).exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    given = [
        *(
            f"Port {port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {folder}/host",
            f"AuthorizedKeysFile {folder}/authorized",
        ),
        *("StrictModes no", "UsePAM no", "PermitRootLogin yes", "PidFile none", f"SetEnv HOME={far}", *lines),
    ]
    (folder / "sshd_config").write_text("\n".join([*given, ""]))
    options = [f"Port {port}", "HostName 127.0.0.1", f"IdentityFile {folder}/user", "IdentitiesOnly yes"]
    options += ["StrictHostKeyChecking no", f"UserKnownHostsFile {folder}/known", "LogLevel ERROR"]
    (folder / "ssh_config").write_text("\n".join(["Host far", *options, ""]))
    ssh = home / ".local" / "bin" / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {folder}/ssh_config "$@"\n')
    ssh.chmod(0o755)
    serve = f"{SSHD} -D -e -f {folder}/sshd_config"
    if os.getuid() == 0:  # a private /run has the directory that it wants
        serve = f"unshare -m sh -c 'mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec {serve}'"
    with subprocess.Popen(["sh", "-c", f"exec {serve}"], stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        while "listening on" not in (line := running.stderr.readline()):
            assert line, "sshd has ended"
        try:
            yield
        finally:
            running.terminate()


@connects
def test_ssh(machine: Machine, home: Path) -> None:
    """The script's second connection works too, on a host as it comes; git there has the guide's two lines."""
    clone = f"rm -rf ~/app; git clone --quiet {URL} ~/app && cat ~/app/README.md"
    with sshd(home):
        far = home / "far"
        helper = (
            f"!f() {{ case $1 in get|erase) exec git credential-cache --socket {far}/.bitbucket/socket $1;; esac; }}; f"
        )
        for key, value in {
            "credential.https://bitbucket.org.helper": helper,
            "credential.https://bitbucket.org.useHttpPath": "true",
            "http.proxy": machine.bitbucket.proxy_url,
            "http.sslCAInfo": machine.bitbucket.ca_file,
        }.items():
            machine.run("git", "config", "--file", far / ".gitconfig", key, value)
        for _ in range(2):
            assert machine.recipe("ssh/ssh.sh", "acme/app", "far", clone).stdout == "cloned\n"
            assert (far / ".bitbucket" / "socket").exists()  # sshd leaves it behind
        assert machine.grants() == 0
    assert machine.served()


@connects
def test_ssh_by_hand_needs_the_setting_for_its_second_connection(machine: Machine, home: Path) -> None:
    """Which is why the recipe has it."""
    path = machine.run(NAME, "grant", "--for", "acme/app").stdout.splitlines()[0]
    forward = ("ssh", "-o", "ExitOnForwardFailure=yes", "-R", f"{home}/far/socket:{path}", "far")
    request = "protocol=https\\nhost=bitbucket.org\\npath=acme/app\\n"
    ask = f"printf '{request}' | git credential-cache --socket {home}/far/socket get"
    served = []
    for lines in ([], (RECIPES / "ssh" / "sshd_config").read_text().splitlines()):
        with sshd(home, *lines):
            served += [machine.token in machine.run(*forward, ask, check=False).stdout for _ in range(2)]
    assert served == [True, False, True, True]


def test_a_systemd_service_for_a_runner(machine: Machine, home: Path) -> None:
    """Started as the unit has it: idleness never ends it, and a job gets a grant."""
    text = (RECIPES / "systemd" / f"{NAME}-runner.service").read_text()
    here = text.replace("/run/bitbucket", str(home / "run" / "bitbucket")).replace("%d/key", str(home / "key"))
    settings = dict(line.split("=", 2)[1:] for line in here.splitlines() if line.startswith("Environment="))
    assert settings["GIT_CREDENTIAL_BITBUCKET_IDLE_EXIT"] == "0"
    (start,) = re.findall(r"^ExecStart=/usr/local/bin/(.*)$", text, re.MULTILINE)
    (home / "run" / "bitbucket").mkdir(mode=0o700)
    machine.run(NAME, "daemon", "stop")
    with subprocess.Popen(shlex.split(start), env={**machine.run.env, **settings}, cwd=home / "work") as running:
        path = settings["GIT_CREDENTIAL_BITBUCKET_SOCKET"]
        eventually(lambda: os.path.exists(path), 60)
        machine.run("git", "config", "--global", "credentialBitbucket.socket", path)
        clone = f"git clone --quiet {URL} app && cat app/README.md"
        assert machine.run(NAME, "grant", "--for", "acme/app", "--", "sh", "-c", clone).stdout == "cloned\n"
        running.terminate()
    assert machine.served()
    if shutil.which("systemd-analyze"):
        unit = home / f"{NAME}-runner.service"
        unit.write_text(text.replace("/usr/local/bin/git-credential-bitbucket", "/bin/true"))
        machine.run("systemd-analyze", "verify", unit)
