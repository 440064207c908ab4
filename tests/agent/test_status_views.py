"""How credentials are shown as JSON: the fast encoding of thousands is the one of json."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from git_credential_bitbucket.agent import status_views

KEYS = list(status_views.CredentialView.__annotations__)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(), max_size=2))


@settings(max_examples=30)
@given(st.lists(VALUES, min_size=len(KEYS), max_size=len(KEYS)))
def test_a_credential_is_encoded_as_json_has_it(values: list[Any]) -> None:
    """Byte for byte, whatever the values are."""
    view: Any = dict(zip(KEYS, values, strict=True))
    assert status_views.encode_credential(view) == json.dumps(view, separators=(",", ":"))
