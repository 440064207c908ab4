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
    from git_credential_bitbucket.client.environment_tokens import EnvironmentCredential

_PREFIX = "git_credential_bitbucket"
MAX_LABEL_CHARACTERS = 1000


def text(report: status_report.Report) -> str:
    """The metrics of a report."""
    stored, offered, is_broken = report.credentials, report.offered, bool(report.environment_trouble)
    names = {one["id"]: _labels(one) for one in offered} | {one.variable: _variable(one) for one in report.tokens}
    told = {names[name]: verdict["verdict"] for name, verdict in report.verdicts.items() if name in names}
    static = [one for one in offered if one["renewed_at"] is None]
    metrics: dict[str, tuple[str, Sequence[tuple[str, float]]]] = {
        "vault_readable": (
            "Whether the stored credentials can be read (1) or not (0).",
            [("", not (report.vault["trouble"] or report.vault["state"] == "locked"))],
        ),
        "daemon_running": ("Whether a daemon answered.", [("", report.daemon is not None)]),
        "credential_ready": (
            "Whether a credential is offered to git (1), or not, with the reason in `state` (0).",
            [(_labels(one, state=one["state"]), one["state"] == "ready") for one in stored],
        ),
        "credential_end_timestamp_seconds": (
            "When a credential that does not renew itself expires, where that is known.",
            [(_labels(one), at) for one in offered if (at := status_report.expiry_of(one)) is not None],
        ),
        "credential_last_used_timestamp_seconds": (
            "When a credential was last given to git.",
            [(_labels(one), one["last_used_at"]) for one in stored if one["last_used_at"]],
        ),
        "credential_renewed_timestamp_seconds": (
            "When a credential that renews itself was last renewed.",
            [(_labels(one), one["renewed_at"]) for one in offered if one["renewed_at"]],
        ),
        "credential_expiry_known": (
            "Whether it is known when a credential that does not renew itself expires (1), or not (0).",
            [(_labels(one), not status_report.is_expiry_unknown(one)) for one in static],
        ),
        "environment_credential_ready": (
            "Whether a token in the environment is offered to git, before any stored one (1), or not (0).",
            [(_variable(one), not is_broken) for one in report.tokens],
        ),
        "environment_usable": ("Whether the environment holds nothing that cannot be used.", [("", not is_broken)]),
        "credential_checked": (
            "With --check: whether Bitbucket said if a credential is valid (1), or not (0).",
            [(labels, verdict in ("valid", "rejected")) for labels, verdict in told.items()],
        ),
        "credential_rejected": (
            "Whether Bitbucket rejects a credential, by --check or else by git's last request.",
            [(_labels(one), report.is_rejected(one["id"]) or _was_rejected(one)) for one in stored]
            + [(_variable(one), report.is_rejected(one.variable)) for one in report.tokens],
        ),
    }
    lines = []
    for name, (meaning, samples) in metrics.items():
        lines += [f"# HELP {_PREFIX}_{name} {meaning}", f"# TYPE {_PREFIX}_{name} gauge"]
        lines += [f"{_PREFIX}_{name}{labels} {value:.0f}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _was_rejected(one: CredentialView) -> bool:
    return one["state"] in ("suspended", "login-expired") or (one["state"] == "disabled" and not one["replaced_by"])


def _variable(token: EnvironmentCredential) -> str:
    return f'{{variable="{_escaped(token.variable)}"}}'


def _labels(one: CredentialView, **more: str) -> str:
    values = {"id": one["id"], "scope": one["scope"], "kind": one["kind"], "account": one["account"] or "", **more}
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items()) + "}"


def _escaped(value: str) -> str:
    """As the format wants it, and fit for a terminal: what is neither text nor visible is made so."""
    return printable(value, MAX_LABEL_CHARACTERS).replace("\\", "\\\\").replace('"', '\\"')
