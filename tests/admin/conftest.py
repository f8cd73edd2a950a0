from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from hodei.sample import SampleReport, load_sample
from tests.samples import copied_out, copy_in

#: The sample's point in time. It is the past for whoever runs the tests, which no page minds.
NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def plain_http(settings: Any) -> None:
    """Pages over HTTP, whatever the environment says about DEBUG."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.SECURE_SSL_REDIRECT = False
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False


@pytest.fixture(scope="session")
def samples() -> list[tuple[SampleReport, dict[str, bytes]]]:
    """The sample, once it was loaded: its report, and the rows of its tables."""
    return []


@pytest.fixture
def sample(db: None, samples: list[tuple[SampleReport, dict[str, bytes]]]) -> SampleReport:
    """The sample as the first test has loaded it: a copy of its rows takes a thirtieth of that."""
    if not samples:
        loaded = load_sample(now=NOW)
        assert loaded is not None
        samples.append((loaded, copied_out(loaded.rows)))
        return loaded
    ((report, tables),) = samples
    copy_in(tables)
    return report


@pytest.fixture
def page(admin_client: Client) -> Client:
    return admin_client
