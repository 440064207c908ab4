"""Writes what is derived from the program: the manual page, and the help in README.md. `python -m install.manual`.

The verbs come from click, settings and guidance from README.md and the guide, the rest of the page is here. A test says
when it has to be run again.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from git_credential_bitbucket import __version__
from git_credential_bitbucket.cli import app

NAME = "git-credential-bitbucket"
README = Path(__file__).parent.parent / "README.md"
GUIDE = README.parent / ".github" / "GUIDE.md"
PAGE = Path(__file__).parent / f"{NAME}.1"
GUIDANCE = "Choosing a token"
FROM_GUIDE = ("Bitbucket Data Center", "Secret managers")
HELP_MARK = "<!-- help -->\n```text\n"

HEAD = rf""".\" Written by install/manual.py
.TH GIT-CREDENTIAL-BITBUCKET 1 "2026-11-22" "{NAME} {__version__}" "Git Manual"
.ad l
.nh
.SH NAME
git\-credential\-bitbucket \- give git the right Bitbucket token, and keep it fresh
.SH SYNOPSIS
.nf
git\-credential\-bitbucket \fICOMMAND\fR [\fIOPTION\fR ...]
git credential\-bitbucket \fICOMMAND\fR [\fIOPTION\fR ...]
git\-credential\-bitbucket (get|store|erase|capability)
.fi
.SH DESCRIPTION
A credential helper for Bitbucket Cloud, see
.BR gitcredentials (7).
After \fBgit\-credential\-bitbucket configure\fR, git asks it for a credential whenever it needs one for
https://bitbucket.org, and gets the token with the narrowest scope: the repository's, else its project's or workspace's,
else the one for all of Bitbucket.
Tokens are stored in an encrypted vault; a daemon, started on demand, answers git and renews OAuth tokens before they
expire.
.PP
In the second form git finds the program by its name; in the third git runs it as a helper.
"""
TAIL = r"""
.SH FILES
.TP
.I ~/.local/share/git\-credential\-bitbucket/vault
The vault, and beside it its previous version; in \fBXDG_DATA_HOME\fR if that is set.
.TP
.I $XDG_RUNTIME_DIR/git\-credential\-bitbucket/socket
git's socket; in \fI/run/user/UID\fR if the variable is not set, or in \fI~/.cache\fR if that does not exist.
It speaks the protocol of
.BR git\-credential\-cache (1),
and may be forwarded. Another vault's is \fIsocket\-\fR and a hash of its path.
.TP
.I $XDG_RUNTIME_DIR/git\-credential\-bitbucket\-control/socket
The control socket, for all other commands. A process that can open it controls the daemon: never forward or mount it.
.TP
.I $XDG_RUNTIME_DIR/git\-credential\-bitbucket\-guests/socket
The socket for the users in \fBGIT_CREDENTIAL_BITBUCKET_PEERS\fR.
.TP
.I $XDG_RUNTIME_DIR/git\-credential\-bitbucket\-grants/ID/socket
The limited socket of a \fBgrant\fR.
.SH EXIT STATUS
.TP
.B 0
Success. As a helper always: git ignores it.
.TP
.B 1
An error; standard error has its cause and a hint. \fBstatus \-\-fail\-within\fR: something expires.
.TP
.B 2
Usage error.
.TP
.B 3
\fBdaemon status\fR: no daemon is running.
.TP
.B 130, 141
Ctrl-C; the output was closed.
.PP
\fBexec\fR exits with its command's status, 126 if that cannot be run, or 127 if it is not found.
.SH EXAMPLES
Set up git, and log in:
.PP
.in +4n
.nf
$ git\-credential\-bitbucket configure
$ git\-credential\-bitbucket login
.fi
.in
.PP
Store a token for one repository, which is used there before any other:
.PP
.in +4n
.nf
$ git\-credential\-bitbucket login \-\-access\-token \-\-for acme/app
.fi
.in
.PP
Use a token in the environment of a CI job:
.PP
.in +4n
.nf
$ BITBUCKET_ACCESS_TOKEN=... git clone https://bitbucket.org/acme/app.git
.fi
.in
.SH SEE ALSO
.BR git\-credential (1),
.BR git\-credential\-cache (1),
.BR gitcredentials (7)
"""


def page() -> str:
    """The manual page, in man(7)."""
    readme, guide = (path.read_text(encoding="utf-8") for path in (README, GUIDE))
    texts = [section(readme, GUIDANCE), *(f"### {title}\n\n{section(guide, title).strip()}" for title in FROM_GUIDE)]
    told = guidance("\n\n".join(map(str.strip, texts)))
    parts = [HEAD, ".SH COMMANDS\n", *verbs(), *settings(guide), ".SH CHOOSING A TOKEN\n", *told, TAIL]
    return re.sub(r"(\.S[HS] .*\n)\.PP\n", r"\1", "".join(parts).replace("\n\n", "\n"))


def verbs() -> Iterator[str]:
    """Each verb with its options."""
    context = click.Context(app.verbs, info_name=NAME)
    for section, lines in app.SECTIONS.items():
        names = [name for name in lines if app.is_command(name)]
        if names:
            yield f".SS {section}\n"
        for name in names:
            command = app.verbs.get_command(context, name)
            if command is not None:
                yield from verb(command, click.Context(command, info_name=name, parent=context), name)


def verb(command: click.Command, context: click.Context, name: str) -> Iterator[str]:
    """One verb; a group's verbs follow it."""
    usage = "" if isinstance(command, click.Group) else " ".join(command.collect_usage_pieces(context))
    yield f".TP\n\\fB{roff(name)}\\fR {roff(usage)}".rstrip() + "\n"
    yield from prose(command.help or "")
    yield from options(command, context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None:
                yield from verb(found, click.Context(found, info_name=below, parent=context), f"{name} {below}")


def prose(text: str) -> Iterator[str]:
    """Paragraphs; what is set apart by click's mark for it is left as it is."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if number:
            yield ".IP\n"
        if paragraph.startswith("\b\n"):
            yield f".nf\n{roff(inspect.cleandoc(paragraph[2:]))}\n.fi\n"
        else:
            # A sentence a line, as is the custom: what a page is built from is read, too.
            sentences = re.sub(r"(?<=[.;:]) (?=[A-Z])", "\n", " ".join(paragraph.split()))
            yield roff(sentences) + "\n"


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """A list inside the verb's entry; --help is everywhere, and left out."""
    records = [parameter.get_help_record(context) for parameter in command.params]
    told = [record for record in records if record is not None and record[1]]
    if told:
        yield ".RS\n"
        for names, text in told:
            yield f".TP\n\\fB{roff(names)}\\fR\n{roff(text)}\n"
        yield ".RE\n"


def settings(guide: str) -> Iterator[str]:
    """The guide's tables of settings."""
    for heading, mark in (("ENVIRONMENT", "| variable | meaning |"), ("CONFIGURATION", "| key | meaning |")):
        yield f".SH {heading}\n"
        for cells in rows(guide, mark):
            yield f".TP\n{roff(cells[0])}\n{roff(cells[1])}\n"


def section(text: str, title: str) -> str:
    """The text under a heading of README.md or the guide."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def guidance(text: str) -> Iterator[str]:
    """Paragraphs, subsections, commands and tables; a row is its first cell, the others below it."""
    for paragraph in re.sub(r"<!--.*-->\n", "", text).strip().split("\n\n"):
        if paragraph.startswith("### "):
            yield f".SS {roff(paragraph[4:])}\n"
        elif paragraph.startswith("```"):
            lines = "\n".join(paragraph.split("\n")[1:-1])
            yield f".PP\n.nf\n{roff(lines)}\n.fi\n"
        elif paragraph.startswith("|"):
            for who, *cells in rows(paragraph, paragraph.partition("\n")[0]):
                yield f".TP\n{roff(who[:1].upper() + who[1:])}\n"
                yield "\n.br\n".join(roff(cell) for cell in cells if cell) + "\n"
        else:
            yield ".PP\n" + "".join(prose(paragraph))


def rows(text: str, header: str) -> list[list[str]]:
    """The rows of the table with that header."""
    _, _, after = text.partition(header + "\n")
    table = after.partition("\n\n")[0].split("\n")[1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table if line.startswith("|")]


def roff(text: str) -> str:
    """Text for troff: nothing in it is a request, what is code is bold, a minus can be copied."""
    for plain, escaped in (("\\", "\\e"), ("-", "\\-"), ("…", "..."), ("→", "->"), ("“", "\\(lq"), ("”", "\\(rq")):
        text = text.replace(plain, escaped)
    text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


def readme_with_help() -> str:
    """README.md with the help as it is today."""
    before, mark, after = README.read_text(encoding="utf-8").partition(HELP_MARK)
    return before + mark + main_help() + after[after.index("```\n") :]


def main_help() -> str:
    """What `--help` prints on a terminal of eighty columns."""
    # Click leaves two columns free.
    context = click.Context(app.verbs, info_name=NAME, **{**app.verbs.context_settings, "terminal_width": 78})
    return app.verbs.get_help(context) + "\n"


def main() -> None:
    """Write both."""
    README.write_text(readme_with_help(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
