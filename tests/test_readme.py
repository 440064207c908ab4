"""README.md and the guide tell the truth: what they show is what the program says, and what they name is there."""

import ast
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from git_credential_bitbucket import config, paths
from git_credential_bitbucket.cli import app
from install import manual
from tests.cli.listed import listed
from tests.cli.person import Dialogue
from tests.fake_bitbucket.client import FakeBitbucket
from tests.installed import NAME, ROOT
from tests.running import Runner
from tests.sandbox import KEY_FILE, key_file, key_settings
from tests.sockets import free_port
from tests.vault.peers import KeyringSession

README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = manual.GUIDE.read_text(encoding="utf-8")
TEXT = f"{README}\n{GUIDE}"
PACKAGE = ROOT / "git_credential_bitbucket"
COLUMNS = 80
INTERNAL = {f"GIT_CREDENTIAL_BITBUCKET_{name}" for name in ("RELAYED", "SPAWNED", "OUTER", "DEFAULT_VAULT")}
"""Between programs of our own."""
GIT_READS = {"useHttpPath", "interactive"}
"""Keys of git's own that are told because they matter here."""
TELLING = 10
"""Characters that a text has of its own, at least, to be told from others."""
GIT_PROGRESS = ("remote: ", "Receiving objects", "Unpacking objects")


def block(mark: str) -> str:
    """The fenced block that follows a mark."""
    _, _, after = TEXT.partition(f"<!-- {mark} -->\n")
    return after.split("```")[1].partition("\n")[2]


def test_the_sections_are_in_their_order() -> None:
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == [
        "Install",
        "First use",
        "Which credential git gets",
        "Choosing a token",
        "Renewal and rejection",
        "Commands",
        "CI",
        "Containers and remote hosts",
        "Settings",
        "Troubleshooting",
        "Security",
        "Comparison",
        "Performance",
        "Development",
    ]


def test_the_help_is_the_programs_own(bare_env: dict[str, str], home: Path, executables: dict[str, Path]) -> None:
    """As the installed program prints it; written there by `python -m install.manual`."""
    told = Runner({**bare_env, "COLUMNS": str(COLUMNS)}, home)(executables["portable"], "--help").stdout
    assert block("help") == told, "run: python -m install.manual"


@pytest.fixture
def bitbucket_org(home: Path, executables: dict[str, Path], bitbucket: FakeBitbucket) -> Runner:
    """A new machine: the program in ~/.local/bin, the vault's key in a file, and the stand-in as bitbucket.org."""
    link = home / ".local" / "bin" / NAME
    link.parent.mkdir()
    link.symlink_to(executables["portable"])
    env = {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "PATH": f"{link.parent}:/usr/bin:/bin",
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
        "PS1": "$ ",
        "NO_COLOR": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **key_settings(home),
    }
    run = Runner(env, home / "work")
    run("git", "config", "--global", "http.proxy", bitbucket.proxy_url)
    run("git", "config", "--global", "http.sslCAInfo", bitbucket.ca_file)
    return run


@pytest.fixture
def desktop(home: Path, bitbucket_org: Runner) -> Iterator[dict[str, str]]:
    """A person's first day, with a keyring."""
    mine = ("GIT_CREDENTIAL_BITBUCKET_KEYRING", "GIT_CREDENTIAL_BITBUCKET_KEY_FILE", "GIT_TERMINAL_PROMPT")
    with KeyringSession(home) as session:
        yield {**session.env, **{name: value for name, value in bitbucket_org.env.items() if name not in mine}}


def test_the_transcript_is_what_happens(desktop: dict[str, str], home: Path, bitbucket: FakeBitbucket) -> None:
    """Typed into a real shell on a new machine; left out are git's progress, and the token, which is not shown."""
    bitbucket.create_repository("acme/app")
    typed = iter(re.findall(r"^\$ (.*)$", block("transcript"), re.MULTILINE))
    answers = {
        "How do you want to authenticate [2]: ": "2",
        "API token (not shown): ": bitbucket.issue_api_token(),
        "Enter to skip): ": "alice@example.com",
        "(Enter if unknown): ": "1y",
    }
    with Dialogue(["/bin/sh"], desktop, home / "work", columns=COLUMNS) as dialogue:
        prompt = re.compile("|".join(map(re.escape, ["\n$ ", *answers])))
        dialogue.reads("$ ")
        for command in typed:
            dialogue.types(command)
            while (asked := dialogue.reads_match(f"({prompt.pattern})")) != "\n$ ":
                dialogue.types(answers[asked])
        dialogue.types("exit")
        shown = dialogue.ends()
    lines = [re.sub(r".*\r", "", line).rstrip() for line in shown.partition("$ exit")[0].split("\n")]
    told = "\n".join(line for line in lines if not line.startswith(GIT_PROGRESS))
    told = re.sub(r"expires \d{4}-\d\d-\d\d", "expires 2027-11-22", told.replace(str(home), "/home/alice"))
    assert told == block("transcript")


def test_each_kind_of_login_that_is_advised_works(home: Path, bitbucket_org: Runner, bitbucket: FakeBitbucket) -> None:
    """Each command of the table, with what it asks for on standard input; git then gets that kind."""
    run = bitbucket_org
    bitbucket.create_repository("acme/app", project="WEB")
    callback = f"http://127.0.0.1:{free_port()}/"
    consumer = bitbucket.add_consumer(callback=callback)
    words = [sys.executable, "-m", "tests.fake_bitbucket.browser", "--ca", bitbucket.ca_file]
    browser = home / "browser"
    browser.write_text(
        f'#!/bin/sh\ncd {shlex.quote(str(ROOT))} && exec {shlex.join(words)} --proxy {bitbucket.proxy_url} "$1"\n'
    )
    browser.chmod(0o700)
    run.env["BROWSER"] = str(browser)
    run("git", "config", "--global", "credential.https://bitbucket.org.oauthRedirectURI", callback)
    run(NAME, "configure")
    answers = {
        "--oauth": f"{consumer.key}\n{consumer.secret}\n",
        "--client-credentials": f"{consumer.key}\n{consumer.secret}\n",
        "--api-token": bitbucket.issue_api_token(scopes=("read:repository:bitbucket",)),
        "--project": bitbucket.issue_access_token("acme", project="WEB", scopes=("repository",)),
        "--access-token": bitbucket.issue_access_token("acme/app", scopes=("repository",)),
        "exec": "",
    }
    told = [cells[2].strip("`") for cells in manual.rows(TEXT, "| who | what, and its scopes | command |")]
    for command in filter(None, told):
        stdin = next(text for word, text in answers.items() if word in command)
        job = {"BITBUCKET_ACCESS_TOKEN": answers["--access-token"]} if " exec " in command else {}
        since = bitbucket.mark()
        run(*shlex.split(command), stdin=stdin, env={**run.env, **job})
        if not job:
            run("git", "ls-remote", "https://bitbucket.org/acme/app.git")
            run(NAME, "logout", *(["bitbucket.org"] if "--oauth" in command else ["--all"]))
        names = {entry.username for entry in bitbucket.requests("git", since=since) if entry.auth}
        assert names == {"x-bitbucket-api-token-auth" if "--api-token" in command else "x-token-auth"}, command
    assert (home / "work" / "app" / ".git").is_dir()


def test_what_to_type_when_a_token_leaked(home: Path, bitbucket_org: Runner, bitbucket: FakeBitbucket) -> None:
    """Typed in that order, with the leaked token in a repository's history: it is replaced and found."""
    run = bitbucket_org
    bitbucket.create_repository("acme/app")
    leaked, new = bitbucket.issue_access_token("acme/app"), bitbucket.issue_access_token("acme/app")
    run(NAME, "configure")
    run(NAME, "login", "--access-token", "--for", "acme/app", stdin=leaked)
    published = home / "src" / "site"
    run("git", "init", "--quiet", published)
    for content in (f"https://x-token-auth:{leaked}@bitbucket.org/acme/app.git\n", "nothing\n"):
        (published / "remote").write_text(content)
        run("git", "-C", published, "add", "remote")
        run("git", "-C", published, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "Change")
    shown = {}
    with Dialogue(["/bin/sh"], run.env, home / "work", columns=160) as dialogue:
        dialogue.reads("$ ")
        for line in re.findall(r"^\$ (.*)$", block("leak"), re.MULTILINE):
            command = line.partition("  #")[0].strip()
            dialogue.types(f'{command}; echo "code=$?"')
            if " rotate " in command:
                dialogue.reads("https://bitbucket.org/acme/app/admin/access-tokens")
                dialogue.reads("(not shown): ")
                bitbucket.revoke(leaked)
                dialogue.types(new)
                dialogue.reads("(Enter if unknown): ")
                dialogue.types("90d")
            shown[command.split()[1]] = dialogue.reads_match(r"(?s)(.*code=\d)\s*\$ ")
        dialogue.types("exit")
        dialogue.ends()
    assert "acme/app" in shown["status"]
    assert "Bitbucket says that it is valid" in shown["status"]
    assert "rotate" in shown["log"]
    assert "remote:1: access token" in shown["audit"]
    assert [text[-1] for verb, text in shown.items() if verb != "audit"] == ["0", "0", "0"]
    run("git", "ls-remote", "https://bitbucket.org/acme/app.git")
    (old,) = (one for one in listed(run) if one["state"] == "disabled")
    run(NAME, "logout", old["id"])


def test_a_container_is_served_by_gits_own_client(
    home: Path, executables: dict[str, Path], bitbucket: FakeBitbucket, url: str
) -> None:
    """The two lines for a container, with nothing of ours in PATH; nothing is started where no daemon listens."""
    env = {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "XDG_RUNTIME_DIR": str(home / "run"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSL_CAINFO": bitbucket.ca_file,
    }
    machine = Runner({**env, KEY_FILE: str(key_file(home))}, home / "work")
    machine("git", "config", "--global", f"credential.{bitbucket.url}.provider", "bitbucket")
    token = bitbucket.issue_access_token("acme/app")
    ours = executables["portable"]
    machine(ours, "login", "--access-token", "--host", bitbucket.url, "--for", "acme/app", stdin=token)
    mounted = home / "run" / NAME
    container = Runner({**env, "HOME": str(home / "container")}, home / "work")
    (home / "container").mkdir()
    for line in block("container").splitlines():
        words = shlex.split(line.removeprefix("$ "))
        container(
            *[w.replace("https://bitbucket.org", bitbucket.url).replace("/bitbucket", str(mounted)) for w in words]
        )
    container("git", "clone", "--quiet", url)
    machine(ours, "daemon", "stop")
    left = sorted(mounted.iterdir())
    assert container("git", "-C", "app", "fetch", check=False).returncode != 0
    assert sorted(mounted.iterdir()) == left


def test_every_variable_is_in_the_table_and_every_one_in_the_table_is_read() -> None:
    """Those of ours, and those that hold credentials."""
    pattern = re.compile(r"\b((?:GIT_CREDENTIAL_)?BITBUCKET_[A-Z_]*[A-Z])\b")
    read = {name for path in PACKAGE.rglob("*.py") for name in pattern.findall(path.read_text(encoding="utf-8"))}
    told = {name for cells in manual.rows(TEXT, "| variable | meaning |") for name in pattern.findall(cells[0])}
    files = {f"{name}_FILE" for name in told if not name.startswith("GIT_")}
    assert told == read - INTERNAL - files


def test_each_setting_has_its_key_beside_it() -> None:
    """But the two that the text before the table names."""
    told = {}
    for cells in manual.rows(TEXT, "| variable | meaning |"):
        variable, *keys = re.findall(r"`([^`]*)`", cells[0])
        if variable.startswith(paths.OWN_PREFIX):
            told[variable.removeprefix(paths.OWN_PREFIX)] = keys
    assert told == {**{name: [config.key(name)] for name in config.CONFIGURABLE}, "KEY": [], "TRACE": []}


def test_every_key_of_gits_configuration_is_told() -> None:
    """What the program reads by `credential.*` and `http.*`; and nothing is told that it does not read."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    settings = manual.section(GUIDE, "Settings")
    told = set(re.findall(r"\b(?:oauth|api|bitbucketD)[A-Za-z]\w+|\bprovider\b|sslCA\w+|sslVerify", settings))
    read = set(re.findall(r'"((?:oauth|bitbucketD)[A-Za-z]\w+|apiURL|provider|sslCA\w+|sslVerify)"', source))
    assert told == read
    assert all(f'"{key}"' in source and key in settings for key in GIT_READS)


def messages() -> list[str]:
    """Every text of the program, with … for what it puts in."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_what_troubleshooting_quotes_is_what_the_program_says() -> None:
    """Each fits a text of the program; what either has as … may be anything."""
    quoted = [cells[0].strip("`") for cells in manual.rows(TEXT, "| it says | what happened, and what to do |")]
    said = [
        re.compile(".+".join(map(re.escape, pieces)))
        for pieces in (text.split("…") for text in messages())
        if len("".join(pieces)) >= TELLING
    ]
    assert [message for message in quoted if not any(text.fullmatch(message) for text in said)] == []


def test_every_verb_and_option_that_is_named_exists() -> None:
    """In commands to type, in text and in examples."""
    context = click.Context(app.verbs, info_name=NAME)
    known = {name: app.verbs.get_command(context, name) for name in app.verbs.list_commands(context)}
    for words in re.findall(rf"{NAME} ([a-z]+(?: [^\s`|&)]+)*)", TEXT.replace(block("transcript"), "")):
        verb, *rest = words.split()
        command = known.get(verb)
        assert command is not None, words
        options = {name for parameter in command.params for name in parameter.opts}
        before_its_own = rest[: rest.index("--")] if "--" in rest else rest
        assert {word for word in before_its_own if word.startswith("--")} <= options, words


def test_every_file_that_is_named_exists() -> None:
    """Links and scripts; a link within the page leads to a heading."""
    pages = {ROOT / "README.md": README, manual.GUIDE: GUIDE}
    for page, text in pages.items():
        for link, _, anchor in (found.partition("#") for found in re.findall(r"\]\(([^)]+)\)", text)):
            target = (page.parent / link).resolve() if link else page
            assert link.startswith("https://") or target.exists(), link
            titles = re.findall(r"^## (.*)$", pages.get(target, ""), re.MULTILINE)
            assert anchor in ("", *(title.lower().replace(" ", "-") for title in titles)), f"{link}#{anchor}"
    for script in re.findall(r"\b(install/[a-z]+)\b", TEXT):
        assert os.access(ROOT / script, os.X_OK), script
