"""Which sagas this process knows, and what one of all runners does beside driving them.

    @register
    class PlaceOrder(Saga): ...

    @elected(seconds=1.0)
    def start_what_is_needed(using: str) -> None: ...

Filled by modules named ``sagas`` of installed apps, which are imported when Django starts.
Pure: no Django, no database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hodei.values import shown
from sagas.definition import Saga

SagaClass = TypeVar("SagaClass", bound=type[Saga])
Duty = Callable[[str], None]
DutyFunction = TypeVar("DutyFunction", bound=Duty)


class SagaNotRegistered(LookupError):  # noqa: N818  (it reads as the fact it states)
    """No definition of this kind is registered in this process."""

    def __init__(self, kind: object) -> None:
        known = ", ".join(sorted({known for known, _ in _sagas})) or "none"
        super().__init__(
            f"kind is {shown(kind)}; registered are: {known}. Definitions stand in a module named "
            "sagas of an installed app, with @register."
        )


@dataclass(frozen=True, slots=True)
class Chore:
    """A function that one runner at a time calls, every so many seconds."""

    name: str
    seconds: float
    function: Duty


_sagas: dict[tuple[str, int], type[Saga]] = {}
#: Classes whose kind and version another one had already.
_rejected: list[type[Saga]] = []
#: Classes whose kind is no text, or whose version is no number.
_nameless: list[type[Saga]] = []
_chores: dict[str, Chore] = {}


def register(saga: SagaClass) -> SagaClass:
    """Decorate a definition. Mistakes in it are reported by ``manage.py check``."""
    key = _key(saga)
    if key is None:
        _nameless.append(saga)
        return saga
    known = _sagas.get(key)
    if known is not None and path_of(known) != path_of(saga):
        _rejected.append(saga)
    else:
        _sagas[key] = saga
    return saga


def unregister(saga: type[Saga]) -> None:
    """Undo ``register``: for tests."""
    key = _key(saga)
    if key is not None and _sagas.get(key) is saga:
        del _sagas[key]
    for classes in (_rejected, _nameless):
        if saga in classes:
            classes.remove(saga)


def _key(saga: type[Saga]) -> tuple[str, int] | None:
    kind: object = getattr(saga, "kind", None)
    version: object = saga.version
    return (kind, version) if isinstance(kind, str) and isinstance(version, int) else None


def elected(seconds: float, *, name: str | None = None) -> Callable[[DutyFunction], DutyFunction]:
    """Decorate a function of a database's alias: one of all runners calls it every so many seconds,
    on Django's connection in a transaction that also holds the lock which makes it the only one.
    What it raises is logged and undoes what it wrote, and it is called again next time."""

    def decorate(function: DutyFunction) -> DutyFunction:
        full = name or f"{function.__module__}.{function.__qualname__}"
        _chores[full] = Chore(full, seconds, function)
        return function

    return decorate


def definition(kind: str, version: int | None = None) -> type[Saga]:
    """The definition of this kind and version; without a version, of the highest one.

    Raises SagaNotRegistered.
    """
    if version is not None:
        found = _sagas.get((kind, version))
    else:
        versions = [number for known, number in _sagas if known == kind]
        found = _sagas[kind, max(versions)] if versions else None
    if found is None:
        raise SagaNotRegistered(kind)
    return found


def definitions() -> Sequence[type[Saga]]:
    """All that can be named, by kind and version."""
    return [_sagas[key] for key in sorted(_sagas)]


def nameless() -> Sequence[type[Saga]]:
    """Classes that nobody can start, since their kind or version is none."""
    return tuple(_nameless)


def rejected() -> Sequence[type[Saga]]:
    """Classes that are not used, since their kind and version are those of another one."""
    return tuple(_rejected)


def chores() -> Sequence[Chore]:
    return [_chores[name] for name in sorted(_chores)]


def path_of(saga: type[Saga]) -> str:
    return f"{saga.__module__}.{saga.__qualname__}"
