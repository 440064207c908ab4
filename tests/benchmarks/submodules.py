"""(i) A clone with 50 submodules while the token has expired: one refresh, and the time that it adds."""

import shutil
import time

from tests import git_versions
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Table, less, ratio
from tests.benchmarks.processes import once
from tests.benchmarks.sandbox import Seat, seat
from tests.benchmarks.traffic import CACHE, OURS, configure, git, helper
from tests.e2e.sandbox import Machine
from tests.fake_bitbucket.client import FakeBitbucket


def measure(bench: Bench) -> Table:
    """Clones by ours with an expired token and by credential-cache with a living one, in turn."""
    count = 5 if bench.quick else 50
    table = Table("i", f"git clone --recurse-submodules --jobs 8 with {count} submodules, over HTTPS")
    times: dict[str, list[float]] = {OURS: [], CACHE: []}
    refreshes, bare = [], []
    with FakeBitbucket() as bitbucket, seat() as user:
        configure(user, bitbucket, bench)
        url = superproject(bench, user, bitbucket, count)
        by_path = f"credential.{bitbucket.url}.useHttpPath"
        config = {
            OURS: ["-c", f"credential.helper={helper(bench, OURS)}", "-c", f"{by_path}=true"],
            CACHE: ["-c", f"credential.helper={helper(bench, CACHE)}", "-c", f"{by_path}=false"],
        }
        token = bitbucket.issue_access_token("acme")
        kept = f"protocol=https\nhost={bitbucket.netloc}\nusername=x-token-auth\npassword={token}\n"
        git(bench, user, [*config[CACHE], "credential", "approve"], kept)
        machine = Machine(user.home, user.env, git_versions.machine_git(), bench.main, bitbucket)
        for _ in range(1 if bench.quick else 5):
            user.stop()
            shutil.rmtree(user.vault_file.parent, ignore_errors=True)
            bitbucket.revoke(machine.log_in(bitbucket.add_consumer(), expires_in=0))
            mark = bitbucket.mark()
            times[OURS].append(clone(bench, user, config[OURS], url))
            refreshes.append(len(bitbucket.token_requests(since=mark)))
            times[CACHE].append(clone(bench, user, config[CACHE], url))
            bare.append(once(bench.python(user)).wall)
    table.add("ours, expired token", times[OURS])
    table.add("credential-cache, living token", times[CACHE])
    table.hold("refreshes in one clone", max(refreshes), 1, "")
    more = ratio(less(times[OURS], times[CACHE]), bare)
    table.hold("longer than with credential-cache / bare python", more, 66)
    return table


def superproject(bench: Bench, user: Seat, bitbucket: FakeBitbucket, count: int) -> str:
    """A repository with `count` others in it; returns its address."""
    url = bitbucket.create_repository("acme/super")
    token = bitbucket.issue_access_token("acme")
    work = user.home / "work" / "super"
    git(bench, user, ["clone", "--quiet", url.replace("https://", f"https://x-token-auth:{token}@"), str(work)])
    inside = ["-C", str(work), "-c", "user.name=Alice", "-c", "user.email=alice@example.com"]
    sections = []
    for nth in range(count):
        part = bitbucket.create_repository(f"acme/part{nth}")
        link = f"160000,{bitbucket.head(f'acme/part{nth}')},part{nth}"
        git(bench, user, [*inside, "update-index", "--add", "--cacheinfo", link])
        sections.append(f'[submodule "part{nth}"]\n\tpath = part{nth}\n\turl = {part}\n')
    (work / ".gitmodules").write_text("".join(sections))
    git(bench, user, [*inside, "add", ".gitmodules"])
    git(bench, user, [*inside, "commit", "--quiet", "--message", "parts"])
    git(bench, user, [*inside, "push", "--quiet"])
    return url


def clone(bench: Bench, user: Seat, config: list[str], url: str) -> float:
    """Milliseconds of one whole clone."""
    folder = user.home / "work" / "clone"
    shutil.rmtree(folder, ignore_errors=True)
    begun = time.perf_counter()
    git(bench, user, [*config, "clone", "--quiet", "--recurse-submodules", "--jobs", "8", url, str(folder)])
    return (time.perf_counter() - begun) * 1000
