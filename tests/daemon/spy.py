"""A process of the same user that looks into whatever starts: run as a program, it imports the standard library only.

`spy.py WORD HEX`: until a line comes on standard input, it opens what /proc has of every process whose arguments hold
WORD (memory, environment, descriptors), takes copies of its sockets (pidfd_getfd(2)), and lets go of nothing. Then it
reads all of that again, and prints for each process where it found the secret whose bytes are HEX.
"""

import contextlib
import ctypes
import os
import re
import select
import socket
import sys

SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438
MOST_HELD = 800
READ_BYTES = 1 << 20
libc = ctypes.CDLL(None, use_errno=True)


class Spied:
    """A process that was looked into. Its state: what was opened of it, and where the secret was seen."""

    def __init__(self, pid: str) -> None:
        self.pid = pid
        self.memories: list[tuple[int, int]] = []
        self.sockets: list[socket.socket] = []
        self.files: dict[str, int] = {}
        self.seen: set[str] = set()

    def open_all(self) -> None:
        """Open what can be opened now; what was opened before another program was executed stays open."""
        if sum(len(one.memories) for one in spied.values()) < MOST_HELD:
            with contextlib.suppress(OSError):
                memory = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY)
                self.memories.append((memory, os.open(f"/proc/{self.pid}/maps", os.O_RDONLY)))
        with contextlib.suppress(OSError):
            if "environ" not in self.files:
                self.files["environ"] = os.open(f"/proc/{self.pid}/environ", os.O_RDONLY)
        with contextlib.suppress(OSError):
            for number in os.listdir(f"/proc/{self.pid}/fd"):
                with contextlib.suppress(OSError):
                    self.open_descriptor(number)

    def open_descriptor(self, number: str) -> None:
        """Open a descriptor as a file, or copy it if it is a socket."""
        link = os.readlink(f"/proc/{self.pid}/fd/{number}")
        if link in self.files or link.startswith(("/dev/", "anon_inode")):
            return
        if not link.startswith("socket:"):
            self.files[link] = os.open(f"/proc/{self.pid}/fd/{number}", os.O_RDONLY | os.O_NONBLOCK)
            return
        process = libc.syscall(SYS_PIDFD_OPEN, int(self.pid), 0)
        copy = libc.syscall(SYS_PIDFD_GETFD, process, int(number), 0)
        os.close(process)
        if copy >= 0:
            self.files[link] = copy
            self.sockets.append(socket.socket(fileno=copy))

    def listen(self) -> None:
        """Read what waits in the sockets, and leave it there."""
        for one in self.sockets:
            with contextlib.suppress(OSError):
                if secret in one.recv(1 << 20, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    self.seen.add("socket")

    def read_all(self) -> None:
        """Look for the secret in all that was opened."""
        self.listen()
        for memory, maps in self.memories:
            with contextlib.suppress(OSError):
                regions = os.pread(maps, 1 << 20, 0).decode()
                for start, end in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw", regions, re.MULTILINE):
                    at, stop = int(start, 16), int(end, 16)
                    if secret in os.pread(memory, min(stop - at, 64 * READ_BYTES), at):
                        self.seen.add("memory")
        for name, file in self.files.items():
            with contextlib.suppress(OSError):
                if not name.startswith("socket:") and secret in os.pread(file, READ_BYTES, 0):
                    self.seen.add(name.partition(" ")[0])


def is_meant(pid: str) -> bool:
    """Whether a process has WORD in its arguments, and is not this one."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return int(pid) != os.getpid() and word in file.read()
    except OSError:
        return False


if __name__ == "__main__":
    word, secret = sys.argv[1].encode(), bytes.fromhex(sys.argv[2])
    spied: dict[str, Spied] = {}
    print("looking", flush=True)  # noqa: T201 - the line that says it is ready
    while not select.select([sys.stdin], [], [], 0)[0]:
        for name in filter(str.isdigit, os.listdir("/proc")):
            if name in spied or is_meant(name):
                spied.setdefault(name, Spied(name)).open_all()
                spied[name].listen()
    for found in spied.values():
        found.read_all()
    opened = sum(len(found.memories) for found in spied.values())
    told = "; ".join(f"{name} {sorted(found.seen)}" for name, found in spied.items() if found.seen)
    print(f"{opened} memories; {told}")  # noqa: T201 - a command's answer
