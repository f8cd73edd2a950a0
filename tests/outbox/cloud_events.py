"""What the specification of CloudEvents 1.0.2 says of an event as JSON, to hold ours against.

The shape is that of the published schema (draft 7; cloudevents/formats/cloudevents.json in the
repository of the specification), said in our words; what that leaves to the text, the types of
attributes and their names, is added: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema

_TEXT = {"type": "string", "minLength": 1}
_TEXT_OR_NONE = {"type": ["string", "null"], "minLength": 1}
#: No control characters (C0, DEL, C1).
_ALLOWED = r"^[^\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]*$"
#: An extension is a boolean, a whole number of 32 bits, or a text.
_EXTENSION = {
    "anyOf": [
        {"type": ["boolean", "null"]},
        {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
        {"type": "string", "pattern": _ALLOWED},
    ]
}

SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["id", "source", "specversion", "type"],
    "properties": {
        "id": {**_TEXT, "pattern": _ALLOWED},
        "source": {**_TEXT, "format": "uri-reference"},
        "specversion": {**_TEXT, "const": "1.0"},
        "type": {**_TEXT, "pattern": _ALLOWED},
        "datacontenttype": _TEXT_OR_NONE,
        "dataschema": {**_TEXT_OR_NONE, "format": "uri"},
        "subject": {**_TEXT_OR_NONE, "pattern": _ALLOWED},
        "time": {**_TEXT_OR_NONE, "format": "date-time"},
        "data": True,
        "data_base64": {"type": ["string", "null"], "contentEncoding": "base64"},
    },
    "propertyNames": {"anyOf": [{"const": "data_base64"}, {"pattern": "^[a-z0-9]{1,20}$"}]},
    "additionalProperties": _EXTENSION,
}

FORMATS = jsonschema.FormatChecker(formats=())
_REFERENCE = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"
)
_TIME = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
    r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
)


@FORMATS.checks("uri-reference")
def _is_reference(value: object) -> bool:
    return not isinstance(value, str) or _REFERENCE.fullmatch(value) is not None


@FORMATS.checks("date-time")
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or _TIME.fullmatch(value) is not None


_VALIDATOR = jsonschema.Draft7Validator(SCHEMA, format_checker=FORMATS)


def check(text: str | bytes) -> dict[str, Any]:
    """The event that a text in structured mode is. Raises jsonschema.ValidationError."""
    found: dict[str, Any] = json.loads(text)
    _VALIDATOR.validate(found)
    return found
