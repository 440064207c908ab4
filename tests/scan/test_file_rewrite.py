"""cleaning: a file is changed whole or not at all, and putting back can be had again after it stopped half way."""

import errno
import os
import stat
from functools import partial
from pathlib import Path

import pytest

from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.scan import file_rewrite, locations
from git_credential_bitbucket.scan.found_secret import GIT_CONFIG, GIT_CREDENTIALS, KEYRING, SHELL
from git_credential_bitbucket.scan.patterns import CLOUD_HOSTS
from tests.fake_bitbucket import tokens
from tests.running import Runner
from tests.vault import peers

HELPER = "git-credential-bitbucket"


def planned(path: Path, source: str) -> file_rewrite.Rewrite:
    """What rids a file of all that is found in it."""
    place = locations.Location(str(path), source)
    text = path.read_bytes()
    return file_rewrite.plan_rewrite(place, text, locations.scan_text(text, place, CLOUD_HOSTS))


def stored(path: Path, token: str) -> Path:
    """An entry as git-credential-manager keeps it in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{token}\nservice=https://bitbucket.org\naccount=alice\n")
    path.chmod(0o600)
    return path


def test_undo_can_be_repeated_after_one_file_failed(alone: Runner, home: Path) -> None:
    """What is back stays as it is, whether others wrote to it meanwhile or not; and the backup is gone at the end."""
    dead = tokens.app_password()
    files = {
        home / ".git-credentials": f"https://x:y@x.org\nhttps://alice:{dead}@bitbucket.org\n",
        home / ".gitconfig": f'[remote "a"]\n\turl = https://alice:{dead}@bitbucket.org/a/b\n',
        home / ".bashrc": f"export BITBUCKET_APP_PASSWORD={dead}\n",
    }
    for path, text in files.items():
        path.write_text(text)
    kept = stored(home / ".gcm" / "store" / "git" / "https" / "bitbucket.org" / "a.credential", dead)
    files[kept] = kept.read_text()
    alone(HELPER, "migrate")
    with (home / ".git-credentials").open("a") as file:
        file.write("https://new:y@x.org\n")
    files[home / ".git-credentials"] += "https://new:y@x.org\n"
    (home / ".bashrc.lock").touch()
    for _ in range(2):
        refused = alone(HELPER, "migrate", "--undo", check=False)
        assert refused.returncode == 1
        assert f"another program is changing {home}/.bashrc" in refused.stderr
        assert ";" not in refused.stderr
    (home / ".bashrc.lock").unlink()
    alone(HELPER, "migrate", "--undo")
    for path, text in files.items():
        assert sorted(path.read_text().split("\n")) == sorted(text.split("\n")), path
    assert "there is nothing to undo" in alone(HELPER, "migrate", "--undo", check=False).stderr


def test_lines_that_were_there_twice_are_there_twice_again(tmp_path: Path) -> None:
    """Also where a person put one of them back by hand."""
    token = tokens.app_password()
    line = f"https://alice:{token}@bitbucket.org\n"
    kept = tmp_path / ".git-credentials"
    kept.write_text(f"{line}https://x:y@x.org\n{line}")
    made = planned(kept, GIT_CREDENTIALS)
    records = made.records()
    file_rewrite.rewrite_file(made)
    kept.write_text(f"{line}https://x:y@x.org\n")
    for _ in range(2):
        file_rewrite.restore(records)
        assert sorted(kept.read_text().split("\n")) == sorted(f"{line}{line}https://x:y@x.org\n".split("\n"))


def test_a_line_that_only_begins_like_the_one_taken_out_is_another(tmp_path: Path) -> None:
    """The last line of a file has no end of its own."""
    token = tokens.app_password()
    profile = tmp_path / ".bashrc"
    profile.write_text(f"one\nexport BITBUCKET_APP_PASSWORD={token}")
    made = planned(profile, SHELL)
    records = made.records()
    file_rewrite.rewrite_file(made)
    assert profile.read_text() == "one\nexport BITBUCKET_APP_PASSWORD="
    profile.write_text(f"export BITBUCKET_APP_PASSWORD={token}more\none\nexport BITBUCKET_APP_PASSWORD=")
    file_rewrite.restore(records)
    assert profile.read_text().endswith(f"one\nexport BITBUCKET_APP_PASSWORD={token}")


def test_a_removed_file_is_made_anew_whole_or_not_at_all(home: Path) -> None:
    """A full disk leaves no part of it in the way of the next try."""
    with peers.mounted(home / "small", "size=64k") as small:
        path = stored(small / "a.credential", tokens.app_password())
        text = path.read_bytes()
        made = planned(path, KEYRING)
        records = made.records()
        file_rewrite.rewrite_file(made)
        filler = small / "filler"
        with filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096 and os.statvfs(small).f_bavail:
                pass
        with pytest.raises(Error, match="no space left"):
            file_rewrite.restore(records)
        assert not path.exists()
        filler.unlink()
        for _ in range(2):
            file_rewrite.restore(records)
            assert path.read_bytes() == text
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.write_text("another program's\n")
        with pytest.raises(Error, match="file exists"):
            file_rewrite.restore(records)
        assert path.read_text() == "another program's\n"


@pytest.mark.parametrize(
    ("failure", "said"), [(errno.EINVAL, None), (errno.EIO, "was changed, but the change may not survive a crash")]
)
def test_what_was_done_is_never_told_as_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: int, said: str | None
) -> None:
    """SMB and FUSE sync no folder, a broken disk fails at it. Neither is at hand: `fsync` is made to fail there."""
    sync = os.fsync

    def on_files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(failure, os.strerror(failure))
        sync(descriptor)

    config = tmp_path / "config"
    before = f'[remote "a"]\n\turl = https://alice:{tokens.app_password()}@bitbucket.org/a/b\n'
    config.write_text(before)
    kept = stored(tmp_path / "a.credential", tokens.app_password())
    changes = [planned(config, GIT_CONFIG), planned(kept, KEYRING)]
    records = [change.records() for change in changes]
    monkeypatch.setattr(os, "fsync", on_files_only)
    steps = [
        *(partial(file_rewrite.rewrite_file, one) for one in changes),
        *(partial(file_rewrite.restore, one) for one in records),
    ]
    for step in steps:
        if said is None:
            step()
        else:
            with pytest.raises(Error, match=said):
                step()
        if step is steps[1]:
            assert config.read_text() == '[remote "a"]\n\turl = https://bitbucket.org/a/b\n'
            assert not kept.exists()
    assert config.read_text() == before
    assert kept.read_bytes() == changes[1].before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.credential", "config"]
