"""What the admins of the apps share: a read-only window that stays fast on a million rows.

``readonly`` has the base class, ``listing`` the list behind it, ``filters`` what narrows a list and
``rendering`` what a cell or a panel looks like. ``deciding`` is the base class where a person may
decide something about rows, which ``actions`` describe. The style sheet is ``hodei/admin.css``
among the static files of ``hodei.schema``, and the templates are beside it.
"""

from __future__ import annotations

from hodei.admin import checks  # noqa: F401  (it registers itself)
