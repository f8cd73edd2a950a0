"""The project's URLs: the admin with its overview, and two addresses for probes."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

admin.site.site_header = "Hodei"
admin.site.site_title = "Hodei"
admin.site.index_title = "Jobs, events and sagas"
admin.site.index_template = "hodei/admin/index.html"

urlpatterns = [
    path("admin/", include("hodei.admin.urls")),
    path("admin/", admin.site.urls),
    path("health/", include("hodei.schema.health")),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
