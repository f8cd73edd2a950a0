"""The provider that the documentation shows does what the protocol asks, against a small Docker."""

from __future__ import annotations

import re
import sys
import types
import uuid
from typing import Any

import pytest

from sagas.providers import InfrastructureProvider, Ping, ProviderRefused, WorkerOrder
from tests.processes import ROOT

PAGE = ROOT / "docs" / "how-to" / "sagas" / "write-a-provider.md"


class APIError(Exception):
    def __init__(self, status_code: int) -> None:
        super().__init__(f"{status_code}")
        self.status_code = status_code


class ImageNotFound(APIError):  # noqa: N818  (as the client calls it)
    pass


class Container:
    def __init__(self, docker: Docker, name: str, labels: dict[str, str], given: Any) -> None:
        self.docker, self.name, self.labels, self.given = docker, name, labels, given
        self.id = uuid.uuid4().hex
        self.status = "running"

    def start(self) -> None:
        self.status = "running"

    def stop(self, timeout: int) -> None:
        self.status = "exited"

    def remove(self, force: bool) -> None:
        self.docker.there.remove(self)


class Docker:
    """As much of the client as is used, with the daemon in it."""

    def __init__(self) -> None:
        self.there: list[Container] = []
        self.containers = self

    def run(self, image: str, command: list[str], **given: Any) -> Container:
        if image == "missing":
            raise ImageNotFound(404)
        if any(one.name == given["name"] for one in self.there):
            raise APIError(409)
        made = Container(self, given["name"], given["labels"], {**given, "command": command})
        self.there.append(made)
        return made

    def list(self, *, all: bool, filters: dict[str, str]) -> list[Container]:  # noqa: A002
        name, _, value = filters["label"].partition("=")
        return [one for one in self.there if one.labels.get(name) == value]


@pytest.fixture
def daemon() -> Docker:
    return Docker()


@pytest.fixture
def documented(daemon: Docker, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class of the page."""
    module, errors = types.ModuleType("docker"), types.ModuleType("docker.errors")
    module.DockerClient = lambda **_given: daemon  # type: ignore[attr-defined]
    errors.APIError, errors.ImageNotFound = APIError, ImageNotFound  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "docker", module)
    monkeypatch.setitem(sys.modules, "docker.errors", errors)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "shop.docker"}
    exec(compile(code, str(PAGE), "exec"), names)
    return names["DockerProvider"]


def order() -> WorkerOrder:
    return WorkerOrder(worker_id=uuid.uuid4(), token="id.secret", queues=("mail",), concurrency=4)


def test_it_is_a_provider(documented: Any) -> None:
    assert isinstance(documented({"image": "i"}), InfrastructureProvider)


def test_it_makes_finds_and_ends_a_worker(documented: Any, daemon: Docker) -> None:
    provider = documented({"image": "i", "environment": {"DATABASE_URL": "u"}})
    wanted = order()
    assert provider.verify("k") is None
    assert provider.ping("k", {}) is Ping.GONE

    handle = provider.create("k", wanted)

    (container,) = daemon.there
    assert handle == provider.verify("k") == provider.create("k", order()) == {"id": container.id}
    assert provider.ping("k", handle) is Ping.ALIVE
    words = "python manage.py jobs_worker --concurrency 4 --queues mail"
    assert container.given["command"] == words.split()
    assert container.given["environment"] == {"DATABASE_URL": "u", **wanted.environment()}
    assert "id.secret" not in str(container.labels)

    provider.destroy("k", handle)
    provider.destroy("k", handle)
    assert daemon.there == []


def test_one_that_was_made_and_not_started_is_started(documented: Any, daemon: Docker) -> None:
    provider = documented({"image": "i"})
    provider.create("k", order())
    daemon.there[0].status = "created"

    assert provider.verify("k") == {"id": daemon.there[0].id}
    assert daemon.there[0].status == "running"


def test_one_that_ended_is_gone(documented: Any, daemon: Docker) -> None:
    provider = documented({"image": "i"})
    handle = provider.create("k", order())
    daemon.there[0].status = "exited"

    assert provider.ping("k", handle) is Ping.GONE


def test_another_call_that_was_quicker_is_the_first(
    documented: Any, daemon: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = documented({"image": "i"})
    first = provider.create("k", order())
    answers = iter([[], daemon.there])
    monkeypatch.setattr(provider, "_of", lambda _key: next(answers))

    assert provider.create("k", order()) == first
    assert len(daemon.there) == 1


def test_an_image_that_is_not_there_is_refused(documented: Any) -> None:
    with pytest.raises(ProviderRefused):
        documented({"image": "missing"}).create("k", order())
