"""`login`: stores a token, or obtains one by OAuth; also during a `get`.

Chooses the method; login/ obtains the credential and prepares the vault.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from git_credential_bitbucket import git_config, git_protocol, secret_sources
from git_credential_bitbucket.agent.naming import MAX_NAMED, login_command
from git_credential_bitbucket.bitbucket import hosts, token_kinds
from git_credential_bitbucket.bitbucket.scopes import scope_of
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.client.shared_client import ask, renew, unknown_host
from git_credential_bitbucket.errors import Error, LoginFailed, SettingsError, UnknownCredential
from git_credential_bitbucket.gitsetup import config_writer, configuration
from git_credential_bitbucket.gitsetup.executable import is_this_program
from git_credential_bitbucket.login import guidance, oauth_flows, token_flows, token_verification, vault_setup
from git_credential_bitbucket.login.login_request import LoginRequest, path_on_host, project_key, repository_names
from git_credential_bitbucket.ui import arguments, dates, output, prompts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.bitbucket.providers import Provider

METHODS: dict[str, token_kinds.Kind] = {
    "api_token": token_kinds.API_TOKEN,
    "access_token": token_kinds.ACCESS_TOKEN,
    "oauth": token_kinds.OAUTH,
    "client_credentials": token_kinds.CLIENT_CREDENTIALS,
    "jwt_bearer": token_kinds.JWT_BEARER,
}
PASSWORD_OPTIONS = ("--password", "--username")

HELP = """
Without a method you are asked for one, and shown where in Bitbucket to create the credential. Secrets are entered at
the terminal without being shown, never as arguments. If standard input is not a terminal, its lines are the answers:

\b
--api-token: the token; optionally the account's email
--access-token: the token
--client-credentials: the consumer's key; its secret
--jwt-bearer: app's key; client key; shared secret
--oauth: the consumer's key; its secret unless --implicit

The consumer is asked for only if neither git's configuration (credential.<url>.oauthClientId and oauthClientSecret) nor
the environment (BITBUCKET_CLIENT_ID and BITBUCKET_CLIENT_SECRET) names it.
"""


class LoginCommand(options.SecretRefusingCommand):
    """The command; it rejects passwords before click could repeat them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As `SecretRefusingCommand`'s. Raises `LoginFailed` for a password option."""
        if any(argument.partition("=")[0] in PASSWORD_OPTIONS for argument in args):
            raise LoginFailed(guidance.NO_PASSWORD, hint=guidance.NO_PASSWORD_HINT)
        return super().parse_args(ctx, args)


@options.verb("login", HELP, LoginCommand)
@click.argument("words", metavar="", nargs=-1)
@click.option("--api-token", is_flag=True, help="Your own token, for every repository that you can access.")
@click.option("--access-token", is_flag=True, help="A token of a repository, project or workspace.")
@click.option("--oauth", is_flag=True, help="Log in with OAuth in the browser; renews itself.")
@click.option("--implicit", is_flag=True, help="With --oauth: without the consumer's secret; expires after two hours.")
@click.option("--client-credentials", is_flag=True, help="An OAuth consumer alone, for CI and servers.")
@click.option("--jwt-bearer", is_flag=True, help="An Atlassian Connect app's installation (needs the extra jwt).")
@click.option("--for", "scope", metavar="SCOPE", help="WORKSPACE or WORKSPACE/REPOSITORY of the credential.")
@click.option("--project", metavar="KEY", help="With --for WORKSPACE: the project of the access token.")
@click.option(
    "--repositories",
    metavar="NAMES",
    help="The project's repositories, comma-separated; by default Bitbucket is asked.",
)
@click.option(
    "--host",
    metavar="URL",
    default=hosts.CLOUD_URL,
    help="Another host: Bitbucket Data Center, with its context path if it has one.",
)
@click.option(
    "--account",
    metavar="NAME",
    multiple=True,
    help="The account: email, Bitbucket username or account id; may be repeated.",
)
@click.option(
    "--from",
    "source",
    metavar="REF",
    help="Fetch the token or the consumer's secret from file:/PATH, exec:COMMAND, pass:NAME …; store REF only.",
)
@click.option("--add", is_flag=True, help="Store it beside a credential that may be the same account's.")
@click.option("--replace", is_flag=True, help="Replace a credential that may be the same account's.")
@click.option(
    "--expires", metavar="DATE", callback=options.expiry, help="Expiry date of the token: 2027-01-31, 90d or 1y."
)
@click.option(
    "--lifetime",
    metavar="SPAN",
    callback=options.span,
    help="Remove it here after SPAN: 30m, 8h, 7d, 2w, 3mo (months) …",
)
@token_verification.option
@click.option("--force", is_flag=True, help="Store a token although its checksum does not match.")
@click.option("--memory", is_flag=True, help="Store it in the daemon's memory only, not on disk.")
@click.option("--paste", is_flag=True, help="With --oauth: paste the address from a browser elsewhere.")
@click.option("--no-browser", is_flag=True, help="With --oauth: show the address, and do not open a browser.")
def command(*, words: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401 - click's values, each of its option's type
    """Log in."""
    if words:
        # Not repeated: it may be a secret that is not recognised.
        hint = "name an account with --account; a secret typed here is in your shell's history: revoke it"
        raise Error("login takes no argument: enter a secret at the prompt, or on standard input", hint=hint)
    methods = [kind for name, kind in METHODS.items() if given[name]]
    if len(methods) > 1:
        raise click.UsageError("only one login method can be given")
    prompter = prompts.prompter()
    provider = find_host(given["host"], prompter)
    kind = guidance.kind_at(provider, methods[0]) if methods else choose_kind(prompter, provider)
    if (given["paste"] or given["no_browser"] or given["implicit"]) and kind != token_kinds.OAUTH:
        raise click.UsageError("--paste, --no-browser and --implicit need --oauth")
    if (given["expires"] is not None or given["verify"]) and kind not in token_kinds.STATIC:
        raise click.UsageError("--expires and --verify need --api-token or --access-token")
    if given["add"] and given["replace"]:
        raise click.UsageError("--add and --replace cannot be combined")
    path = path_on_host(provider, given["scope"]) if given["scope"] is not None else None
    if given["project"] is not None and (kind != token_kinds.ACCESS_TOKEN or path is None or "/" in path):
        raise click.UsageError("--project needs --access-token and --for WORKSPACE")
    if given["repositories"] is not None and given["project"] is None:
        raise click.UsageError("--repositories needs --project")
    names = token_flows.sort_names(given["account"])
    wanted = LoginRequest(
        kind=kind,
        provider=provider,
        path=path,
        project=project_key(given["project"]) if given["project"] is not None else None,
        repositories=repository_names(provider, path or "", given["repositories"] or ""),
        account=names.pop("account", None),
        names=names,
        on_conflict="add" if given["add"] else "replace" if given["replace"] else None,
        ends_at=given["expires"],
        lifetime_s=given["lifetime"],
        source=_source(given["source"], kind),
        verify=given["verify"] is not False,
        **{name: given[name] for name in ("memory", "force", "paste", "no_browser", "implicit")},
    )
    credential_id = log_in(wanted, prompter)
    for line in login_report(credential_id, wanted):
        output.say(line)
    _fetch(credential_id, wanted)
    token_verification.report_unverified(wanted, is_required=given["verify"] is True)


def find_host(url: str, prompter: prompts.Prompter) -> Provider:
    """The host at `url`: configured, or at a terminal a Data Center that says what it is and is then configured.

    Raises `Error`.
    """
    try:
        return arguments.find_provider(url)
    except SettingsError:
        named = configuration.host_url(url if "://" in url else f"{hosts.CLOUD_PROTOCOL}://{url}")
        if prompter.terminal is None or named is None:
            raise
        from git_credential_bitbucket.bitbucket import data_center, rest  # lazy: requests costs 110 ms

        found = rest.within_deadline(lambda: data_center.detect(git_config.read(os.environ), named, os.environ))
        if found is None:
            raise
    prompter.say(f"{found}.")
    setting = f"credential.{found.url}.{config_writer.PROVIDER}"
    config_writer.run([["config", "--global", setting, hosts.DATA_CENTER]], os.environ)
    return arguments.find_provider(found.url)


def choose_kind(prompter: prompts.Prompter, provider: Provider) -> token_kinds.Kind:
    """The kind that the user chooses from the menu. Raises `LoginFailed` if non-interactive."""
    if prompter.terminal is None:
        hint = "add --api-token, --access-token, --oauth, --client-credentials or --jwt-bearer"
        raise LoginFailed("no login method was given, and there is no terminal", hint=hint)
    prompter.say(f"Logging in to {git_protocol.printable(provider.host)}.")
    return guidance.menu(provider)[_menu_choice(prompter.terminal, provider)][0]


def _menu_choice(terminal: prompts.Terminal, provider: Provider, *more: str) -> int:
    options = [*(line for _, line in guidance.menu(provider)), *more]
    return terminal.choose("How do you want to authenticate", options, default=guidance.default_choice(provider))


def log_in(wanted: LoginRequest, prompter: prompts.Prompter) -> str:
    """Obtain a credential and store it; returns its id. Nothing is stored before the last answer. Raises `Error`."""
    if not hosts.is_cloud(wanted.provider.protocol, wanted.provider.host):
        why = unknown_host(wanted.provider.protocol, wanted.provider.host)
        if why and wanted.memory:
            raise SettingsError(why["error"], hint=why["hint"])
    new_vault = vault_setup.prepare(prompter, memory=wanted.memory)

    def store(record: dict[str, Any]) -> str:
        if new_vault is not None:
            new_vault.create()
        return _store(record, wanted, prompter)

    if wanted.kind == token_kinds.OAUTH:
        return oauth_flows.with_consent(wanted, prompter, store)
    if wanted.kind == token_kinds.CLIENT_CREDENTIALS:
        return oauth_flows.with_client_credentials(wanted, prompter, store)
    if wanted.kind == token_kinds.JWT_BEARER:
        return oauth_flows.with_jwt_bearer(wanted, prompter, store)
    return store(token_flows.obtain_record(wanted, prompter))


def _store(record: dict[str, Any], wanted: LoginRequest, prompter: prompts.Prompter) -> str:
    """Store a record; returns its id. Raises `Error`."""
    if wanted.lifetime_s is not None:
        record = {**record, "lifetime": wanted.lifetime_s}
    fields = [("record", json.dumps({**record, **wanted.names})), *([("memory", "1")] if wanted.memory else [])]
    # An OAuth login is stored in any case, and replaces nothing before its account is known.
    on_conflict = wanted.on_conflict or ("add" if record["kind"] == token_kinds.OAUTH else None)
    reply = dict(ask("add", [*fields, *([("unclear", on_conflict)] if on_conflict else [])]))
    if "unclear" in reply:
        reply = dict(ask("add", [*fields, ("unclear", _ask_add_or_replace(reply["unclear"], prompter))]))
    return reply["id"]


def _ask_add_or_replace(other_id: str, prompter: prompts.Prompter) -> str:
    """`replace` or `add`, as the user chooses. Raises `LoginFailed` if non-interactive."""
    other = arguments.describe(arguments.select_credentials(other_id)[0])
    if prompter.terminal is None:
        cause = f"a credential for the same scope is stored already, and may be another account's: {other}"
        raise LoginFailed(cause, hint="add --replace to replace it, or --add to keep both")
    prompter.say(f"A credential for the same scope is stored already: {other}.")
    lines = ["replace it (it can be restored for 30 days)", "store both; the newer one is used"]
    return ("replace", "add")[prompter.terminal.choose("What do you want to do", lines, default=0)]


def login_report(credential_id: str, wanted: LoginRequest) -> list[str]:
    """The report of a successful login: what is stored and where, and what git still needs."""
    try:
        one = arguments.select_credentials(credential_id)[0]
    except UnknownCredential:
        hint = "log in again"
        raise LoginFailed("the credential was stored, and then removed by another program", hint=hint) from None
    expiry = f", expires {dates.day(one['ends_at'])}" if one["ends_at"] else ""
    expiry += f", removed here in {dates.time_left(wanted.lifetime_s)}" if wanted.lifetime_s is not None else ""
    is_in_memory = wanted.memory or dict(ask("status"))["vault"] == "memory"  # as below exec
    where = "in memory only, until the daemon stops" if is_in_memory else "in the vault"
    where += f"; its secret is fetched from {one['source']}" if one["source"] else ""
    lines = [f"Logged in: {arguments.title(one)}{expiry}, stored {where}."]
    for old in arguments.stored_credentials():
        if old["replaced_by"] == credential_id:
            restore = f"git-credential-bitbucket restore {old['id']}"
            lines.append(f"Replaced: {arguments.title(old)}. To re-enable it within 30 days, run: {restore}")
    others = [other for other in arguments.default_candidates(one["url"]) if other["id"] != credential_id]
    if others:
        names = ", ".join(other["account"] or other["id"] for other in others[:MAX_NAMED])
        which = "the new one" if one["answers"] else "an earlier one"
        choose = "git-credential-bitbucket switch" + ("" if one["url"] == hosts.CLOUD_URL else f" --for {one['url']}")
        lines.append(f"Also stored for {one['scope']}: {names}. For URLs without a username, {which} is used.")
        lines.append(f"To choose another one, run: {choose}")
    if not is_configured(wanted.provider):
        option = hosts.host_option(wanted.provider.protocol, wanted.provider.host + wanted.provider.context)
        lines.append(f"git does not ask this helper yet; run: git-credential-bitbucket configure{option}")
    return [git_protocol.printable(line, 1000) for line in lines]


def _source(reference: str | None, kind: token_kinds.Kind) -> str | None:
    """The reference that `--from` gives, expanded. Raises `SettingsError`."""
    if reference is None:
        return None
    if kind not in (*token_kinds.STATIC, token_kinds.CLIENT_CREDENTIALS):
        raise click.UsageError("--from needs --api-token, --access-token or --client-credentials")
    return secret_sources.parse(reference)


def _fetch(credential_id: str, wanted: LoginRequest) -> None:
    """Have the daemon fetch the secret once: a source that works here may not work there."""
    if wanted.source is None or wanted.kind not in token_kinds.STATIC:
        return
    try:
        renew(credential_id)
    except Error as exc:
        output.warn(f"logged in, but git cannot use it yet: {exc.cause}", exc.hint)


def is_configured(provider: Provider) -> bool:
    """Whether git asks this program about the host; True if git's configuration cannot be read."""
    try:
        read = git_config.read(os.environ)
    except SettingsError:
        return True
    return any(is_this_program(value) for value, _, _ in read.helpers(provider.base_url))


def during_get(request: git_protocol.Request, why: Mapping[str, str]) -> bool:
    """Let the user log in at the terminal while git waits; False if they choose not to.

    The dialogue is on the terminal only: stdout is git's. Raises `Error` if the login fails.
    """
    terminal = prompts.open_terminal()
    if terminal is None:
        return False
    try:
        return _log_in_for(request, why, terminal)
    finally:
        terminal.close()


def _log_in_for(request: git_protocol.Request, why: Mapping[str, str], terminal: prompts.Terminal) -> bool:
    provider = arguments.find_provider(f"{request.protocol}://{request.host}")
    scope = scope_of(request.protocol, request.host, request.path)
    shown = scope.partition("://")[2]
    terminal.say(f"git needs a credential for {git_protocol.printable_name(shown)}.")
    if (why.get("state") != "none" or "damaged" in why) and why.get("error"):
        terminal.say(f"{git_protocol.printable(why['error'], 1000)}.", style="yellow")
    hint = git_protocol.printable(why.get("hint", ""), 1000)
    if hint and not hint.startswith(f"run: {login_command(scope)}"):  # which is what begins here
        terminal.say(f"Hint: {hint}.")
    number = _menu_choice(terminal, provider, "none of these: let git ask for username and password")
    if number == len(guidance.menu(provider)):
        return False
    wanted = LoginRequest(kind=guidance.menu(provider)[number][0], provider=provider, near=shown.partition("/")[2])
    credential_id = log_in(wanted, prompts.Prompter(terminal))
    for line in [
        *login_report(credential_id, wanted),
        *(f"Stored, unverified: {reason}." for reason in wanted.unverified),
    ]:
        terminal.say(line)
    return True
