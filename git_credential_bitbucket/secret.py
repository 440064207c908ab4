"""A string that is not printed by accident. Imports nothing that costs time."""


class Secret:
    """Holds a secret, so that no `repr`, f-string, log line or traceback prints it; only `reveal()` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Wrap `text`."""
        self._text = text

    def reveal(self) -> str:
        """The secret itself; call it only where it leaves the program."""
        return self._text

    def masked(self) -> str:
        """The part that may be shown: the kind's prefix of five characters, of a secret that is long enough."""
        return f"{self._text[:5]}…" if len(self._text) >= 40 else "…"  # noqa: PLR2004 - shorter ones would give too much away

    def __repr__(self) -> str:
        """Never the secret."""
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        """Never the secret."""
        return format(repr(self), spec)

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """Compared in constant time, for both sides may come from outside."""
        if not isinstance(other, Secret):
            return NotImplemented
        from _operator import _compare_digest  # lazy: hmac costs 4 ms and pulls in OpenSSL

        return bool(_compare_digest(_bytes(self._text), _bytes(other._text)))

    def __hash__(self) -> int:
        """Equal secrets hash alike (randomised per process by Python)."""
        return hash(self._text)

    def __reduce__(self) -> str:
        """Refuse pickling, which would store it in plain text."""
        raise TypeError("a secret is not pickled")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
