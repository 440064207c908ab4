"""The scope that a path names on a host: a workspace, or a repository. Imports next to nothing: the hot path uses it.

A scope is `protocol://host`, `…/workspace`, `…/workspace/{project}` or `…/workspace/repository`, ASCII case-folded as
Bitbucket's own names are.
"""

_HEX = frozenset("0123456789abcdef")
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~%{}+-")
"""More than Bitbucket makes of a workspace's or a repository's name, but no blanks: those are its title."""
_UUID_LENGTHS = [8, 4, 4, 4, 12]


def scope_of(protocol: str, host: str, path: str | None) -> str:
    """The narrowest scope that a request or a person names; the host alone where the path names no repository."""
    return "/".join((f"{protocol}://{host}", *names_of(path)))


def host_of(scope: str) -> str:
    """The scope of the host that a scope is on."""
    return "/".join(scope.split("/", 3)[:3])


def split_host(scope: str) -> tuple[str, str]:
    """Protocol and host of a scope."""
    protocol, _, rest = scope.partition("://")
    return protocol, rest.partition("/")[0]


def project_scope(workspace: str, project: str) -> str:
    """The scope of a project in the workspace with that scope. No path names it: braces stand for UUIDs there."""
    return f"{workspace}/{{{fold_case(project)}}}"


def names_of(path: str | None) -> tuple[str, ...]:
    """Workspace and repository of a path such as `acme/app.git/info/lfs`; empty where it has no names.

    One segment anywhere that a server may resolve to another repository (`.`, `..`, an empty one) makes the whole
    path worth nothing, and so do braces, which stand for UUIDs.
    """
    segments = _segments(path)
    if any(_unquoted(segment) in {"", ".", ".."} for segment in segments):
        return ()
    names = tuple(segment.removesuffix(".git") for segment in segments[:2])
    if any(name in {"", ".", ".."} or "{" in _unquoted(name) for name in names):
        return ()
    return names


def repository_of(protocol: str, host: str, path: str | None) -> str:
    """The scope of the repository that a server makes of a path, however it is spelt; the host where there is none.

    A path such as `acme//%61pp.git/` is worth no credential of `acme/app`, but what is rejected there is rejected here.
    """
    names: list[str] = []
    for segment in fold_case(_unquoted((path or "").partition("?")[0])).split("/"):
        if segment == "..":
            del names[-1:]
        elif segment not in {"", "."}:
            names.append(segment.removesuffix(".git"))
    return "/".join((f"{protocol}://{host}", *filter(None, names[:2])))


def is_name(text: str) -> bool:
    """Whether a workspace or repository could have this name in its address."""
    return bool(text) and set(text) <= _NAME_CHARACTERS


def names_no_repository(path: str | None) -> bool:
    """Whether a path names no repository in a way that git's command line may make up for: none, or only UUIDs.

    git-lfs verify addresses hold those in place of names: `{}/{uuid}/info/lfs/…`.
    """
    return not path or all(_is_uuid(_unquoted(segment)) for segment in _segments(path)[:2])


def fold_case(text: str) -> str:
    """`text` with its ASCII letters in lower case."""
    if text.isascii():
        return text.lower()
    return text.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")


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
