"""System checks: definitions and providers that cannot work. They look at what is registered alone,
and ask no provider."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from sagas import providers, registry
from sagas.problems import problems

TAG = "sagas"
#: Of a provider: see ``sagas.providers.InfrastructureProvider``.
FUNCTIONS = ("create", "verify", "destroy", "ping")


@register(TAG)
def check_sagas(**_options: object) -> list[CheckMessage]:
    """sagas.E001 to E008 for each definition, E009 for two of one kind and version."""
    found: list[CheckMessage] = [
        Error(
            f"{registry.path_of(saga)}: {problem.message}",
            hint=problem.hint,
            id=f"sagas.E{problem.number:03}",
        )
        for saga in (*registry.definitions(), *registry.nameless())
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


@register(TAG)
def check_providers(**_options: object) -> list[CheckMessage]:
    """sagas.E010 for SAGAS_PROVIDERS."""
    try:
        known = providers.registered()
    except ImproperlyConfigured as error:
        hint = 'It is like {"process": "sagas.providers.process.ProcessProvider"}.'
        return [Error(str(error), hint=hint, id="sagas.E010")]
    return [
        Error(
            f"{providers.SETTING}[{name!r}]: {getattr(found, '__qualname__', found)!r} has no "
            f"{', '.join(missing)}.",
            hint=f"A provider is a class with {', '.join(FUNCTIONS)}.",
            id="sagas.E010",
        )
        for name, found in known.items()
        if (missing := [one for one in FUNCTIONS if not callable(getattr(found, one, None))])
    ]
