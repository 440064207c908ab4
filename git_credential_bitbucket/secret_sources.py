"""Where a secret comes from when it is stored elsewhere: references to files, systemd credentials and commands.

A reference is stored, never the value. Imports what runs and parses only when a value is fetched.
"""

import os
from typing import NamedTuple

from git_credential_bitbucket import files
from git_credential_bitbucket.errors import SettingsError, SourceFailed, system_reason
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.paths import typed
from git_credential_bitbucket.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_BYTES = 65536
"""Of a file or of a command's output; a token has some hundred."""
TIMEOUT_S = 10.0
UNLOCK_TIMEOUT_S = 60.0
"""For programs that may have to ask a person to unlock them."""
CACHED_S = 10 * 60.0
"""How long a command's value is used where it names no expiry. Files are looked at each time."""
_UNLOCKED_BY_PERSON = frozenset({"pass", "gopass", "gpg", "gpg2", "op", "bw"})
_FORMS = "file:/PATH, credential:NAME or exec:COMMAND, or aws:, vault:, bao:, az:, gcloud:, op:, bw:, pass: or gopass:"
PACKAGES = {
    "aws": "the AWS command line interface, package awscli",
    "vault": "Vault, package vault of HashiCorp",
    "bao": "OpenBao, package openbao",
    "az": "the Azure command line interface, package azure-cli",
    "gcloud": "the Google Cloud command line interface, package google-cloud-cli",
    "op": "the 1Password command line interface, package 1password-cli",
    "bw": "the Bitwarden command line interface, npm package @bitwarden/cli",
    "pass": "pass, package pass",
    "gopass": "gopass, from gopass.pw (Debian's gopass is another program)",
}
"""What a program of a short form is in."""
_SCRUBBED = ("BITBUCKET_", "GIT_", "LD_PRELOAD", "PYTHON")

_STDERR = (
    ("is sealed", "Vault is sealed", "unseal it"),
    ("vault is locked", "it is locked", "unlock it, and set BW_SESSION for the daemon"),
    ("expired|invalid token", "its login has expired", "log in to it again"),
    ("not logged in|not currently signed in|no accounts configured", "it is not logged in", "log in to it"),
    ("az login|unable to locate credentials|active account", "it is not logged in", "log in to it"),
    ("permission[ _]denied|accessdenied|forbidden", "it was denied permission", "allow its login to read this secret"),
    ("secret key", "gpg has no key to decrypt it with", "import that key, or set GNUPGHOME for the daemon"),
    ("decryption failed", "gpg could not decrypt it", "unlock its key: gpg --decrypt FILE"),
    ("not[ _]found|resourcenotfound|no value found", "it has no such secret", "check the name"),
    ("not in the password store|isn't an item", "it has no such secret", "check the name"),
)
"""What programs say on standard error, as a pattern, and what it means: their own text may hold a secret."""


class Value(NamedTuple):
    """What a source holds now; `expires_at` in epoch seconds, where it says so."""

    secret: Secret
    username: str | None = None
    expires_at: float | None = None


def parse(text: str) -> str:
    """The reference that `text` is, its short form expanded. Raises `SettingsError` where it is none."""
    scheme, colon, rest = text.strip().partition(":")
    if not colon or not rest or not text.isprintable():
        raise SettingsError("not a reference to a secret", hint=f"write {_FORMS}")
    if scheme == "file":
        if not rest.startswith("/"):
            raise SettingsError("file: needs an absolute path", hint="write file:/PATH")
        return f"file:{rest}"
    if scheme == "credential":
        if "/" in rest or rest.startswith("."):
            raise SettingsError("credential: needs a name", hint="name a credential of LoadCredential= in systemd")
        return f"credential:{rest}"
    if scheme == "exec":
        _words(rest)
        return f"exec:{rest}"
    if scheme in _SHORT:
        name, _, field = rest.partition("#")
        return "exec:" + _joined(_SHORT[scheme](scheme, name, field))
    raise SettingsError("not a reference to a secret", hint=f"write {_FORMS}")


def is_cheap(reference: str) -> bool:
    """Whether the source is looked at each time that its value is asked for; a command's value is cached."""
    return not reference.startswith("exec:")


def fetch(reference: str, env: "Mapping[str, str]", url: str = "https://bitbucket.org") -> Value:
    """The value of a reference from `parse`, for the host of `url`. Runs a command, for up to a minute.

    Raises `SourceFailed` and `SettingsError`, whose text has nothing of what the source said.
    """
    scheme, _, rest = reference.partition(":")
    if scheme == "exec":
        words = _words(rest)
        field = words.pop()[1:] if len(words) > 1 and words[-1].startswith("#") else None
        name = os.path.basename(words[0])
        return _understood(_output(words, env, url), field, name, first_line=name == "pass")
    path = rest
    if scheme == "credential":
        directory = env.get("CREDENTIALS_DIRECTORY")
        if not directory:
            hint = "run it in a systemd unit with LoadCredential= or SetCredentialEncrypted="
            raise SourceFailed("there is no CREDENTIALS_DIRECTORY here, which credential: needs", hint=hint)
        path = f"{directory}/{rest}"
    try:
        content = files.read(path, MAX_BYTES, follow=True)
    except OSError as exc:
        why = system_reason(exc)
        hint = f"as the user that git runs as, try: ls -l {typed(path)}"
        raise SourceFailed(f"{printable(path, 200)} cannot be read: {why}", hint=hint) from None
    if content is None:
        raise SourceFailed(f"{printable(path, 200)} is larger than 64 KiB", hint="it must hold the token")
    return _understood(content, None, printable(path, 200), first_line=True)


def _understood(output: bytes, field: str | None, name: str, *, first_line: bool) -> Value:
    """The value in a source's output: JSON, what a git credential helper prints, or the token alone."""
    text = output.decode("utf-8", "surrogateescape").strip(" \t\r\n")
    found: dict[str, object] = {"token": text}
    if field is not None or text.startswith("{"):
        found = _json(text, name)
        if field is not None:
            found = {"token": found.get(field)}
    elif "\n" in text:
        lines = [line.strip() for line in text.split("\n")]
        pairs = {key: value for key, equals, value in (line.partition("=") for line in lines) if equals}
        if first_line:
            found = {"token": lines[0]}
        elif "password" in pairs:
            found = {"token": pairs["password"], "username": pairs.get("username")}
            found["expires"] = pairs.get("password_expiry_utc")
        else:
            hint = "it must print only the token, JSON with the key token, or lines such as password=TOKEN"
            raise SourceFailed(f"{name} returned {len(lines)} lines instead of one", hint=hint)
    elif text.startswith("password="):
        found = {"token": text.removeprefix("password=")}
    token, username = found.get("token") or found.get("password"), found.get("username")
    if not token:
        what = f"has no field {printable(field)}" if field else "returned nothing"
        raise SourceFailed(f"{name} {what}", hint="check its content")
    if not isinstance(token, str) or any(c < " " or c == "\x7f" for c in token):
        raise SourceFailed(f"{name} returned no valid token", hint="it must be text on one line")
    named = username if isinstance(username, str) and username.isprintable() else None
    return Value(Secret(token), named or None, _expiry(found.get("expires"), name))


def _json(text: str, name: str) -> dict[str, object]:
    import json  # lazy: most sources hold the token alone

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SourceFailed(f"{name} did not return a JSON object", hint="check its content")
    if found.get("version", 1) != 1:
        raise SourceFailed(f"{name} returned an unknown version of its format", hint="it must print version 1")
    return found


def _expiry(text: object, name: str) -> float | None:
    """The expiry in epoch seconds, of RFC 3339 or of epoch seconds."""
    if text is None:
        return None
    import datetime as dt  # lazy: few sources tell an expiry

    try:
        told = str(text)
        return float(int(told)) if told.isdigit() else dt.datetime.fromisoformat(told).timestamp()
    except (ValueError, OverflowError):
        hint = "write it as 2027-01-31T12:00:00Z"
        raise SourceFailed(f"the expiry that {name} returned is not a date", hint=hint) from None


def _words(command: str) -> list[str]:
    import shlex  # lazy: only commands need it

    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words or "\0" in command:
        raise SettingsError("exec: needs a command", hint="write the command, quoted as in a shell; no shell runs it")
    return words


def _joined(words: "Sequence[str]") -> str:
    import shlex  # lazy: as above

    return " ".join(word if word.startswith("#") else shlex.quote(word) for word in words)


def _output(words: list[str], env: "Mapping[str, str]", url: str) -> bytes:
    """What a command prints on standard output. Raises `SourceFailed`."""
    from git_credential_bitbucket.git_config import find_program  # lazy: only commands need it

    name = printable(os.path.basename(words[0]), 100)
    program = find_program(env, words[0]) if words[0].startswith("/") or "/" not in words[0] else None
    if program is None:
        hint = f"install {PACKAGES[name]}" if name in PACKAGES else "name it by its absolute path, or add it to PATH"
        raise SourceFailed(f"there is no program {name} on PATH", hint=hint)
    limit_s = UNLOCK_TIMEOUT_S if name in _UNLOCKED_BY_PERSON else TIMEOUT_S
    given = b""
    if name.startswith("git-credential-") or (name == "git" and len(words) > 1 and words[1].startswith("credential")):
        protocol, _, host = url.partition("://")
        given = f"protocol={protocol}\nhost={host.partition('/')[0]}\n\n".encode()
    around = {key: value for key, value in env.items() if not key.startswith(_SCRUBBED)}
    try:
        code, out, err = _run([program, *words[1:]], around, given, limit_s)
    except OSError as exc:
        why = system_reason(exc)
        raise SourceFailed(f"{name} cannot be run: {why}", hint="run it by hand") from None
    if code is None:
        raise SourceFailed(f"{name} did not finish within {limit_s:.0f} seconds", hint="run it by hand")
    if len(out) > MAX_BYTES:
        raise SourceFailed(f"{name} printed more than 64 KiB", hint="it must print only the token")
    if code != 0:
        import re  # lazy: only a command that failed needs it

        said = err.decode("utf-8", "replace").lower()
        told = ((why, hint) for pattern, why, hint in _STDERR if re.search(pattern, said))
        why, hint = next(told, ("", "run it by hand"))
        ended = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
        raise SourceFailed(f"{name} {ended}{': ' if why else ''}{why}", hint=hint)
    return out


def _run(words: list[str], env: dict[str, str], given: bytes, limit_s: float) -> tuple[int | None, bytes, bytes]:
    """Run a program without a shell, and end its group: its exit code (None past `limit_s`), its output, bounded."""
    import contextlib  # lazy: only commands need these
    import signal
    import subprocess
    import time

    deadline, pipe = time.monotonic() + limit_s, subprocess.PIPE
    stdin = pipe if given else subprocess.DEVNULL
    with subprocess.Popen(
        words, cwd="/", env=env, stdin=stdin, stdout=pipe, stderr=pipe, start_new_session=True
    ) as process:
        try:
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError), process.stdin:
                    process.stdin.write(given)  # less than a pipe holds
            read = [stream.fileno() for stream in (process.stdout, process.stderr) if stream is not None]
            out, err = _read(read, deadline)
            if len(out) > MAX_BYTES:
                return 0, out, b""
            return process.wait(max(0.0, deadline - time.monotonic())), out, err
        except subprocess.TimeoutExpired:
            return None, b"", b""
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _read(descriptors: list[int], deadline: float) -> list[bytes]:
    """What comes from each until all end, or one gives more than `MAX_BYTES`, or the deadline passes."""
    import selectors  # lazy: as above
    import time

    read = dict.fromkeys(descriptors, b"")
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map() and all(len(one) <= MAX_BYTES for one in read.values()):
            left = deadline - time.monotonic()
            for key, _ in selector.select(max(0.0, left)):
                block = os.read(key.fd, 8192)
                read[key.fd] += block
                if not block:
                    selector.unregister(key.fd)
            if left <= 0:
                break
    return list(read.values())


def _aws(_scheme: str, name: str, field: str) -> list[str]:
    # docs.aws.amazon.com/cli/latest/reference/secretsmanager/get-secret-value.html
    words = ["aws", "secretsmanager", "get-secret-value", "--secret-id", name, "--query", "SecretString"]
    return [*words, "--output", "text", *([f"#{field}"] if field else [])]


def _vault(scheme: str, name: str, field: str) -> list[str]:
    # developer.hashicorp.com/vault/docs/commands/kv/get
    mount, slash, path = name.partition("/")
    if not (mount and slash and path and field):
        raise SettingsError(f"{scheme}: needs a mount, a path and a field", hint=f"write {scheme}:MOUNT/PATH#FIELD")
    return [scheme, "kv", "get", f"-mount={mount}", f"-field={field}", path]


def _az(scheme: str, name: str, field: str) -> list[str]:
    # learn.microsoft.com/cli/azure/keyvault/secret
    vault, _, secret = name.partition("/")
    if not vault or not secret:
        raise SettingsError(f"{scheme}: needs a vault and a name", hint="write az:VAULT/NAME")
    words = ["az", "keyvault", "secret", "show", "--vault-name", vault, "--name", secret]
    return [*words, "--query", "value", "--output", "tsv", *([f"#{field}"] if field else [])]


def _gcloud(_scheme: str, name: str, field: str) -> list[str]:
    # cloud.google.com/sdk/gcloud/reference/secrets/versions/access
    project, _, secret = name.rpartition("/")
    words = ["gcloud", "secrets", "versions", "access", "latest", f"--secret={secret}"]
    return [*words, *([f"--project={project}"] if project else []), *([f"#{field}"] if field else [])]


def _op(scheme: str, name: str, field: str) -> list[str]:
    # developer.1password.com/docs/cli/reference/commands/read
    if not name.startswith("//") or field:
        raise SettingsError(f"{scheme}: needs a secret reference", hint="write op://VAULT/ITEM/FIELD")
    return ["op", "read", "--no-newline", f"op:{name}"]


def _bw(_scheme: str, name: str, field: str) -> list[str]:
    # bitwarden.com/help/cli/#get
    return ["bw", "--nointeraction", "get", field or "password", name]


def _pass(scheme: str, name: str, field: str) -> list[str]:
    # pass(1): the first line is the password. gopass.pw, `gopass show --password`: that line alone
    if field:
        raise SettingsError(f"{scheme}: takes no field", hint=f"write {scheme}:PATH; its first line is the token")
    return ["pass", "show", name] if scheme == "pass" else ["gopass", "show", "--password", name]


_SHORT: "dict[str, Callable[[str, str, str], list[str]]]" = {
    "aws": _aws,
    "vault": _vault,
    "bao": _vault,
    "az": _az,
    "gcloud": _gcloud,
    "op": _op,
    "bw": _bw,
    "pass": _pass,
    "gopass": _pass,
}
