"""The overview and the incidents, for the project's admin. Include them before the admin itself:

path("admin/", include("hodei.admin.urls")),
path("admin/", admin.site.urls),
"""

from __future__ import annotations

from django.contrib import admin

from hodei.admin import schema_part  # noqa: F401  (it registers itself)
from hodei.admin.overview import pages

urlpatterns = pages(admin.site)
