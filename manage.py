#!/usr/bin/env python
"""Django's entry point for this project; see ``python manage.py help``."""

from __future__ import annotations

import sys

from hodei.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
