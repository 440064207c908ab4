"""Odd answers of the token endpoint: what becomes of the new refresh token, of the access token, and what is told."""

import json
from dataclasses import dataclass, replace

import pytest

from git_credential_bitbucket.bitbucket.token_response import MAX_KEPT_BYTES, RawAnswer, interpret

URL = "https://bitbucket.org/site/oauth2/access_token"
SENT, NEW, ACCESS = "the-refresh-token-that-was-sent", "the+new/refresh-token==", "the_new-access.token="
R, A = f'"refresh_token": "{NEW}"', f'"access_token": "{ACCESS}"'
BOTH = f"{A}, {R}"
NO_TOKEN, NO_OBJECT, NO_REASON = "without a usable access token", "other than a JSON object", "gave no reason"
CUT = "the connection was cut"


@dataclass(frozen=True)
class Odd:
    """One odd answer. `kept`: whether the new refresh token is found; `told`: of the error, None where there is none
    and the access token is used.
    """

    body: str | bytes
    told: str | None
    kept: bool = True
    status: int = 200
    cut: bool = False
    content_type: str = "application/json"

    def raw(self) -> RawAnswer:
        """As it arrives."""
        body = self.body if isinstance(self.body, bytes) else self.body.encode()
        return RawAnswer(self.status, self.content_type, None, body, CUT if self.cut else None)


ODD = {
    # the access token
    "no access token": Odd(f"{{{R}}}", NO_TOKEN),
    "a null access token": Odd(f'{{"access_token": null, {R}}}', NO_TOKEN),
    "an empty access token": Odd(f'{{"access_token": "", {R}}}', NO_TOKEN),
    "a number for an access token": Odd(f'{{"access_token": 7, {R}}}', NO_TOKEN),
    "an access token in a list": Odd(f'{{"access_token": ["{ACCESS}"], {R}}}', NO_TOKEN),
    "a non-ASCII access token": Odd(f'{{"access_token": "t\u00f6ken", {R}}}', NO_TOKEN),
    "an access token of two lines": Odd(f'{{"access_token": "two\\nlines", {R}}}', NO_TOKEN),
    "an access token with a NUL": Odd(f'{{"access_token": "nul\\u0000", {R}}}', NO_TOKEN),
    "an endless access token": Odd(f'{{"access_token": "{"x" * 40000}", {R}}}', NO_TOKEN),
    # numbers
    "a huge expires_in": Odd(f'{{{BOTH}, "expires_in": {"9" * 5000}}}', None),
    "a huge integer elsewhere": Odd(f'{{"id": {"7" * 100000}, {BOTH}}}', None),
    "a huge negative integer": Odd(f'{{"id": -{"7" * 5000}, {BOTH}}}', None),
    "a huge exponent": Odd(f'{{{BOTH}, "expires_in": 1e99999}}', None),
    "not a number": Odd(f'{{{BOTH}, "expires_in": NaN}}', None),
    "an infinite lifetime": Odd(f'{{{BOTH}, "expires_in": -Infinity}}', None),
    "a lifetime in words": Odd(f'{{{BOTH}, "expires_in": "two hours"}}', None),
    "a nested lifetime": Odd(f'{{{BOTH}, "expires_in": {{"seconds": 7200}}}}', None),
    # status and error
    "an error beside it": Odd(f'{{"error": "invalid_grant", {BOTH}}}', "rejected the refresh token", status=400),
    "an error beside it and a 200": Odd(f'{{"error": "server_error", {BOTH}}}', "reported a server error"),
    "an error object": Odd(f'{{"error": {{"message": "hm"}}, {R}}}', "(hm)", status=401),
    "a null error": Odd(f'{{"error": null, {BOTH}}}', None),
    "an error that repeats the token that was sent": Odd(
        f'{{"error": "invalid_grant", "refresh_token": "{SENT}"}}', "rejected", kept=False, status=400
    ),
    "a 201": Odd(f"{{{BOTH}}}", None, status=201),
    "a redirect": Odd(f"{{{BOTH}}}", "redirect", status=302),
    "a 400": Odd(f"{{{BOTH}}}", NO_REASON, status=400),
    "a 429": Odd(f"{{{BOTH}}}", "rate of requests", status=429),
    "a 500": Odd(f"{{{BOTH}}}", "reported a server error (500)", status=500),
    "a gateway's page around it": Odd(f"<html><pre>{{{BOTH}}}</pre>", "server error (502)", status=502),
    # encodings
    "UTF-8 with a BOM": Odd(f"\ufeff{{{BOTH}}}", None),
    "UTF-16 with a BOM": Odd(f"{{{BOTH}}}".encode("utf-16"), None),
    "UTF-16, big end first": Odd(f"{{{BOTH}}}".encode("utf-16-be"), None),
    "UTF-16 that is cut": Odd(f'{{{R}, "scope": "re'.encode("utf-16")[:-1], CUT, cut=True),
    "UTF-32": Odd(f"{{{BOTH}}}".encode("utf-32-le"), None),
    "Latin-1": Odd(f'{{"name": "Jos\u00e9", {BOTH}}}'.encode("latin-1"), None),
    "bytes that are no text": Odd(f'{{"name": "\xff\xfe", {BOTH}}}'.encode("latin-1"), None),
    "a lone surrogate": Odd(f'{{"name": "\\ud800", {BOTH}}}', None),
    "escapes in the tokens": Odd(f"{{{BOTH}}}".replace("/", "\\/").replace("+", "\\u002b"), None),
    # shapes
    "a list": Odd(f"[{{{BOTH}}}]", NO_OBJECT),
    "a list of a list": Odd(f'[1, [{{"x": [{{{R}}}]}}]]', NO_OBJECT),
    "nested once": Odd(f'{{"data": {{{BOTH}}}}}', NO_TOKEN),
    "another one nested": Odd(f'{{{BOTH}, "was": {{"refresh_token": "{SENT}x"}}}}', None),
    "the one that was sent after it": Odd(f'[{{{R}, "was": {{"refresh_token": "{SENT}"}}}}]', NO_OBJECT),
    "its name twice, null at last": Odd(f'{{{BOTH}, "refresh_token": null}}', None),
    "its name twice, the old one at first": Odd(f'{{"refresh_token": "{SENT}", {BOTH}}}', None),
    "the access token's name twice": Odd(f'{{{BOTH}, "access_token": null}}', NO_TOKEN),
    "deep nesting beside it": Odd(f'{{{BOTH}, "x": {"[" * 20000}{"]" * 20000}}}', NO_OBJECT),
    "deep nesting without an end": Odd(f"{{{R}, {'[' * 200000}", NO_OBJECT),
    "form-encoded": Odd("access_token=the_new-access.token%3D&refresh_token=the%2Bnew/refresh-token%3D%3D&x=1", None),
    "form-encoded, at the end": Odd("refresh_token=the%2Bnew%2Frefresh-token%3D%3D", NO_OBJECT),
    "form-encoded, and cut in it": Odd("expires_in=1&refresh_token=the%2Bnew%2Frefr", CUT, kept=False, cut=True),
    "an error in a form": Odd("error=invalid_grant", "rejected the refresh token", kept=False, status=400),
    "a guard before it": Odd(f")]}}'\n{{{BOTH}}}", NO_OBJECT),
    "something after it": Odd(f"{{{BOTH}}} <!-- 3 ms -->", NO_OBJECT),
    "no comma": Odd(f"{{{A} {R}}}", NO_OBJECT),
    "a line break in another string": Odd(f'{{"x": "a\nb", {BOTH}}}', NO_OBJECT),
    "cut after it": Odd(f'{{{BOTH}, "expires_in": 72', CUT, cut=True),
    "cut after its quote": Odd(f"{{{BOTH}", CUT, cut=True),
    "cut in it": Odd(f"{{{A}, {R[:-3]}", CUT, kept=False, cut=True),
    "all there, though it was cut": Odd(f"{{{BOTH}}}", None, cut=True),
    "half a document that claims to be whole": Odd(f'{{{BOTH}, "exp', NO_OBJECT),
    "a wrong content type": Odd(f"{{{BOTH}}}", None, content_type="text/html; charset=klingon"),
    "much around it": Odd(f'{{"x": "{"y" * 2_000_000}", {BOTH}, "z": "{"y" * 2_000_000}"}}', None),
    "much around it, and cut": Odd(f'{{"x": "{"y" * 2_000_000}", {BOTH}, "z": "{"y" * 2_000_000}', CUT, cut=True),
    "many long scopes": Odd(f'{{{BOTH}, "scope": {json.dumps(["s" * 50] * 9000)}}}', None),
    # no usable refresh token
    "none": Odd(f"{{{A}}}", None, kept=False),
    "null": Odd(f'{{{A}, "refresh_token": null}}', None, kept=False),
    "empty": Odd(f'{{{A}, "refresh_token": ""}}', None, kept=False),
    "a number": Odd(f'{{{A}, "refresh_token": 7}}', None, kept=False),
    "with a line break": Odd(f'{{{A}, "refresh_token": "new\\ntoken"}}', None, kept=False),
    "with a raw line break": Odd(f'{{{A}, "refresh_token": "new\ntoken"}}', NO_OBJECT, kept=False),
    "with a blank": Odd(f'{{{A}, "refresh_token": "new token"}}', None, kept=False),
    "non-ASCII": Odd(f'{{{A}, "refresh_token": "n\u00e9w"}}', None, kept=False),
    "an object": Odd(f'{{{A}, "refresh_token": {{}}}}', None, kept=False),
    "endless": Odd(f'{{{A}, "refresh_token": "{"x" * 40000}"}}', None, kept=False),
    "its name in a text": Odd(
        '{"error": "x", "error_description": "no \\"refresh_token\\": \\"it\\""}', "x", kept=False
    ),
    "its name and nothing more": Odd('{"refresh_token"', NO_OBJECT, kept=False),
    "its name very often": Odd('{"refresh_token":"\\' * 200_000, NO_OBJECT, kept=False),
    "nothing": Odd("", NO_OBJECT, kept=False),
    "a word": Odd('"refresh_token"', NO_OBJECT, kept=False),
    "a page for people": Odd("<!doctype html><title>Log in</title>", NO_OBJECT, kept=False),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_the_new_refresh_token_is_found_before_the_rest_is_judged(odd: Odd) -> None:
    """Also in what is kept of a large answer, and in what was written down and read again."""
    raw = odd.raw()
    compact = raw.compact()
    assert len(compact.body) <= MAX_KEPT_BYTES
    for each in (raw, compact, RawAnswer.from_record(json.loads(json.dumps(compact.to_record())))):
        response = interpret(each, "refresh_token", URL, (SENT,))
        assert (response.refresh_token.reveal() if response.refresh_token else None) == (NEW if odd.kept else None)
        if odd.told is None:
            grant = response.granted()
            assert grant.access_token.reveal() == ACCESS
            assert grant.refresh_token == response.refresh_token
            assert grant.expires_in is None
        else:
            assert response.grant is None
            assert odd.told in str(response.error)
            assert not [secret for secret in (SENT, NEW, ACCESS) if secret in str(response.error)]


def test_the_table_is_long_enough_to_mean_something() -> None:
    """Both ways of each of the three questions are in it."""
    assert len(ODD) >= 40
    assert {each.kept for each in ODD.values()} == {each.told is None for each in ODD.values()} == {True, False}


def test_what_an_answer_shows_of_itself_holds_no_token() -> None:
    assert NEW not in repr(ODD["a 500"].raw())


def test_the_whole_grant_outlives_what_is_cut_away_around_it() -> None:
    text = f'{{"x": "{"y" * MAX_KEPT_BYTES}", {BOTH}, "expires_in": 7200, "scopes": "repository account"}}'
    raw = replace(ODD["none"], body=text).raw()
    assert interpret(raw, "refresh_token", URL) == interpret(raw.compact(), "refresh_token", URL)
    assert interpret(raw.compact(), "refresh_token", URL).granted().scopes == ("repository", "account")
