"""What ends the loop's wait from elsewhere: a job that ended in its thread, a signal."""

import socket


class WakeUp:
    """A pair of sockets. A class because both ends must stay open for as long as anybody may ring."""

    def __init__(self) -> None:
        """Make the pair; neither end ever blocks."""
        self.heard, self._rung = socket.socketpair()
        self.heard.settimeout(0.0)
        self._rung.settimeout(0.0)

    @property
    def descriptor(self) -> int:
        """A byte written here rings: for signal.set_wakeup_fd."""
        return self._rung.fileno()

    def ring(self) -> None:
        """Make `heard` readable. May be called from any thread."""
        try:
            self._rung.send(b"\0")
        except OSError:  # full: it rings already
            pass

    def clear(self) -> None:
        """Take all rings so far as heard."""
        try:
            self.heard.recv(4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Let go of both ends: nobody may ring any more."""
        self.heard.close()
        self._rung.close()
