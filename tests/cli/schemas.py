"""Owns the JSON schemas of what `--json` prints: a key that none of them describes fails the test that met it."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

FOLDER = Path(__file__).parents[2] / "git_credential_bitbucket" / "schemas"


def validated(name: str, text: str) -> Any:  # noqa: ANN401 - JSON
    """The document that a verb printed, which the schema of that name describes."""
    document = json.loads(text)
    _validator(name).validate(document)
    return document


@cache
def _validator(name: str) -> Draft202012Validator:
    found = {path.name: json.loads(path.read_text()) for path in FOLDER.iterdir()}
    registry: Registry[Any] = Registry().with_resources(
        (name, Resource.from_contents(schema)) for name, schema in found.items()
    )
    Draft202012Validator.check_schema(found[f"{name}.json"])
    return Draft202012Validator(found[f"{name}.json"], registry=registry)
