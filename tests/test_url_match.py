"""url_match.py against git itself: `git config --get-urlmatch` is the judge."""

import itertools
import subprocess
from pathlib import Path

import pytest

from git_credential_bitbucket import git_config, url_match

CONFIGURED = [
    "https://bitbucket.org",
    "https://bitbucket.org/",
    "HTTPS://BitBucket.ORG:443/acme",
    "https://bitbucket.org/acme/",
    "https://bitbucket.org/acme/app.git",
    "https://bitbucket.org/a/../acme/app",
    "https://bitbucket.org/%61cme/%2fx",
    "https://alice@bitbucket.org",
    "https://alice:secret@bitbucket.org/acme",
    "https://*.org",
    "https://*.example.com:8443",
    "https://*.*.com:8443/deep",
    "https://bit*.org",
    "https://sub.example.com:08443",
    "http://bitbucket.org",
    "http://bitbucket.org:80/acme",
    "https://bitbucket.org:444",
    "https://[::1]:8443/",
    "https://bitbucket.org/../x",
    "https://bitbucket.org/%zz",
    "bitbucket.org",
    "https://",
    "https://bitbucket.org:99999",
    "https://bitbucket.org/acme?x=1",
]
WANTED = [
    "https://bitbucket.org",
    "https://bitbucket.org/acme",
    "https://bitbucket.org/acme/app",
    "https://bitbucket.org/acme/app.git",
    "https://bitbucket.org/acme/app.git/info/lfs",
    "https://bitbucket.org/acmex",
    "https://bitbucket.org/acme//app",
    "https://bitbucket.org/acme/%2Fx/y",
    "https://alice@bitbucket.org/acme/app",
    "https://bob@bitbucket.org/acme/app",
    "https://evil.bitbucket.org/acme",
    "https://bitbucket.org.evil.example/acme",
    "https://sub.example.com:8443/deep/er",
    "https://example.com:8443",
    "http://bitbucket.org/acme",
    "https://bitbucket.org:444/acme",
    "https://[::1]:8443/repo",
    "https://bitbucket.org/acme?x=1",
]


def git_environment(home: Path) -> dict[str, str]:
    """An environment in which git sees no configuration but `home`'s."""
    return {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1"}


def write_config(home: Path, lines: list[str]) -> None:
    """Write `home`'s global configuration."""
    (home / ".gitconfig").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("wanted", WANTED)
def test_the_best_match_is_the_one_that_git_takes(tmp_path: Path, wanted: str) -> None:
    """For any URL, of all configured ones together and of each pair, git's choice is ours."""
    pairs = [list(pair) for pair in itertools.combinations(CONFIGURED, 2)]
    for configured in [CONFIGURED, CONFIGURED[::-1], *pairs[:: len(pairs) // 12]]:
        lines = ["[http]", "\tproxy = unscoped"]
        lines += [line for url in configured for line in (f'[http "{url}"]', f"\tproxy = {url}")]
        write_config(tmp_path, lines)
        env = git_environment(tmp_path)
        git = subprocess.run(
            ["git", "config", "--get-urlmatch", "http.proxy", wanted],
            env=env, cwd="/", capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert git_config.read(env).http(wanted, "proxy") == git.stdout.removesuffix("\n")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "://x",
        "https:",
        "https:///path",
        "1https://x",
        "https://x:0",
        "https://x:70000",
        "https://x:1a",
        "https://[::1",
        "https://x/%",
        "https://x/../..",
        "https://a b",
        "https://a\x00b",
        "https://é",
    ],
)
def test_what_is_no_url_matches_nothing(url: str) -> None:
    """A broken URL has no normal form, so that no setting can apply to it."""
    assert url_match.normalise(url) is None


def test_a_star_within_a_label_is_no_pattern() -> None:
    """Only a whole label may be a star, as in git."""
    assert url_match.normalise("https://bit*.org", globs=True) is None
    assert url_match.normalise("https://*.org", globs=True) is not None
    assert url_match.normalise("https://*.org") is None


@pytest.mark.parametrize(
    ("configured", "matches"),
    [
        ("bitbucket.org", True),
        ("bitbucket.org/acme", True),
        ("alice@bitbucket.org", True),
        ("bob@bitbucket.org", False),
        ("https://", True),
        ("http://", False),
        ("bitbucket.org/other", False),
        ("example.com", False),
        ("", True),
    ],
)
def test_partial_urls_match_by_what_they_name(configured: str, matches: bool) -> None:
    """`credential.example.com.helper` means any protocol there; git's credential.c has the rule."""
    assert url_match.match_partially("https://alice@bitbucket.org/acme", configured) is matches
