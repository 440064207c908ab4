"""References to secrets: real files and real commands, some of which behave as a manager's documentation says."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from git_credential_bitbucket import secret_sources
from git_credential_bitbucket.errors import SettingsError, SourceFailed
from tests.daemon.daemons import eventually
from tests.fake_bitbucket import tokens

CANARY = "ATATT3xCANARYdeadbeefdeadbeefdeadbeefdeadbeef"
TOKEN = tokens.access_token()


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment whose PATH begins with a folder for a test's own programs."""
    (tmp_path / "bin").mkdir()
    return {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def program(env: dict[str, str], name: str, script: str) -> Path:
    """An executable `sh` script on PATH."""
    path = Path(env["HOME"], "bin", name)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def fetched(reference: str, env: dict[str, str]) -> str:
    """The value of a reference as a person writes it."""
    return secret_sources.fetch(secret_sources.parse(reference), env).secret.reveal()


def failure(reference: str, env: dict[str, str]) -> str:
    """What is told where a source fails, cause and hint; without what the source said."""
    with pytest.raises(SourceFailed) as caught:
        secret_sources.fetch(secret_sources.parse(reference), env)
    told = f"{caught.value.cause}; {caught.value.hint}"
    assert CANARY not in told + repr(caught.value) + repr(caught.value.__context__)
    return told


@pytest.mark.parametrize("around", ["{}", "{}\n", "  {}\r\n", "{}\nsecond line\n"])
def test_file_is_its_first_line(env: dict[str, str], tmp_path: Path, around: str) -> None:
    """What stands around it is not sent."""
    (tmp_path / "token").write_bytes(around.format(TOKEN).encode())
    assert fetched(f"file:{tmp_path}/token", env) == TOKEN


def test_file_may_be_a_link(env: dict[str, str], tmp_path: Path) -> None:
    """Kubernetes mounts a secret as a link that it swaps."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "token").write_text(TOKEN)
    (tmp_path / "token").symlink_to("..data/token")
    assert fetched(f"file:{tmp_path}/token", env) == TOKEN


def test_credential_is_of_its_directory(env: dict[str, str], tmp_path: Path) -> None:
    """systemd.exec(5): LoadCredential= puts it into $CREDENTIALS_DIRECTORY."""
    (tmp_path / "bitbucket").write_text(TOKEN)
    assert fetched("credential:bitbucket", {**env, "CREDENTIALS_DIRECTORY": str(tmp_path)}) == TOKEN
    assert "there is no CREDENTIALS_DIRECTORY" in failure("credential:bitbucket", env)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_empty_file_is_told(env: dict[str, str], tmp_path: Path, content: str) -> None:
    """It may be about to be filled."""
    (tmp_path / "token").write_text(content)
    assert "token returned nothing" in failure(f"file:{tmp_path}/token", env)


def test_file_that_is_no_file_does_not_hang(env: dict[str, str], tmp_path: Path) -> None:
    """A pipe that nobody writes to, a directory, a device without an end, and nothing at all."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        failure(f"file:{path}", env)
    assert "no such file" in failure(f"file:{tmp_path}/none", env)
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    assert "larger than 64 KiB" in failure(f"file:{tmp_path}/large", env)


def test_unreadable_file_is_told(env: dict[str, str], tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything: run this as another user")
    (tmp_path / "token").write_text(CANARY)
    (tmp_path / "token").chmod(0)
    assert "permission denied" in failure(f"file:{tmp_path}/token", env)


@pytest.mark.parametrize(
    ("printed", "username", "expires_at"),
    [
        (TOKEN, None, None),
        (f'{{"version": 1, "token": "{TOKEN}", "more": [1]}}', None, None),
        (f'{{"token":"{TOKEN}","username":"ada","expires":"2099-01-31T12:00:00Z"}}', "ada", 4073544000.0),
        (f"protocol=https\nhost=bitbucket.org\nusername=ada\npassword={TOKEN}\n", "ada", None),
        (f"username=ada\npassword={TOKEN}\npassword_expiry_utc=4073544000\n", "ada", 4073544000.0),
        (f"password={TOKEN}", None, None),
    ],
)
def test_command_prints_a_token_json_or_what_git_helpers_do(
    env: dict[str, str], printed: str, username: str | None, expires_at: float | None
) -> None:
    """Told apart by what is printed; unknown keys do not matter."""
    Path(env["HOME"], "printed").write_text(printed)
    program(env, "broker", f"cat {env['HOME']}/printed")
    value = secret_sources.fetch(secret_sources.parse("exec:broker"), env)
    assert (value.secret.reveal(), value.username, value.expires_at) == (TOKEN, username, expires_at)


def test_no_shell_runs_and_words_arrive_whole(env: dict[str, str]) -> None:
    """Quotes group words; what a shell would do more does not happen."""
    program(env, "words", 'for word; do printf "%s|" "$word"; done')
    assert fetched("exec:words 'a b' $HOME ;true > /x", env) == "a b|$HOME|;true|>|/x|"


def test_command_gets_no_secret_of_ours(env: dict[str, str]) -> None:
    """Neither our variables nor git's reach it, and its standard input is empty."""
    program(env, "broker", "cat; env | sort | tr '\\n' ' '")
    secrets = {"BITBUCKET_TOKEN": CANARY, "GIT_CREDENTIAL_BITBUCKET_KEY": CANARY, "GIT_TRACE_CURL": "1"}
    told = fetched("exec:broker", {**env, **secrets, "VAULT_ADDR": "https://vault.example"})
    assert "VAULT_ADDR=https://vault.example" in told
    assert CANARY not in told
    assert "GIT_" not in told


def test_other_git_helper_is_a_source(env: dict[str, str]) -> None:
    """Git's own credential-store, asked as git asks it."""
    Path(env["HOME"], "store").write_text(f"https://ada:{TOKEN}@bitbucket.org\n")
    value = secret_sources.fetch(secret_sources.parse(f"exec:git credential-store --file {env['HOME']}/store get"), env)
    assert (value.username, value.secret.reveal()) == ("ada", TOKEN)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 3", "broker failed with exit code 3"),
        ("kill -9 $$", "broker was killed by signal 9"),
        ("true", "broker returned nothing"),
        (f"echo {CANARY}; echo two", "broker returned 2 lines instead of one"),
        (f"""echo '{{"token": 7, "x": "{CANARY}"}}'""", "broker returned no valid token"),
        (f"""echo '{{"x": "{CANARY}"}}'""", "broker returned nothing"),
        (f"""echo '{{{CANARY}'""", "broker did not return a JSON object"),
        (f"""echo '{{"version": 2, "token": "{CANARY}"}}'""", "an unknown version of its format"),
        (f"""echo '{{"token": "{CANARY}", "expires": "soon"}}'""", "is not a date"),
        (f"""echo '{{"token": "{CANARY}", "expires": "{"9" * 400}"}}'""", "is not a date"),
        ("yes", "broker printed more than 64 KiB"),
        (f"echo 'denied for {CANARY}' >&2; exit 1", "broker failed with exit code 1; run it by hand"),
        (f"echo {CANARY}; echo {CANARY} >&2; exit 1", "broker failed with exit code 1"),
    ],
)
def test_failing_command_is_told_exactly_and_leaks_nothing(env: dict[str, str], script: str, told: str) -> None:
    """Whatever it prints, nothing of that is repeated."""
    program(env, "broker", script)
    assert told in failure("exec:broker", env)


def test_command_that_does_not_end_is_ended(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    noted = Path(env["HOME"], "pid")
    program(env, "broker", f"sleep 300 & echo $! > {noted}; wait")
    limit_s = 0.3
    while not (noted.exists() and noted.read_text()):  # a busy machine takes longer to start it
        monkeypatch.setattr(secret_sources, "TIMEOUT_S", limit_s)
        assert "broker did not finish within" in failure("exec:broker", env)
        limit_s *= 4
    stat = Path(f"/proc/{int(noted.read_text())}/stat")

    def has_ended() -> bool:
        try:
            return stat.read_text().rpartition(") ")[2][0] in "ZX"
        except OSError:
            return True

    eventually(has_ended)


@pytest.mark.parametrize("name", [*secret_sources.PACKAGES, "mine"])
def test_missing_program_is_told_with_its_package(env: dict[str, str], name: str) -> None:
    """So that one knows what to install where."""
    told = failure(f"exec:{name} x", {**env, "PATH": env["HOME"]})
    assert f"there is no program {name} " in told
    assert secret_sources.PACKAGES.get(name, "absolute path") in told


def test_program_of_the_repository_is_not_run(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative entry of PATH, or a relative name, would be whatever a cloned repository brings along."""
    program(env, "broker", f"echo {TOKEN}")
    monkeypatch.chdir(Path(env["HOME"], "bin"))
    failure("exec:broker", {**env, "PATH": "."})
    failure("exec:./broker", env)


@pytest.mark.parametrize(
    "text",
    [
        *("", "file:", "file:relative", "credential:a/b", "credential:..", "exec:", "exec:'open", "token"),
        *("vault:secret", "vault:secret/ci", "az:name", "op:item", "pass:x#y", "https://x", "file:/a\nb"),
    ],
)
def test_what_is_no_reference_is_told(text: str) -> None:
    """Without repeating it: it may be a token that was put there by mistake."""
    with pytest.raises(SettingsError) as caught:
        secret_sources.parse(text)
    assert caught.value.hint


def test_token_in_the_place_of_a_reference_is_not_repeated() -> None:
    """It would be in a CI job's log."""
    with pytest.raises(SettingsError) as caught:
        secret_sources.parse(CANARY)
    assert CANARY not in f"{caught.value.cause} {caught.value.hint}"


MANAGERS = {
    # docs.aws.amazon.com/cli/latest/reference/secretsmanager/get-secret-value.html: SecretString, by --query as text
    "aws:ci/bitbucket": (
        "aws",
        "secretsmanager get-secret-value --secret-id ci/bitbucket --query SecretString --output text",
        TOKEN,
    ),
    "aws:ci/bitbucket#token": (
        "aws",
        "secretsmanager get-secret-value --secret-id ci/bitbucket --query SecretString --output text",
        f'{{"user": "ada", "token": "{TOKEN}"}}',
    ),
    # developer.hashicorp.com/vault/docs/commands/kv/get: -field prints the value alone
    "vault:secret/ci/bitbucket#token": ("vault", "kv get -mount=secret -field=token ci/bitbucket", TOKEN),
    # openbao.org/docs/commands/kv/get
    "bao:secret/ci/bitbucket#token": ("bao", "kv get -mount=secret -field=token ci/bitbucket", TOKEN),
    # learn.microsoft.com/cli/azure/keyvault/secret#az-keyvault-secret-show; tsv is the value alone
    "az:team/bitbucket": (
        "az",
        "keyvault secret show --vault-name team --name bitbucket --query value --output tsv",
        TOKEN,
    ),
    # cloud.google.com/sdk/gcloud/reference/secrets/versions/access: the payload as it is
    "gcloud:bitbucket": ("gcloud", "secrets versions access latest --secret=bitbucket", TOKEN),
    "gcloud:team/bitbucket": ("gcloud", "secrets versions access latest --secret=bitbucket --project=team", TOKEN),
    # developer.1password.com/docs/cli/reference/commands/read
    "op://team/Bit bucket/token": ("op", "read --no-newline op://team/Bit bucket/token", TOKEN),
    # bitwarden.com/help/cli/#get
    "bw:bitbucket": ("bw", "--nointeraction get password bitbucket", TOKEN),
    "bw:bitbucket#notes": ("bw", "--nointeraction get notes bitbucket", TOKEN),
    # pass(1): further lines are other data
    "pass:work/bitbucket": ("pass", "show work/bitbucket", f"{TOKEN}\nurl: bitbucket.org\n"),
    # gopass.pw: --password prints the first line alone
    "gopass:work/bitbucket": ("gopass", "show --password work/bitbucket", TOKEN),
}


@pytest.mark.parametrize("text", MANAGERS)
def test_short_form_is_the_managers_own_command(env: dict[str, str], text: str) -> None:
    """It is expanded once, and what is stored is the command."""
    name, words, printed = MANAGERS[text]
    Path(env["HOME"], "printed").write_text(printed)
    program(env, name, f'echo "$*" > {env["HOME"]}/words; cat {env["HOME"]}/printed')
    reference = secret_sources.parse(text)
    assert reference.startswith(f"exec:{name} ")
    assert secret_sources.parse(reference) == reference
    assert secret_sources.fetch(reference, env).secret.reveal() == TOKEN
    assert Path(env["HOME"], "words").read_text() == f"{words}\n"


def test_missing_field_is_told(env: dict[str, str]) -> None:
    program(env, "aws", f"""echo '{{"other": "{CANARY}"}}'""")
    assert "aws has no field token" in failure("aws:bitbucket#token", env)


# What the commands write on standard error, from their sources and documentation.
COMPLAINTS = [
    ("vault", "Error making API request.\nCode: 503. Errors:\n\n* Vault is sealed", "Vault is sealed"),
    ("vault", "Code: 403. Errors:\n\n* permission denied", "it was denied permission"),
    (
        "vault",
        "Code: 403. Errors:\n\n* 2 errors occurred:\n\t* permission denied\n\t* invalid token",
        "its login has expired",
    ),
    ("vault", "No value found at secret/data/x", "it has no such secret"),
    ("aws", "An error occurred (AccessDeniedException) when calling GetSecretValue", "it was denied permission"),
    ("aws", "An error occurred (ExpiredTokenException) when calling GetSecretValue", "its login has expired"),
    ("aws", "An error occurred (ResourceNotFoundException) when calling", "it has no such secret"),
    ("aws", "Unable to locate credentials. You can configure credentials", "it is not logged in"),
    ("az", "ERROR: Please run 'az login' to setup account.", "it is not logged in"),
    ("gcloud", "ERROR: (gcloud.secrets.versions.access) PERMISSION_DENIED: Permission", "it was denied permission"),
    ("gcloud", "ERROR: You do not currently have an active account selected.", "it is not logged in"),
    ("op", "[ERROR] 2026/01/01 you are not currently signed in.", "it is not logged in"),
    ("bw", "Vault is locked.", "it is locked"),
    ("bw", "You are not logged in.", "it is not logged in"),
    ("pass", "Error: work/bitbucket is not in the password store.", "it has no such secret"),
    ("pass", "gpg: decryption failed: No secret key", "gpg has no key to decrypt it with"),
]


@pytest.mark.parametrize(("name", "said", "told"), COMPLAINTS)
def test_known_complaint_is_told_in_our_words(env: dict[str, str], name: str, said: str, told: str) -> None:
    """Sealed, expired, denied, logged out, missing: each has its own cause and hint; the rest of it is not repeated."""
    Path(env["HOME"], "said").write_text(f"{said}\n{CANARY}\n")
    program(env, name, f"cat {env['HOME']}/said >&2; exit 2")
    assert f"{name} failed with exit code 2: {told}" in failure(f"exec:{name} x", env)


@pytest.mark.skipif(shutil.which("pass") is None or shutil.which("gpg") is None, reason="there is no pass here")
def test_real_pass_is_a_source(env: dict[str, str], home: Path) -> None:
    """The program itself, with a key without a passphrase."""

    def run(*words: str, given: bytes = b"") -> None:
        subprocess.run(words, env=env, input=given, check=True, capture_output=True)

    gnupg = home / "g"
    gnupg.mkdir(mode=0o700)
    env |= {"GNUPGHOME": str(gnupg), "PASSWORD_STORE_DIR": str(home / "store")}
    try:
        run(
            "gpg",
            "--batch",
            "--passphrase",
            "",
            "--quick-generate-key",
            "ada@example.com",
            "future-default",
            "default",
            "0",
        )
        run("pass", "init", "ada@example.com")
        run("pass", "insert", "--multiline", "work/bitbucket", given=f"{TOKEN}\nurl: x\n".encode())
        assert fetched("pass:work/bitbucket", env) == TOKEN
        assert "pass failed with exit code 1: it has no such secret" in failure("pass:work/none", env)
    finally:
        run("gpgconf", "--kill", "all")


@pytest.fixture
def aws(env: dict[str, str]) -> Iterator[dict[str, str]]:
    """An environment in which the real `aws` asks moto's Secrets Manager, over HTTP."""
    programs = os.path.dirname(sys.executable)
    env = {**env, "PATH": f"{programs}:{env['PATH']}"}
    with subprocess.Popen(
        [f"{programs}/moto_server", "-p", "0"], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as moto:
        try:
            assert moto.stderr is not None
            url = next(line.split()[-1] for line in moto.stderr if "Running on http" in line)
            login = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-west-1"}
            yield {**env, **login, "AWS_ENDPOINT_URL": url}
        finally:
            os.killpg(moto.pid, signal.SIGKILL)


def test_real_aws_is_a_source(aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of a secret, its next version as soon as that is AWSCURRENT, and one that is not there."""
    monkeypatch.setattr(secret_sources, "TIMEOUT_S", 60.0)
    later = tokens.access_token()

    def manage(*words: str) -> None:
        subprocess.run(["aws", "secretsmanager", *words], env=aws, check=True, capture_output=True, timeout=60)

    manage("create-secret", "--name", "ci/bitbucket", "--secret-string", f'{{"user": "ada", "token": "{TOKEN}"}}')
    assert fetched("aws:ci/bitbucket#token", aws) == TOKEN
    manage("put-secret-value", "--secret-id", "ci/bitbucket", "--secret-string", f'{{"token": "{later}"}}')
    assert fetched("aws:ci/bitbucket#token", aws) == later
    assert "it has no such secret" in failure("aws:none", aws)
