"""`status --prometheus`: metrics in the text format that a node exporter's textfile collector reads.

Format: prometheus.io/docs/instrumenting/exposition_formats. The file names workspaces and accounts, never a secret; it
is for a monitoring agent of another user, so its mode is what the umask gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.diagnostics import status_report
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from git_credential_bitbucket.agent.status_views import CredentialView

_PREFIX = "git_credential_bitbucket"
MAX_LABEL_CHARACTERS = 1000


def text(report: status_report.Report) -> str:
    """The metrics of a report."""
    lines: list[str] = []
    _metric(
        lines,
        "vault_readable",
        "Whether the stored credentials can be read (1) or not (0).",
        [("", 0 if report.vault["trouble"] or report.vault["state"] == "locked" else 1)],
    )
    _metric(lines, "daemon_running", "Whether a daemon answered.", [("", 1 if report.daemon is not None else 0)])
    _metric(
        lines,
        "credential_ready",
        "Whether a credential is offered to git (1), or not, with the reason in `state` (0).",
        [(_labels(one, state=one["state"]), 1 if one["state"] == "ready" else 0) for one in report.credentials],
    )
    _metric(
        lines,
        "credential_end_timestamp_seconds",
        "When a credential that does not renew itself expires, where that is known.",
        [(_labels(one), at) for one in report.offered if (at := status_report.expiry_of(one)) is not None],
    )
    _metric(
        lines,
        "credential_last_used_timestamp_seconds",
        "When a credential was last given to git.",
        [(_labels(one), one["last_used_at"]) for one in report.credentials if one["last_used_at"]],
    )
    _metric(
        lines,
        "credential_renewed_timestamp_seconds",
        "When a credential that renews itself was last renewed.",
        [(_labels(one), one["renewed_at"]) for one in report.offered if one["renewed_at"]],
    )
    _metric(
        lines,
        "credential_expiry_known",
        "Whether it is known when a credential that does not renew itself expires (1), or not (0).",
        [
            (_labels(one), 0 if status_report.is_expiry_unknown(one) else 1)
            for one in report.offered
            if one["renewed_at"] is None
        ],
    )
    _metric(
        lines,
        "environment_credential_ready",
        "Whether a token in the environment is offered to git, before any stored one (1), or not (0).",
        [(_variable(one.variable), 0 if report.environment_trouble else 1) for one in report.tokens],
    )
    _metric(
        lines,
        "environment_usable",
        "Whether the environment holds nothing that cannot be used.",
        [("", 0 if report.environment_trouble else 1)],
    )
    names = {one["id"]: _labels(one) for one in report.offered}
    names |= {one.variable: _variable(one.variable) for one in report.tokens}
    asked = {names[name]: told["verdict"] for name, told in report.verdicts.items() if name in names}
    _metric(
        lines,
        "credential_checked",
        "With --check: whether Bitbucket said if a credential is valid (1), or not (0).",
        [(labels, 1 if verdict in ("valid", "rejected") else 0) for labels, verdict in asked.items()],
    )
    _metric(
        lines,
        "credential_rejected",
        "Whether Bitbucket rejects a credential, by --check or else by git's last request.",
        [(_labels(one), 1 if report.is_rejected(one["id"]) or _was_rejected(one) else 0) for one in report.credentials]
        + [(_variable(one.variable), 1 if report.is_rejected(one.variable) else 0) for one in report.tokens],
    )
    return "\n".join(lines) + "\n"


def _was_rejected(one: CredentialView) -> bool:
    return one["state"] in ("suspended", "login-expired") or (one["state"] == "disabled" and not one["replaced_by"])


def _variable(name: str) -> str:
    return f'{{variable="{_escaped(name)}"}}'


def _metric(lines: list[str], name: str, meaning: str, samples: Sequence[tuple[str, float]]) -> None:
    lines += [f"# HELP {_PREFIX}_{name} {meaning}", f"# TYPE {_PREFIX}_{name} gauge"]
    lines += [f"{_PREFIX}_{name}{labels} {value:.0f}" for labels, value in samples]


def _labels(one: CredentialView, **more: str) -> str:
    values = {"id": one["id"], "scope": one["scope"], "kind": one["kind"], "account": one["account"] or "", **more}
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items()) + "}"


def _escaped(value: str) -> str:
    """As the format wants it, and fit for a terminal: what is neither text nor visible is made so."""
    return printable(value, MAX_LABEL_CHARACTERS).replace("\\", "\\\\").replace('"', '\\"')
