"""The URLs of a project whose AdminSite is one of its own."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.urls import URLPattern, URLResolver, path

from hodei.schema.admin import MigrationRunAdmin
from hodei.schema.models import MigrationRun


def office() -> list[URLPattern | URLResolver]:
    """The addresses of a new site."""
    site = AdminSite(name="backoffice")
    site.register(MigrationRun, MigrationRunAdmin)
    return [path("office/", site.urls)]


urlpatterns = office()
