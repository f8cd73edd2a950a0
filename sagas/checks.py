"""System checks: definitions that cannot work. They look at what is registered alone."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, register

from sagas import registry
from sagas.problems import problems

TAG = "sagas"


@register(TAG)
def check_sagas(**_options: object) -> list[CheckMessage]:
    """sagas.E001 to E008 for each definition, E009 for two of one kind and version."""
    found: list[CheckMessage] = [
        Error(
            f"{registry.path_of(saga)}: {problem.message}",
            hint=problem.hint,
            id=f"sagas.E{problem.number:03}",
        )
        for saga in registry.definitions()
        for problem in problems(saga)
    ]
    found += [
        Error(
            f"{registry.path_of(saga)}: another definition is {saga.kind} version {saga.version}.",
            hint="Give it a kind of its own, or the next version.",
            id="sagas.E009",
        )
        for saga in registry.rejected()
    ]
    return found
