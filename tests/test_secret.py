"""Secrets do not show themselves."""

import pickle
import traceback

import pytest

from git_credential_bitbucket.secret import Secret


def test_no_way_of_printing_shows_the_secret() -> None:
    """repr, str, format and a traceback's locals stay silent."""
    secret = Secret("hush-hush")
    shown = f"{secret} {secret!r} {secret!s} {secret:>20} {[secret]}"
    with pytest.raises(TypeError) as raised:
        _ = secret + secret  # type: ignore[operator] # what must fail
    shown += "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    assert "hush" not in shown


def test_equality_is_by_content_and_only_with_secrets() -> None:
    """Two wrappings of one text are equal; a plain string never is."""
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")


def test_a_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hush"))


def test_a_short_secret_shows_nothing_when_masked() -> None:
    """Only long tokens show their kind's prefix."""
    assert Secret("x" * 39).masked() == "…"
    assert Secret("ATATT" + "x" * 100).masked() == "ATATT…"
