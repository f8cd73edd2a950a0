"""The schema in Django's admin: its status, its drift when asked, its history. Nothing is changed.

    admin.site                      has it, where ``django.contrib.admin`` is installed
    site.register(MigrationRun, MigrationRunAdmin)      for an AdminSite of one's own

The pages speak to the services as the commands do, and never to the model: its table may be
missing, and may be in any database of the project. ``pages`` has them, ``asked`` reads what an
address asks for, ``status`` and ``drift`` put in order what the services answer, ``trouble`` says
what kept them from answering. The templates are in ``templates/hodei_schema/admin``.
"""

from __future__ import annotations

from hodei.schema.admin.pages import MigrationRunAdmin

__all__ = ["MigrationRunAdmin"]
