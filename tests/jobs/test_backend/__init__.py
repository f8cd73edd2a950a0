"""The backend by the API of ``django.tasks``: every attribute and method, and what ours has
besides. On Django 5.2 by the backport."""
