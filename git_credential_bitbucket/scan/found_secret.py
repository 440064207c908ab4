"""A secret that was found: the match, and where it is."""

from __future__ import annotations

from dataclasses import dataclass

from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.scan import patterns

GIT_CONFIG, GIT_CREDENTIALS, NETRC, NPMRC, KEYRING = "git-config", "git-credentials", "netrc", "npmrc", "keyring"
SHELL, CI, ENVIRONMENT, SOURCE, HISTORY = "shell", "ci", "environment-file", "source", "history"
"""Where secrets are found."""

WORDS = {
    token_kinds.APP_PASSWORD: "app password",
    token_kinds.API_TOKEN: "API token",
    token_kinds.ACCESS_TOKEN: "access token",
    token_kinds.PERSONAL_TOKEN: "Data Center token",
    token_kinds.UNKNOWN: "password",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFinding:
    """A secret, or a reference to an app password. `path` is a file's (in history: the blob's), or a keyring's entry.

    In history, `commit` brought it in (None where no commit does any more), `blob` holds it, and `times` is in how many
    versions of the file it stands; `repository` is whose history it is, where several were looked through.
    """

    match: patterns.Match
    source: str
    path: str
    line: int | None = None
    commit: str | None = None
    blob: str | None = None
    times: int = 1
    repository: str | None = None

    @property
    def is_reference(self) -> bool:
        """Whether there is no secret, only the name of an app password."""
        return self.match.form == patterns.REFERENCE

    @property
    def level(self) -> str:
        """How bad it is, as SARIF names it."""
        return "note" if self.is_reference else "error" if self.match.certain else "warning"

    @property
    def rule(self) -> str:
        """The name of the rule that it breaks: the kind of secret, or the form in which an unknown one was found."""
        if self.is_reference:
            return "app-password-reference"
        return self.match.kind if self.match.kind != token_kinds.UNKNOWN else f"password-in-{self.match.form}"

    @property
    def where(self) -> str:
        """Where to look, for a person: `file:line`, in history `commit:path:line`."""
        before = ""
        if self.source == HISTORY:
            of = "" if self.repository is None else f"{patterns.redacted(self.repository)}:"
            before = f"{of}{(self.commit or self.blob or '')[:12]}:"
        line = "" if self.line is None else f":{self.line}"
        return before + patterns.redacted(self.path) + line

    @property
    def what(self) -> str:
        """The kind of secret in words, its masked form, whose it is, and how sure that is."""
        match = self.match
        times = f", in {self.times} versions" if self.times > 1 else ""
        if self.is_reference:
            return f"reference to an app password, {patterns.redacted(match.name or '')}{times}"
        words = WORDS[match.kind]
        account = f" of {patterns.redacted(match.account)}" if match.account and "-auth" not in match.account else ""
        doubt = "" if match.certain else ", judging by its shape"
        named = f", named for {match.product}" if match.product else ""
        return f"{words} {match.secret.masked()}{account}{_FORMS.get(match.form, '')}{named}{doubt}{times}"


_FORMS = {
    patterns.URL: " in a URL",
    patterns.HEADER: " in an Authorization header",
    patterns.ASSIGNED: " given to a variable",
}
