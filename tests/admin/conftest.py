from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from hodei.sample import SampleReport, load_sample

#: The sample's point in time. It is the past for whoever runs the tests, which no page minds.
NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def plain_http(settings: Any) -> None:
    """Pages over HTTP, whatever the environment says about DEBUG."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.SECURE_SSL_REDIRECT = False
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False


@pytest.fixture
def sample(db: None) -> SampleReport:
    report = load_sample(now=NOW)
    assert report is not None
    return report


@pytest.fixture
def page(admin_client: Client) -> Client:
    return admin_client
