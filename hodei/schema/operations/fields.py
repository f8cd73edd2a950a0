"""Fields of a model in the state of a migration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.migrations.state import ProjectState
from django.db.models import Model


def field_of(model: type[Model], name: str) -> Any:
    """The field of that name; no relation from another model is asked for here."""
    return model._meta.get_field(name)


def change_fields(
    state: ProjectState, app_label: str, model_name: str, changes: Mapping[str, dict[str, Any]]
) -> None:
    """Change attributes of several fields, rendering the model once."""
    key = app_label, model_name.lower()
    fields = state.models[key].fields
    for name, attributes in changes.items():
        _name, _path, args, kwargs = fields[name].deconstruct()
        fields[name] = type(fields[name])(*args, **{**kwargs, **attributes})
    state.reload_model(*key, delay=True)
