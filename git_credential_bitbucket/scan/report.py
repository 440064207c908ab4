"""A report of findings for people, as JSON and as SARIF 2.1.0. None of the forms has a secret in it.

SARIF: docs.oasis-open.org/sarif/sarif/v2.1.0. Paths in it are relative to the folder that was asked about, as the
services that show it beside the source want them.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any
from urllib.parse import quote

from git_credential_bitbucket import __version__
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.paths import NAME
from git_credential_bitbucket.scan.found_secret import HISTORY, KEYRING, SecretFinding
from git_credential_bitbucket.scan.patterns import redacted

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
DOCUMENTATION = "https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/"
HINTS = {
    token_kinds.APP_PASSWORD: "Bitbucket removed app passwords on 28 July 2026; remove it, and create an API token",
    token_kinds.API_TOKEN: "revoke it at id.atlassian.com and create another; then run: git-credential-bitbucket login",
    token_kinds.ACCESS_TOKEN: "revoke it in the repository's or workspace's settings, and create another",
    token_kinds.PERSONAL_TOKEN: "revoke it on its Bitbucket Data Center and create another; then run: "
    "git-credential-bitbucket login --access-token --host URL",
}
REFERENCE_HINT = (
    "Bitbucket removed app passwords on 28 July 2026: use an API token, or for git this helper; "
    "in scripts: git-credential-bitbucket token"
)
UNKNOWN_HINT = "remove it; Bitbucket does not accept account passwords"
_TITLES = {
    token_kinds.APP_PASSWORD: "A Bitbucket app password in plain text",
    token_kinds.API_TOKEN: "An Atlassian API token in plain text",
    token_kinds.ACCESS_TOKEN: "A Bitbucket access token in plain text",
    token_kinds.PERSONAL_TOKEN: "A Bitbucket Data Center token in plain text",
}
MAX_TEXT_CHARACTERS = 10_000
_OTHER_TITLE = "A password for Bitbucket in plain text"
_REFERENCE_TITLE = "A reference to a Bitbucket app password"


def hint(finding: SecretFinding) -> str:
    """What to do about it."""
    return REFERENCE_HINT if finding.is_reference else HINTS.get(finding.match.kind, UNKNOWN_HINT)


def document(findings: list[SecretFinding], skipped: dict[str, int]) -> dict[str, Any]:
    """The JSON form."""
    return {"version": __version__, "findings": [_entry(f) for f in findings], "not_looked_at": skipped}


def _entry(finding: SecretFinding) -> dict[str, Any]:
    match = finding.match
    return {
        "rule": finding.rule,
        "level": finding.level,
        "source": finding.source,
        "path": _shown(finding.path),
        "line": finding.line,
        "commit": finding.commit,
        "blob": finding.blob,
        "times": finding.times,
        "repository": None if finding.repository is None else _shown(finding.repository),
        "kind": match.kind,
        "form": match.form,
        "certain": match.certain,
        "secret": None if finding.is_reference else match.secret.masked(),
        "name": None if match.name is None else _shown(match.name),
        "account": None if match.account is None else _shown(match.account),
        "host": match.host,
        "hint": hint(finding),
    }


def sarif(findings: list[SecretFinding], base: str, skipped: dict[str, int]) -> dict[str, Any]:
    """The SARIF form; `base` is the folder that paths are relative to."""
    order = sorted({finding.rule: finding for finding in findings}.items())
    rules = [
        {"id": name, "shortDescription": {"text": _title(one)}, "help": {"text": hint(one)}, "helpUri": DOCUMENTATION}
        for name, one in order
    ]
    notes = [
        {"level": "warning", "message": {"text": _plain(f"not searched: {count} {reason}")}}
        for reason, count in skipped.items()
    ]
    names = [name for name, _ in order]
    driver = {"name": NAME, "version": __version__, "informationUri": DOCUMENTATION, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "utf16CodeUnits",
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
        "results": [_result(finding, base, names) for finding in findings],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _title(finding: SecretFinding) -> str:
    return _REFERENCE_TITLE if finding.is_reference else _TITLES.get(finding.match.kind, _OTHER_TITLE)


def _result(finding: SecretFinding, base: str, order: list[str]) -> dict[str, Any]:
    text = f"{_plain(finding.what)} at {_plain(finding.where)}: {hint(finding)}"
    location: dict[str, Any] = {}
    if finding.source == KEYRING and finding.line is None:
        location["logicalLocations"] = [{"fullyQualifiedName": _plain(finding.path), "kind": "resource"}]
    else:
        location["physicalLocation"] = {
            "artifactLocation": {"uri": _uri(finding, base)},
            "region": {"startLine": finding.line or 1},
        }
    known = f"{finding.rule}\n{finding.repository or ''}{finding.path}\n{finding.line}\n{finding.commit}"
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": order.index(finding.rule),
        "level": finding.level,
        "message": {"text": text},
        "locations": [location],
        # of the place alone: a digest of the secret would let a short one be guessed
        "partialFingerprints": {"place/v1": hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()},
    }
    if finding.source == HISTORY:
        result["properties"] = {"commit": finding.commit, "blob": finding.blob, "times": finding.times}
    return result


def _uri(finding: SecretFinding, base: str) -> str:
    path = finding.path if finding.repository is None else f"{finding.repository}/{finding.path}"
    if finding.source != HISTORY or finding.repository is not None:
        inside = os.path.relpath(path, base) if path.startswith(base.rstrip("/") + "/") else None
        path = inside if inside is not None else f"file://{path}"
    scheme, found, rest = redacted(path).rpartition("file://")
    return scheme + found + quote(rest.encode("utf-8", "surrogateescape"), safe="/")


def _plain(text: str) -> str:
    """As a plain text message of SARIF: what it takes for a link (3.11.6) is none, and nothing in it is invisible."""
    return printable(redacted(text), MAX_TEXT_CHARACTERS).replace("[", "\\[").replace("]", "\\]")


def _shown(text: str) -> str:
    """Fit for UTF-8: bytes that were none are made visible."""
    return redacted(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
