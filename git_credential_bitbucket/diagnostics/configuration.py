"""git's configuration: whether git asks this program, by a path that exists, and whom else it asks or tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket import config, git_config, paths
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, Finding, Fix
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.git_config import find_program
from git_credential_bitbucket.gitsetup import config_writer
from git_credential_bitbucket.gitsetup.executable import helper_here, is_there, means_us, only_word, runs_us
from git_credential_bitbucket.gitsetup.git_request import sends_path
from git_credential_bitbucket.gitsetup.other_helpers import neighbours, reset_after, shown_helper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.diagnostics.finding import Scene

CHECK = "configuration"
_VAULT = paths.OWN_PREFIX + "VAULT"


def look(scene: Scene) -> Iterator[Finding]:
    """Which settings are set, then who is asked about the scene's host, and how."""
    yield from _settings(scene)
    ours = [(value, origin, scope) for value, origin, scope in scene.here.helpers(scene.whole) if means_us(value)]
    configure = f"type: git-credential-bitbucket configure{scene.host_option}"
    if not ours:
        yield _nobody(scene, configure)
        return
    found = [*_paths(scene, ours, configure), *_neighbours(scene), *_reset(scene, configure)]
    if len(ours) > 1:
        files = ", ".join(dict.fromkeys(origin for _, origin, _ in ours))
        found.append(Finding(CHECK, NOTE, f"git asks this program {len(ours)} times ({files})", "remove all but one"))
    if not sends_path(scene.here, scene.whole):
        cause = "git does not say for which repository it asks, so one with a token of its own may get another"
        found.append(Finding(CHECK, NOTE, cause, configure, _written(scene)))
    yield from found
    if not any(finding.level == WRONG for finding in found):
        yield Finding(CHECK, OK, f"git asks {ours[0][0]} about {scene.url.base} ({ours[0][1]})")


def _settings(scene: Scene) -> Iterator[Finding]:
    """Our settings, each by the name that counts (the key is nobody's to see), and the keys that do not count."""
    adopted = scene.env.get(git_config.ADOPTED, "").split("\n")
    for first in sorted(name for name in scene.env if name.startswith(paths.OWN_PREFIX)):
        value, setting = scene.env[first], first.removeprefix(paths.OWN_PREFIX).removeprefix("DEFAULT_")
        is_passed_over = first == paths.DEFAULT_VAULT and bool(scene.env.get(_VAULT))
        if not value or setting in ("ADOPTED", "OUTER", "RELAYED", "STAMPS") or is_passed_over:
            continue
        second = paths.SECOND_PREFIX + setting
        name = second if scene.env.get(second) == value else first
        name = config.key(setting) if f"{config.key(setting)}={value}" in adopted else name
        yield Finding("settings", OK, f"{name}={'(not shown)' if setting == 'KEY' else paths.shown(value)}")
    elsewhere = (scene.env.get("GIT_CONFIG_GLOBAL"), scene.env.get("GIT_CONFIG_SYSTEM"))
    for name in map(config.key, config.KEYED):
        for entry in scene.here.entries(*name.lower().split(".")):
            if entry.scope not in git_config.TRUSTED_SCOPES or entry.origin in elsewhere:
                hint = "put it into git's own system or global file; for one command: git -c"
                yield Finding("settings", WRONG, f"{name} in {entry.origin} does not count", hint)


def _nobody(scene: Scene, configure: str) -> Finding:
    cause = f"git does not ask this program about {scene.url.base}"
    ours = [entry.url for entry in scene.here.entries("credential", "helper") if means_us(entry.value)]
    if None not in ours and scene.url.base not in ours:
        return Finding(CHECK, WRONG, cause, configure, _written(scene))
    cause = f"{cause}: a reset below ours, {reset_after(scene.here)}"
    movable = not _asks_us(scene, scene.trusted)  # else it is the repository's own, which comes after all others
    return Finding(CHECK, WRONG, cause, "remove or move that line", _moved_down(scene) if movable else None)


def _paths(scene: Scene, ours: list[tuple[str, str, str]], hint: str) -> Iterator[Finding]:
    for value, origin, _ in ours:
        if not runs_us(value):
            if find_program(scene.env, "git-credential-bitbucket") is None:
                cause = f"git finds no {value} on PATH ({origin})"
                yield Finding(CHECK, WRONG, cause, hint, _written(scene))
            else:
                cause = f"git asks {value} by its bare name ({origin}), which a program started from a desktop may miss"
                yield Finding(CHECK, NOTE, cause, hint, _written(scene))
            continue
        if not is_there(value):
            cause = f"git asks {only_word(value)}, which is not there any more ({origin})"
            yield Finding(CHECK, WRONG, cause, hint, _written(scene))


def _neighbours(scene: Scene) -> Iterator[Finding]:
    global_ones = neighbours(scene.trusted, scene.url.base)
    for other in neighbours(scene.here, scene.url.base):
        where = "after" if other.after else "before"
        cause = f"git asks {shown_helper(other.value)} {where} this program ({other.origin}), and {other.effect}"
        if not other.after:
            yield Finding(CHECK, WRONG, cause, "remove that line", _written(scene))
        elif other in global_ones and other.origin.startswith("/"):
            hint = f'remove that line, or move it above the section [credential "{scene.url.base}"]'
            yield Finding(CHECK, WRONG, cause, hint, _moved_down(scene))
        else:  # the repository's own, or given to one command: nothing of ours can be behind it
            yield Finding(CHECK, WRONG, cause, "remove that line")


def _reset(scene: Scene, hint: str) -> Iterator[Finding]:
    """Ours without a reset right before it: whatever is configured for all hosts one day goes before it."""
    before: dict[tuple[str, str | None], bool] = {}
    for entry in scene.here.entries("credential", "helper"):
        place = (entry.origin, entry.url)
        if means_us(entry.value) and not before.get(place, False):
            cause = f"there is no reset of the list of helpers before this program ({entry.origin})"
            yield Finding(CHECK, NOTE, cause, hint, _written(scene))
        before[place] = before.get(place, False) or not entry.value


def _written(scene: Scene) -> Fix:
    def configure() -> None:
        commands = config_writer.configuring(_scope(scene), scene.url.base, helper_here(scene.env))
        config_writer.run(commands, scene.env)

    return Fix(f"configured git for {scene.url.base}", configure)


def _moved_down(scene: Scene) -> Fix:
    """Ours at the end of the file: there, the reset is behind what stood behind it."""
    base = scene.url.base

    def move() -> None:
        from git_credential_bitbucket.diagnostics import config_sections  # lazy: the scan of files, for a repair

        # Taken back and written anew, it is at the end, and of the last file, unless its section holds something else.
        config_writer.run(config_writer.unconfiguring(_scope(scene), base), scene.env)
        _written(scene).run()
        if not _is_last(scene):
            for origin in {origin for origin, url in _scope(scene).ours() if url == base}:
                config_sections.move_to_end(origin, base, scene.env)
        if not _is_last(scene):
            raise SettingsError(f"the lines for {base} could not be moved behind all others", hint="see what is left")

    return Fix(f"moved the lines for {base} to the end of git's configuration", move)


def _is_last(scene: Scene) -> bool:
    """Whether git, as it is configured for the person now, asks us about the host, and nobody that stores after us."""
    read = git_config.read(scene.env)
    others = neighbours(read, scene.url.base)
    return _asks_us(scene, read) and not any(one.after and one.origin.startswith("/") for one in others)


def _asks_us(scene: Scene, read: git_config.GitConfig) -> bool:
    return any(means_us(value) for value, _, _ in read.helpers(scene.whole))


def _scope(scene: Scene) -> config_writer.Scope:
    return config_writer.open_scope(scene.env, system=False)
