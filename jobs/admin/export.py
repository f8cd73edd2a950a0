"""The audit as a file: what the list shows, from the newest on, as CSV or JSON.

Rows are read in portions, each behind the last key of the one before, so a large audit costs no
memory and a late portion no more than the first. A file has MOST_EXPORTED records at most; where
there are more, the header ``Link`` has the address of the next one, and the JSON has it too.
"""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import Http404, StreamingHttpResponse

from hodei.admin.rendering import READ_LIMIT, json_columns
from hodei.redaction import redact, redact_text
from hodei.values import is_instant

FORMAT_VERSION = 1
#: Records of one file, and of one question to the database.
MOST_EXPORTED, PORTION = 100_000, 1_000
FORMATS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
COLUMNS = ("id", "occurred_at", "event_type", "actor", "correlation_id", "payload")

Key = tuple[datetime, uuid.UUID]


def exported(rows: QuerySet[Any], form: str, after: str, address: str) -> StreamingHttpResponse:
    """The file of these records. ``address`` is that of the export without its ``after``. Raises
    Http404 for what is no format, or no place to go on from."""
    if form not in FORMATS:
        raise Http404(f"There is no format {form!r}; there are {', '.join(FORMATS)}.")
    begin = _key(after) if after else None
    last = _behind(rows, begin).values_list("occurred_at", "pk")
    # Where this file ends, if it does not end with the records.
    end = list(last[MOST_EXPORTED - 1 : MOST_EXPORTED + 1])
    more = f"{address}&{urlencode({'after': _text(end[0])})}" if len(end) == 2 else None
    found = islice(_records(rows, begin), MOST_EXPORTED)
    lines = _csv(found) if form == "csv" else _json(found, more)
    answer = StreamingHttpResponse(lines, content_type=FORMATS[form])
    answer["Content-Disposition"] = f'attachment; filename="audit.{form}"'
    answer["X-Content-Type-Options"] = "nosniff"
    if more:
        answer["Link"] = f'<{more}>; rel="next"'
    return answer


def _behind(rows: QuerySet[Any], key: Key | None) -> QuerySet[Any]:
    ordered = rows.order_by("-occurred_at", "-pk")
    if key is None:
        return ordered
    instant, last = key
    return ordered.filter(occurred_at__lte=instant).exclude(occurred_at=instant, pk__gte=last)


def _records(rows: QuerySet[Any], key: Key | None) -> Iterator[dict[str, Any]]:
    shown = rows.defer("payload").annotate(**json_columns(["payload"]))
    while True:
        portion = list(_behind(shown, key)[:PORTION])
        for row in portion:
            yield {
                "id": str(row.pk),
                "occurred_at": row.occurred_at.astimezone(UTC).isoformat(),
                "event_type": row.event_type,
                "actor": redact_text(row.actor or ""),
                "correlation_id": row.correlation_id,
                "payload": _payload(row),
            }
        if len(portion) < PORTION:
            return
        key = portion[-1].occurred_at, portion[-1].pk


def _payload(row: Any) -> Any:
    if row.payload_size is not None and row.payload_size > READ_LIMIT:
        return f"{row.payload_size} bytes, too large to be exported"
    try:
        return redact(json.loads(row.payload_text or "null", parse_int=_whole))
    except RecursionError:
        return "nested too deeply to be exported"


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) < 4_000 else digits


def _csv(records: Iterator[dict[str, Any]]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(COLUMNS)
    for record in records:
        payload = json.dumps(record["payload"], ensure_ascii=False)
        writer.writerow([*(_cell(record[name]) for name in COLUMNS[:-1]), payload])
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def _cell(text: str | None) -> str:
    """What no spreadsheet takes for a formula."""
    found = text or ""
    return f"'{found}" if found.startswith(("=", "+", "-", "@", "\t", "\r")) else found


def _json(records: Iterator[dict[str, Any]], more: str | None) -> Iterator[str]:
    yield f'{{"format_version": {FORMAT_VERSION}, "next": {json.dumps(more)}, "records": ['
    before = "\n"
    for record in records:
        yield f"{before}{json.dumps(record)}"
        before = ",\n"
    yield "\n]}\n"


def _text(key: Key) -> str:
    return f"{key[0].astimezone(UTC).isoformat()}/{key[1]}"


def _key(text: str) -> Key:
    instant, _, last = text.partition("/")
    try:
        found = datetime.fromisoformat(instant), uuid.UUID(last)
    except ValueError:
        found = None
    if found is None or not is_instant(found[0]):
        raise Http404("There is no such place in the audit.")
    return found
