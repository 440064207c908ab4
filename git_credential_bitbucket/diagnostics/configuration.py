"""git's configuration: whether git asks this helper, by a path that exists, and which other helpers it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket import config, git_config, paths
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, DoctorContext, Finding, Fix
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.git_config import find_program
from git_credential_bitbucket.gitsetup import config_writer, executable
from git_credential_bitbucket.gitsetup.executable import is_this_program
from git_credential_bitbucket.gitsetup.git_request import sends_path
from git_credential_bitbucket.gitsetup.other_helpers import other_helpers, reset_after

if TYPE_CHECKING:
    from collections.abc import Iterator


CHECK = "configuration"
_VAULT = paths.OWN_PREFIX + "VAULT"


def look(context: DoctorContext) -> Iterator[Finding]:
    """Which settings are set, then who is asked about the context's host, and how."""
    yield from _settings(context)
    ours = [
        (value, origin, scope) for value, origin, scope in context.here.helpers(context.whole) if is_this_program(value)
    ]
    configure = f"run: git-credential-bitbucket configure{context.host_option}"
    if not ours:
        yield _not_configured(context, configure)
        return
    found = [*_paths(context, ours, configure), *_neighbours(context), *_reset(context, configure)]
    if len(ours) > 1:
        files = ", ".join(dict.fromkeys(origin for _, origin, _ in ours))
        found.append(Finding(CHECK, NOTE, f"git asks this program {len(ours)} times ({files})", "remove all but one"))
    if not sends_path(context.here, context.whole):
        cause = "git does not send the repository, so a repository with its own token may get another one"
        found.append(Finding(CHECK, NOTE, cause, configure, _written(context)))
    yield from found
    if not any(finding.level == WRONG for finding in found):
        yield Finding(CHECK, OK, f"git asks {ours[0][0]} about {context.url.base} ({ours[0][1]})")


def _settings(context: DoctorContext) -> Iterator[Finding]:
    """Our settings, each by the name that is used (never the key's value), and those that are ignored."""
    adopted = context.env.get(git_config.ADOPTED, "").split("\n")
    for first in sorted(name for name in context.env if name.startswith(paths.OWN_PREFIX)):
        value, setting = context.env[first], first.removeprefix(paths.OWN_PREFIX).removeprefix("DEFAULT_")
        is_passed_over = first == paths.DEFAULT_VAULT and bool(context.env.get(_VAULT))
        if not value or setting in ("ADOPTED", "OUTER", "RELAYED", "STAMPS") or is_passed_over:
            continue
        second = paths.SECOND_PREFIX + setting
        name = second if context.env.get(second) == value else first
        name = config.key(setting) if f"{config.key(setting)}={value}" in adopted else name
        yield Finding("settings", OK, f"{name}={'(not shown)' if setting == 'KEY' else paths.shown(value)}")
    elsewhere = (context.env.get("GIT_CONFIG_GLOBAL"), context.env.get("GIT_CONFIG_SYSTEM"))
    for name in map(config.key, config.CONFIGURABLE):
        for entry in context.here.entries(*name.lower().split(".")):
            if entry.scope not in git_config.TRUSTED_SCOPES or entry.origin in elsewhere:
                hint = "set it in git's system or global configuration; for one command: git -c"
                yield Finding("settings", WRONG, f"{name} in {entry.origin} is ignored", hint)


def _not_configured(context: DoctorContext, configure: str) -> Finding:
    cause = f"git is not configured to ask git-credential-bitbucket for {context.url.base}"
    ours = [entry.url for entry in context.here.entries("credential", "helper") if is_this_program(entry.value)]
    if None not in ours and context.url.base not in ours:
        return Finding(CHECK, WRONG, cause, configure, _written(context))
    cause = f"{cause}: a later line resets the list of helpers, {reset_after(context.here)}"
    movable = not _asks_us(context, context.trusted)  # else it is the repository's own, which comes after all others
    return Finding(CHECK, WRONG, cause, "remove or move that line", _moved_down(context) if movable else None)


def _paths(context: DoctorContext, ours: list[tuple[str, str, str]], hint: str) -> Iterator[Finding]:
    for value, origin, _ in ours:
        if not executable.runs_this_program(value):
            if find_program(context.env, "git-credential-bitbucket") is None:
                cause = f"git finds no {value} on PATH ({origin})"
                yield Finding(CHECK, WRONG, cause, hint, _written(context))
            else:
                cause = f"git asks {value} by name ({origin}), which programs started from the desktop may not find"
                yield Finding(CHECK, NOTE, cause, hint, _written(context))
            continue
        if not executable.is_there(value):
            cause = f"git asks {executable.only_word(value)}, which no longer exists ({origin})"
            yield Finding(CHECK, WRONG, cause, hint, _written(context))


def _neighbours(context: DoctorContext) -> Iterator[Finding]:
    global_ones = other_helpers(context.trusted, context.url.base)
    for other in other_helpers(context.here, context.url.base):
        if not other.after:
            yield Finding(CHECK, WRONG, other.summary, "remove that line", _written(context))
        elif other in global_ones and other.origin.startswith("/"):
            hint = f'remove that line, or move it above the section [credential "{context.url.base}"]'
            yield Finding(CHECK, WRONG, other.summary, hint, _moved_down(context))
        else:  # the repository's own, or given to one command: nothing of ours can be behind it
            yield Finding(CHECK, WRONG, other.summary, "remove that line")


def _reset(context: DoctorContext, hint: str) -> Iterator[Finding]:
    """Ours without a reset right before it: whatever is configured for all hosts one day goes before it."""
    before: dict[tuple[str, str | None], bool] = {}
    for entry in context.here.entries("credential", "helper"):
        place = (entry.origin, entry.url)
        if is_this_program(entry.value) and not before.get(place, False):
            cause = f"there is no reset of the list of helpers before this program ({entry.origin})"
            yield Finding(CHECK, NOTE, cause, hint, _written(context))
        before[place] = before.get(place, False) or not entry.value


def _written(context: DoctorContext) -> Fix:
    def configure() -> None:
        commands = config_writer.configure_commands(
            _scope(context), context.url.base, executable.helper_here(context.env)
        )
        config_writer.run(commands, context.env)

    return Fix(f"configured git for {context.url.base}", configure)


def _moved_down(context: DoctorContext) -> Fix:
    """Ours at the end of the file: there, the reset is behind what stood behind it."""
    base = context.url.base

    def move() -> None:
        from git_credential_bitbucket.diagnostics import config_sections  # lazy: the scan of files, for a repair

        # Removed and written again, it is at the end, and of the last file, unless its section holds something else.
        config_writer.run(config_writer.unconfigure_commands(_scope(context), base), context.env)
        _written(context).run()
        if not _is_last(context):
            for origin in {origin for origin, url in _scope(context).ours() if url == base}:
                config_sections.move_to_end(origin, base, context.env)
        if not _is_last(context):
            hint = "see: git config --list --show-origin"
            raise SettingsError(f"the lines for {base} could not be moved to the end", hint=hint)

    return Fix(f"moved the lines for {base} to the end of git's configuration", move)


def _is_last(context: DoctorContext) -> bool:
    """Whether git, as it is configured for the person now, asks us for the host, and no helper that stores after us."""
    read = git_config.read(context.env)
    others = other_helpers(read, context.url.base)
    return _asks_us(context, read) and not any(one.after and one.origin.startswith("/") for one in others)


def _asks_us(context: DoctorContext, read: git_config.GitConfig) -> bool:
    return any(is_this_program(value) for value, _, _ in read.helpers(context.whole))


def _scope(context: DoctorContext) -> config_writer.Scope:
    return config_writer.open_scope(context.env, system=False)
