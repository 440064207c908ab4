"""Credentials in the environment, for CI: static tokens are answered from here, without daemon or vault.

Every git command of a CI job passes here, so nothing is imported that costs time. Which hosts may get an answer is
decided before (`fallback`).
"""

import os

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.bitbucket import hosts, scopes, token_kinds
from git_credential_bitbucket.client import ipc, secret_markers
from git_credential_bitbucket.errors import Error, Problem, SettingsError, system_reason
from git_credential_bitbucket.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

TOKENS: "tuple[tuple[str, token_kinds.Kind], ...]" = (
    ("BITBUCKET_API_TOKEN", token_kinds.API_TOKEN),
    ("BITBUCKET_ACCESS_TOKEN", token_kinds.ACCESS_TOKEN),
    ("BITBUCKET_TOKEN", token_kinds.ACCESS_TOKEN),
)
"""Variables that hold a token, in the order in which they are looked at, and the kind of one whose prefix tells nothing
(an OAuth access token has none, and takes the access token's username)."""
CLIENTS = (
    ("BITBUCKET_CLIENT_ID", "BITBUCKET_CLIENT_SECRET"),
    ("BITBUCKET_OAUTH_CLIENT_ID", "BITBUCKET_OAUTH_CLIENT_SECRET"),
)
"""Pairs of variables that hold an OAuth consumer, for the client credentials grant."""
TOKENS_FILE = ipc.TOKENS_FILE
"""Names a file with a token for each of several scopes: lines such as `acme=TOKEN` and `acme/app=TOKEN`."""
USERNAME = "BITBUCKET_USERNAME"
"""The owner of a Data Center's personal token: git must send that name; without one it is a project's token."""
EMAIL = "BITBUCKET_EMAIL"
"""The account of the API token: REST needs it, git does not."""
APP_PASSWORD = "BITBUCKET_APP_PASSWORD"
"""Held an app password for git; never used."""
_REFERENCES = (("${{", "}}"), ("${", "}"), ("$(", ")"), ("$", ""), ("%", "%"))
"""What stands around a variable's name where the shell or the CI system was to put its value."""
MAX_FILE_BYTES = 65536
"""A file named by `…_FILE` holds a token or some; who names a device by mistake is told so and does not hang."""


class EnvironmentCredential:
    """A token or an OAuth consumer of the environment, and the variable that holds it."""

    __slots__ = ("account", "client_id", "kind", "owner", "scope", "secret", "variable")

    def __init__(
        self,
        variable: str,
        kind: "token_kinds.Kind",
        secret: Secret,
        *,
        account: str | None = None,
        client_id: str | None = None,
        scope: tuple[str, ...] = (),
        owner: str | None = None,
    ) -> None:
        """`kind` is its prefix's, or else its variable's usual one; `account` the email of an API token, if given, and
        `owner` the username that a Data Center's personal token goes with.

        `scope` is the workspace, or workspace and repository, that it is for; empty: whole hosts.
        Of a consumer, `client_id` is its key and `secret` its secret: access tokens are obtained with them.
        """
        self.variable = variable
        self.kind = kind
        self.secret = secret
        self.account = account or None if kind == token_kinds.API_TOKEN else None
        self.client_id = client_id
        self.scope = scope
        self.owner = owner

    @property
    def username(self) -> str:
        """The username that git must send with it."""
        return token_kinds.git_username(self.kind) or self.owner or ""


def find(env: "Mapping[str, str]", request: git_protocol.Request) -> EnvironmentCredential | None:
    """The credential for `request`, which precedes stored ones: of those that cover it, the one with the longest scope.

    Raises `SettingsError` where that is unusable, or any line of the tokens' file is.
    """
    scoped = from_tokens_file(env)
    if scoped:
        path = request.path
        if scopes.names_no_repository(path):
            from git_credential_bitbucket import processes  # lazy: urllib, for a git that names no repository

            path = processes.asked_path(os.getpid(), request.protocol, request.host) or path
        names = scopes.names_of(path, request.host)
        for found in scoped:
            if names[: len(found.scope)] == found.scope:
                return found
    return token(env) or consumer(env)


def find_all(env: "Mapping[str, str]") -> list[EnvironmentCredential]:
    """All that `find` chooses from, longest scopes first. Raises `SettingsError` where one is unusable."""
    return [*from_tokens_file(env), *filter(None, [token(env) or consumer(env)])]


def required(env: "Mapping[str, str]") -> list[EnvironmentCredential]:
    """As `find_all`, for a command that needs one. Raises `SettingsError` if that is nothing usable."""
    found = find_all(env)
    if not found:
        if (problem := unusable(env)) is not None:
            raise SettingsError(problem.cause, hint=problem.hint)
        raise SettingsError(
            "there is no credential in the environment to run the command with",
            hint="set BITBUCKET_API_TOKEN, BITBUCKET_ACCESS_TOKEN, BITBUCKET_TOKEN, or BITBUCKET_CLIENT_ID and "
            "BITBUCKET_CLIENT_SECRET; or one of them with _FILE or _FROM, to name a file or a source; or "
            "BITBUCKET_TOKENS_FILE",
        )
    return found


def named(found: "list[EnvironmentCredential]") -> str:
    """The variables that hold `found`, and the scopes in the tokens' file."""
    listed = ", ".join("/".join(one.scope) for one in found if one.scope)
    return " and ".join([f"{TOKENS_FILE} ({listed})"] * bool(listed) + [one.variable for one in found if not one.scope])


def token(env: "Mapping[str, str]") -> EnvironmentCredential | None:
    """The token for whole hosts that the environment holds. Raises `SettingsError` where it is unusable."""
    for name, usual in TOKENS:
        found = value(env, name)
        if found is not None:
            source, secret = found
            return _static(name, source, secret, usual, env)
    return None


def from_tokens_file(env: "Mapping[str, str]") -> list[EnvironmentCredential]:
    """The tokens in the file that `BITBUCKET_TOKENS_FILE` names, longest scopes first; empty where it names none.

    Raises `SettingsError` for a file that others can read, and for a line that is not `SCOPE=TOKEN`, a comment
    (`#`) or blank: it names the line by its number.
    """
    path = env.get(TOKENS_FILE)
    if not path:
        return []
    found: dict[tuple[str, ...], EnvironmentCredential] = {}
    for number, line in enumerate(contents(TOKENS_FILE, path, is_private=True).split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, text = line.partition("=")
        scope = scopes.names_of(name.strip())
        source = f"line {number} of {TOKENS_FILE}"
        is_scope = bool(scope) and name.count("/") < len(scope) and all(map(scopes.is_name, scope))
        if not equals or not is_scope or "." in scope[0]:  # a dot is a host's
            hint = "write one workspace or repository per line, an equals sign and the token"
            raise SettingsError(f"{source} does not have the form acme=TOKEN or acme/app=TOKEN", hint=hint)
        if scope in found:
            raise SettingsError(f"{source} names the same scope as {found[scope].variable}", hint="remove one of them")
        secret = _checked(source, text)
        found[scope] = _static(TOKENS_FILE, source, secret, token_kinds.ACCESS_TOKEN, env, scope)
    return sorted(found.values(), key=lambda one: -len(one.scope))


def _static(
    name: str,
    source: str,
    secret: Secret,
    usual: "token_kinds.Kind",
    env: "Mapping[str, str]",
    scope: tuple[str, ...] = (),
) -> EnvironmentCredential:
    """A token of `source`; its kind is its prefix's, else `usual`. Raises `SettingsError` for an app password."""
    owner = env.get(USERNAME) or None
    kind = token_kinds.recognise_with(secret.reveal(), owner or token_kinds.ACCESS_TOKEN_USERNAME)
    if kind == token_kinds.APP_PASSWORD:
        hint = f"create an API token at id.atlassian.com and put it into {name}"
        raise SettingsError(f"{source}: {token_kinds.APP_PASSWORDS_GONE.cause}", hint=hint)
    kind = usual if kind == token_kinds.UNKNOWN else kind
    return EnvironmentCredential(source, kind, secret, account=env.get(EMAIL), scope=scope, owner=owner)


def consumer(env: "Mapping[str, str]") -> EnvironmentCredential | None:
    """The OAuth consumer that the environment holds. Raises `SettingsError` where it is unusable."""
    for id_name, secret_name in CLIENTS:
        secret = value(env, secret_name)
        if secret is None:
            continue
        client_id = value(env, id_name)
        if client_id is not None:
            return EnvironmentCredential(
                secret[0], token_kinds.CLIENT_CREDENTIALS, secret[1], client_id=client_id[1].reveal()
            )
    return None


def format_answer(found: EnvironmentCredential) -> bytes:
    """The answer to git's `get`."""
    return git_protocol.emit([("username", found.username), ("password", found.secret.reveal())])


def check_product(found: EnvironmentCredential, host: str, env: "Mapping[str, str]") -> None:
    """Raise `SettingsError` where `found` is of one product, and `host` (`protocol://host`) the other."""
    if host == hosts.CLOUD_URL and not is_of(hosts.PROVIDER, found):
        cause = f"{found.variable} holds a token of Bitbucket Data Center, which is never sent to bitbucket.org"
        raise SettingsError(cause, hint="set an API token or access token of Bitbucket Cloud, or unset it")
    if host != hosts.CLOUD_URL and not is_of(hosts.DATA_CENTER, found) and _is_data_center_now(env, host):
        what = "a token" if found.client_id is None else "the secret of an OAuth consumer"
        cause = f"{found.variable} holds {what} of bitbucket.org, which is never sent to Bitbucket Data Center"
        raise SettingsError(cause, hint="set an HTTP access token of that server, or unset it")


def check(found: EnvironmentCredential, host: str, env: "Mapping[str, str]") -> None:
    """Raise an `Error` where `found` is not offered to `host`: as `check_product`, or git has just had it rejected."""
    check_product(found, host, env)
    login = login_at(host, found)
    if secret_markers.is_marked(env, login, found.secret, secret_markers.REJECTED):
        path = f"{paths.runtime_dir(env)}/{secret_markers.file_name(login, found.secret, secret_markers.REJECTED)}"
        raise Error(
            f"the server rejected {found.variable} with the username {found.username}; "
            "sending it again could lock the account",
            hint=f"set a valid token, and {USERNAME} for a person's; to send this one again, remove {path}",
        )
    if secret_markers.is_marked(env, host, found.secret):
        cause = f"Bitbucket rejected the secret in {found.variable}, so it is not offered again for a minute"
        raise Error(cause, hint="it may be revoked, expired or lack a permission: set a valid one, or unset it")


def is_of(product: str, found: EnvironmentCredential) -> bool:
    """Whether `found` may be that product's: a token by its prefix; a consumer is Cloud's, which has that grant."""
    is_data_center = product == hosts.DATA_CENTER
    if found.client_id is not None:
        return not is_data_center
    return token_kinds.foreign(found.secret.reveal(), is_data_center=is_data_center) is None


def _is_data_center_now(env: "Mapping[str, str]", host: str) -> bool:
    product = hosts.find_product_now(env, *scopes.split_host(host))
    return product is not None and product[0] == hosts.DATA_CENTER


def login_at(host: str, found: EnvironmentCredential) -> str:
    """What a Data Center counts failed logins by, for a mark: `host` and the username."""
    return f"{host} {found.username}"


def is_about(request: git_protocol.Request, found: EnvironmentCredential) -> bool:
    """Whether git's `store` or `erase` is about `found`, or what may have been minted for it.

    Of a token, one that names no secret is about what was offered: while a token stands here, we offer nothing else.
    What a consumer's token is told by is its username, and no known prefix. Git has it as a password from us, so a
    ready-made `credential` is another helper's.
    """
    if found.client_id is not None:
        is_password = request.credential is None and request.username == found.username
        return is_password and token_kinds.recognise(request.password or "") == token_kinds.UNKNOWN
    if request.secret is None:
        return request.username in (None, found.username)
    return Secret(request.secret) == found.secret


def unusable(env: "Mapping[str, str]") -> Problem | None:
    """What the environment holds that cannot be used; for where nothing else answers."""
    return unpaired(env) or app_password(env)


def unpaired(env: "Mapping[str, str]") -> Problem | None:
    """What is wrong where one half of a consumer is set and the other is not."""
    for names in CLIENTS:
        found = {name: source for name in names for source in (name + "_FROM", name + "_FILE", name) if env.get(source)}
        for name in set(names) - set(found) if found else ():
            (there,) = found.values()
            return Problem(f"{there} is set, but {name} is not", f"set {name} as well, or unset {there}")
    return None


def app_password(env: "Mapping[str, str]") -> Problem | None:
    """What is wrong where the environment holds an app password."""
    if not env.get(APP_PASSWORD):
        return None
    cause = f"{APP_PASSWORD} is set, but Bitbucket removed app passwords on 28 July 2026"
    return Problem(cause, f"put an API token into BITBUCKET_API_TOKEN, and unset {APP_PASSWORD}")


def value(env: "Mapping[str, str]", name: str) -> tuple[str, Secret] | None:
    """What `name`, the file that `name_FILE` names or the source of `name_FROM` holds, and which it is; the first wins.

    Raises `SettingsError` if that is no single line, or a token with spaces in it, and `SourceFailed`.
    """
    source, text = name, env.get(name) or None
    if text is None and (path := env.get(name + "_FILE")):
        source, text = name + "_FILE", contents(name + "_FILE", path)
    if text is None and (reference := env.get(name + "_FROM")):
        source, text = name + "_FROM", _fetched(name + "_FROM", reference, env)
    return (source, _checked(source, text)) if text is not None else None


def _fetched(name: str, reference: str, env: "Mapping[str, str]") -> str:
    """The value of the source that the variable `name` refers to. Raises `SettingsError` and `SourceFailed`."""
    from git_credential_bitbucket import secret_sources  # lazy: only a reference needs it

    try:
        return secret_sources.fetch(secret_sources.parse(reference), env).secret.reveal()
    except Error as exc:
        raise type(exc)(f"{name}: {exc.cause}", hint=exc.hint) from None


def is_fetched(env: "Mapping[str, str]") -> bool:
    """Whether the environment refers to a source whose value git may be given."""
    return any(env.get(f"{name}_FROM") for name in ipc.SECRET_VARIABLES)


def _checked(source: str, text: str) -> Secret:
    """The secret that `text`, of `source`, is. Raises `SettingsError` where it is none."""
    # CI systems and editors put a line break behind a secret, and .env files keep its quotes; a line break or a blank
    # inside it means that the wrong thing was pasted.
    text = token_kinds.strip_wrapping(text)[0]
    what = None if text else "nothing"
    if any(c < " " or c == "\x7f" for c in text):
        what = "more than one line"
    elif " " in text and token_kinds.recognise(text) != token_kinds.UNKNOWN:
        what = "a token with spaces in it"
    if _is_reference(text):
        hint = "define that variable for this job, or write it so that the shell expands it"
        raise SettingsError(f"{source} looks like a variable that was not expanded", hint=hint)
    if what is not None:
        raise SettingsError(f"{source} holds {what}", hint="it must hold the token and nothing else")
    return Secret(text)


def _is_reference(text: str) -> bool:
    """Whether `text` is `$NAME`, `${NAME}`, `%NAME%` and the like, as no secret is."""
    for start, end in _REFERENCES:
        name = text[len(start) : len(text) - len(end)].strip().replace(".", "_")
        if text.startswith(start) and text.endswith(end) and name.isidentifier():
            return True
    return False


def contents(name: str, path: str, *, is_private: bool = False) -> str:
    """The text of the file that the variable `name` names; with `is_private`, nobody else may be able to read it."""
    if not path.startswith("/"):
        hint = "write an absolute path"
        raise SettingsError(f"{name} is a relative path, and git runs its helpers in the work tree", hint=hint)
    try:
        # Without waiting: who names a pipe that nobody writes to would hang git.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            is_open = is_private and not paths.is_private_file(os.fstat(descriptor))
            data = b"" if is_open else os.read(descriptor, MAX_FILE_BYTES + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as exc:
        why = system_reason(exc) if isinstance(exc, OSError) else "its name holds a NUL"
        raise SettingsError(f"the file that {name} names cannot be read: {why}", hint=f'run: ls -l "${name}"') from exc
    if is_open:
        cause = f"the file that {name} names is not a plain file that only you can read"
        raise SettingsError(cause, hint=f'run: chmod 0400 "${name}" (in Kubernetes: defaultMode: 0400)')
    if len(data) > MAX_FILE_BYTES:
        hint = "it must hold the token and nothing else"
        raise SettingsError(f"the file that {name} names is larger than 64 KiB", hint=hint)
    return data.decode("utf-8", "surrogateescape")
