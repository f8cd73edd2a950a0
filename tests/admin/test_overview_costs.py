"""What the overview and the incidents read of tables with a history: no more than so much of each,
however many rows there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.django_db

ROWS, CAP, OF_A_MINUTE = 12_000, 50, 3
#: What reads no more than the caps allow: a walk has a few of them, and sixty minutes have each.
BOUND = 1_000
CAPS = (
    "hodei.admin.parts.COUNT_LIMIT",
    "jobs.services.inspection.MOST_COUNTED",
    "outbox.services.inspection.MOST_COUNTED",
    "outbox.admin.overview.MOST_COUNTED",
    "sagas.services.statistics.MOST_COUNTED",
    "sagas.services.statistics.MOST_OVERDUE",
    "sagas.services.statistics.MOST_WAITING",
)
FILL = """
INSERT INTO jobs (id, spec, state, name, created_at)
SELECT gen_random_uuid(), '{}', (ARRAY['SUCCEEDED', 'FAILED', 'MANUAL_INTERVENTION_REQUIRED',
                                       'PENDING'])[1 + n % 4],
       'a job', now() - n % 3600 * interval '1 second'
  FROM generate_series(1, {rows}) AS s (n);
INSERT INTO job_queue (job_id, queue) SELECT id, 'q' || n % 3
  FROM (SELECT id, row_number() OVER () AS n FROM jobs WHERE state = 'PENDING') AS j
    ON CONFLICT DO NOTHING;
INSERT INTO outbox_events (aggregate_id, aggregate_type, event_type, payload, status, published_at)
SELECT gen_random_uuid(), 'JOB', 'Counted', '{}',
       CASE WHEN n % 2 = 0 THEN 'PENDING' ELSE 'PUBLISHED' END,
       CASE WHEN n % 2 = 1 THEN now() - n % 3600 * interval '1 second' END
  FROM generate_series(1, {rows}) AS s (n);
INSERT INTO outbox_dlq (id, original_event_id, aggregate_id, aggregate_type, event_type, payload,
                        error_message, retry_count, original_created_at, moved_at)
SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'JOB', 'Counted', '{}', 'no', 8,
       now(), now() - n * interval '1 second'
  FROM generate_series(1, {rows}) AS s (n);
INSERT INTO outbox_keys (destination, lane, aggregate_type, aggregate_id, state, event_id,
                         dead_letter_id)
SELECT 'default', 1, 'JOB', aggregate_id, 'PARKED', original_event_id, id FROM outbox_dlq;
INSERT INTO sagas (saga_type, state, outcome, definition_version, steps_hash, due_at, metadata,
                   incident, started_at)
SELECT 'KIND' || n % 2, CASE n % 3 WHEN 0 THEN 'IN_PROGRESS' WHEN 1 THEN 'FAILED'
                                   ELSE 'COMPLETED' END,
       CASE n % 3 WHEN 1 THEN 'COMPENSATION_FAILED' WHEN 2 THEN 'COMPLETED' END,
       1, repeat('a', 64), CASE WHEN n % 2 = 0 THEN now() - interval '1 hour' END, '{}',
       CASE WHEN n % 3 <> 2 THEN 'nobody knows' END, now() - n * interval '1 second'
  FROM generate_series(1, {rows}) AS s (n);
INSERT INTO saga_audit_events (saga_id, event_type, occurred_at)
SELECT id, (ARRAY['SAGA_COMPLETED', 'SAGA_WAITS_FOR_A_PERSON'])[1 + (random() > 0.5)::int],
       now() - random() * interval '1 hour'
  FROM sagas;
ANALYZE jobs, job_queue, outbox_events, outbox_dlq, outbox_keys, sagas, saga_audit_events
"""


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CAPS:
        monkeypatch.setattr(name, CAP)
    for app in ("jobs", "outbox", "sagas"):
        monkeypatch.setattr(f"{app}.services.throughput.MOST", OF_A_MINUTE)
    with connection.cursor() as cursor:
        cursor.execute(FILL.replace("{rows}", str(ROWS)))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def rows_read(sql: str) -> dict[str, float]:
    """By table: the rows that a statement took from it or from an index, those that it threw away
    among them."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql.replace('%', '%%')}", ())
        (found,) = cursor.fetchone()
    (explained,) = json.loads(found) if isinstance(found, str) else found
    read: dict[str, float] = {}
    for node in nodes(explained["Plan"]):
        table = node.get("Relation Name") or node.get("Index Name")
        if table is not None and node["Node Type"] != "Bitmap Heap Scan":
            thrown = node.get("Rows Removed by Filter", 0)
            number = (node["Actual Rows"] + thrown) * node["Actual Loops"]
            read[table] = read.get(table, 0) + number
    return read


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("name", ["overview", "incidents"])
def test_reads_no_more_than_the_caps_allow(page: Client, name: str) -> None:
    address = f"/admin/{name}/"
    page.get(address)
    with CaptureQueriesContext(connection) as captured:
        text = page.get(address).text

    assert f"{CAP}+" in text or re.search(r"And \d\d\+ more", text)
    asked = [query["sql"] for query in captured if re.match(r"\s*(SELECT|WITH)", query["sql"])]
    ours = [sql for sql in asked if re.search(r"\b(jobs|job_|outbox_|sagas?\b|saga_)", sql)]
    assert len(ours) >= 9
    for sql in ours:
        for table, number in rows_read(sql).items():
            assert number <= BOUND, f"{number} of {table}: {sql}"
