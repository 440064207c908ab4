"""The scope that a path names on a host: a workspace, or a repository. Imports git_protocol only: the hot path uses it.

A scope is `protocol://host`, `…/workspace`, `…/workspace/{project}` or `…/workspace/repository`, ASCII case-folded as
Bitbucket's own names are. At a Data Center a project (`…/key`, `…/~user`) stands where Cloud has the workspace.
"""

from git_credential_bitbucket.git_protocol import fold_case

CLOUD_HOST = "bitbucket.org"

_HEX = frozenset("0123456789abcdef")
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~%{}+-")
"""More than Bitbucket makes of a workspace's or a repository's name, but no blanks: those are its title."""
_UUID_LENGTHS = [8, 4, 4, 4, 12]
_DATA_CENTER_ROOTS = frozenset({"scm", "projects", "users", "rest", "git", "plugins", "dashboard", "login"})
"""What stands first in a Data Center's paths, below its context path."""


def scope_of(protocol: str, host: str, path: str | None) -> str:
    """The narrowest scope that a request or a person names; the host alone where the path names no repository."""
    return "/".join((f"{protocol}://{host}", *names_of(path, host)))


def host_of(scope: str) -> str:
    """The scope of the host that a scope is on."""
    return "/".join(scope.split("/", 3)[:3])


def is_within(scope: str, around: str) -> bool:
    """Whether `scope` is `around`, or lies below it."""
    return f"{scope}/".startswith(f"{around}/")


def depth(scope: str) -> int:
    """How narrow a scope is: 0 for a host, 1 for a workspace, 2 for a repository or a project."""
    return max(0, scope.count("/") - 2)  # `protocol://host` has two


def is_repository(scope: str) -> bool:
    """Whether a scope is a repository's; a project's ends with a brace."""
    return depth(scope) == 2 and not scope.endswith("}")  # noqa: PLR2004 - see `depth`


def split_host(scope: str) -> tuple[str, str]:
    """Protocol and host of a scope."""
    protocol, _, rest = scope.partition("://")
    return protocol, rest.partition("/")[0]


def project_scope(workspace: str, project: str) -> str:
    """The scope of a project in the workspace with that scope. No path names it: braces stand for UUIDs there."""
    return f"{workspace}/{{{fold_case(project)}}}"


def names_of(path: str | None, host: str = CLOUD_HOST) -> tuple[str, ...]:
    """Workspace and repository of a path such as `acme/app.git/info/lfs`; empty where it has no names.

    On a `host` other than Cloud's, also project and repository of `context/scm/KEY/app.git`.

    One segment anywhere that a server may resolve to another repository (`.`, `..`, an empty one) makes the whole
    path worth nothing, and so do braces, which stand for UUIDs.
    """
    segments = _segments(path)
    if any(_unquoted(segment) in {"", ".", ".."} for segment in segments):
        return ()
    names = tuple(segment.removesuffix(".git") for segment in _below_root(segments, host)[:2])
    if any(name in {"", ".", ".."} or "{" in _unquoted(name) for name in names):
        return ()
    return names


def repository_of(protocol: str, host: str, path: str | None) -> str:
    """The scope of the repository that a server makes of a path, however it is spelt; the host where there is none.

    A path such as `acme//%61pp.git/` is worth no credential of `acme/app`, but what is rejected there is rejected here.
    """
    segments = list(map(fold_case, _resolved(path or "")))
    names = (segment.removesuffix(".git") for segment in _below_root(segments, host)[:2])
    return "/".join((f"{protocol}://{host}", *filter(None, names)))


def is_below(context: str, path: str | None) -> bool:
    """Whether a request's path is below a Data Center's context path; beside it may be another program's server.

    As it is spelt, and as a server may resolve it: `bitbucket/%2e%2e/wiki` and `bitbucket/..;/wiki` lead to the wiki.
    """
    if not (context and path):
        return True
    segments = context.strip("/").split("/")
    resolved = _resolved(path.replace("\\", "/"))
    return f"/{path}/".startswith(f"{context}/") and resolved[: len(segments)] == segments


def _resolved(path: str) -> list[str]:
    """The segments of a path as a server reads it: unquoted, without parameters (`..;x`), dots followed."""
    segments: list[str] = []
    for part in _unquoted(path.partition("?")[0]).split("/"):
        segment = part.partition(";")[0]
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    return segments


def context_of(path: str) -> str:
    """The context path of a Data Center's address: `/bitbucket` of `/bitbucket/scm/KEY/app.git`; often empty."""
    context: list[str] = []
    for segment in path.strip("/").split("/"):
        if segment in _DATA_CENTER_ROOTS or not segment:
            break
        context.append(segment)
    return "".join(f"/{segment}" for segment in context)


def _below_root(segments: list[str], host: str) -> list[str]:
    """Project and repository of a Data Center's path; all of `segments` where it is not in that form.

    `scm/KEY/app.git` is what git uses, `projects/KEY/repos/app` and `users/NAME/repos/app` are pages.
    """
    if host == CLOUD_HOST:
        return segments
    for i, segment in enumerate(segments[:-2]):
        key, rest = segments[i + 1], segments[i + 2 :]
        if segment == "scm" and not key.endswith(".git"):
            return [key, *rest]
        if segment in ("projects", "users") and rest[0] == "repos":
            return [key if segment == "projects" else f"~{key}", *rest[1:]]
    return segments


def is_name(text: str) -> bool:
    """Whether a workspace or repository could have this name in its address."""
    return bool(text) and set(text) <= _NAME_CHARACTERS


def names_no_repository(path: str | None) -> bool:
    """Whether a path names no repository in a way that git's command line may make up for: none, or only UUIDs.

    git-lfs verify addresses hold those in place of names: `{}/{uuid}/info/lfs/…`.
    """
    return not path or all(_is_uuid(_unquoted(segment)) for segment in _segments(path)[:2])


def _segments(path: str | None) -> list[str]:
    return fold_case(path).removeprefix("/").removesuffix("/").split("/") if path else []


def _unquoted(segment: str) -> str:
    if "%" not in segment:
        return segment
    from urllib.parse import unquote  # lazy: 3 ms, and names have no escapes

    return unquote(segment)


def _is_uuid(segment: str) -> bool:
    inner = segment[1:-1]
    if segment != f"{{{inner}}}":
        return False
    parts = inner.split("-")
    return not inner or ([len(part) for part in parts] == _UUID_LENGTHS and set("".join(parts)) <= _HEX)
