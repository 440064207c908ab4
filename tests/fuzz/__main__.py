"""Coverage-guided fuzzing: `python -m tests.fuzz parser|socket --seconds 600`, by atheris (`pip install atheris`), and
`python -m tests.fuzz environment --runs 10000000` of the native relay, by clang's libFuzzer (Debian: libclang-rt-dev).

Ends with 0 when nothing was found; else libFuzzer tells the input, and leaves it as a file for a test to be made of.
"""

import argparse
import base64
import json
import sys
import tempfile
from pathlib import Path

VECTORS = Path(__file__).parents[1] / "data" / "hostile-requests.json"
WORDS = (
    *("action=get", "action=store", "action=erase", "action=token", "action=add", "action=why", "action=mint"),
    *("action=status", "action=explain", "action=remove", "timeout=900", "protocol=https", "host=bitbucket.org"),
    *("host=neighbour.example", "path=acme/app.git", "username=", "password=", "capability[]=state", "state[]="),
    *("record={", "id=", "continue=1", "url=https://bitbucket.org/", "\\x00", "\\x0d", "\\x0a\\x0a"),
)
LIMITS = ("-rss_limit_mb=512", "-timeout=5", "-max_len=4096", "-print_final_stats=1")
"""Memory and time are promises too: one input may not cost more."""


def main() -> int:
    """Fuzz one target for so many seconds, or runs; returns the exit code of the relay's."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=("parser", "socket", "environment"))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=1_000_000, help="of the environment's token")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gcb-corpus-"))
    if chosen.target == "environment":
        from tests.fuzz import environment_token  # lazy: what atheris instruments must not have been imported

        status, said, compared = environment_token.fuzz(folder, chosen.runs)
        sys.stdout.write(f"{said[-2000:]}\n{compared} answers compared with Python's; {folder}\n")
        return status
    fuzz_python(folder, chosen.target, chosen.seconds)
    return 0


def fuzz_python(folder: Path, target: str, seconds: int) -> None:
    """Fuzz the parser or the daemon's inside for so many seconds."""
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]  # lazy: optional

    with atheris.instrument_imports(include=["git_credential_bitbucket"]):
        from tests.fuzz import targets
    prefix = b"action=get\n" if target == "socket" else b""
    for nth, case in enumerate(json.loads(VECTORS.read_text())):
        (folder / f"vector-{nth}").write_bytes(prefix + base64.b64decode(case["request_base64"])[:4096])
    words = folder.with_suffix(".words")
    words.write_text("".join(f'"{word}\\x0a"\n' for word in WORDS))
    arguments = [sys.argv[0], str(folder), f"-max_total_time={seconds}", f"-dict={words}"]
    arguments += [f"-artifact_prefix={folder}/found-", *LIMITS]
    atheris.Setup(arguments, targets.parser if target == "parser" else targets.Daemon())
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
