"""What the admins of the apps share: a read-only window that stays fast on a million rows.

``readonly`` has the base class, ``listing`` the list behind it, ``filters`` what narrows a list and
``rendering`` what a cell or a panel looks like. The style sheet is ``hodei/admin.css`` among the
static files of ``hodei.schema``; without it the pages work and look plain.
"""
