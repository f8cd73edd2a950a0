"""What a person reads on a page."""

from __future__ import annotations

import html
import re

from django.test import Client


def words(page: Client, address: str) -> str:
    """The text of a page, without its list of filters and its menu."""
    answer = page.get(address, follow=True)
    assert answer.status_code == 200
    text = answer.text[answer.text.index('id="content"') :]
    text = re.sub(r'<nav id="changelist-filter".*?</nav>', "", text, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]+>", " ", text))
    return re.sub(r"\s+", " ", text)
