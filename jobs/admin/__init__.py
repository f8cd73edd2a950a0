"""Jobs, their queue, workers and providers in Django's admin.

Django finds this package; its modules register their pages as they are imported.
"""

from __future__ import annotations

from jobs.admin import overview, records, runs, work, workers

__all__ = ["overview", "records", "runs", "work", "workers"]
