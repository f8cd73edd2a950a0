"""The URLs of a project that has jobs, and neither an outbox nor sagas."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.urls import include, path

from hodei.admin import schema_part  # noqa: F401  (it registers itself)
from hodei.admin.overview import pages
from hodei.schema.admin import MigrationRunAdmin
from hodei.schema.models import MigrationRun
from jobs.admin.work import JobAdmin, QueueEntryAdmin
from jobs.models import Job, QueueEntry

site = AdminSite()
site.register(MigrationRun, MigrationRunAdmin)
site.register(Job, JobAdmin)
site.register(QueueEntry, QueueEntryAdmin)

urlpatterns = [path("admin/", include(pages(site))), path("admin/", site.urls)]
