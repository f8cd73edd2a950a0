"""What every table and column means, for whoever looks at the database without us."""

from __future__ import annotations

from django.db import migrations

from hodei.schema.operations import AlterComments


class Migration(migrations.Migration):
    dependencies = [("outbox", "0015_storage")]

    operations = [
        AlterComments(
            "event",
            table="Events written with the data they tell of, until they are published",
            columns={
                "id": "Public id: the CloudEvents id, and what consumers deduplicate by",
                "aggregate_id": "What the event is about; order is kept per aggregate",
                "aggregate_type": "Kind of the aggregate",
                "event_type": "What happened, as a past tense name",
                "event_version": "Version of the payload's shape for this event type",
                "payload": "What happened, as consumers get it",
                "metadata": "Correlation id, trace parent and other headers",
                "idempotency_key": "Unique key to prevent duplicate event processing",
                "created_at": "Start of the transaction that wrote the event",
                "published_at": "When the publisher confirmed it; NULL until then",
                "status": "PENDING: waits for its relay, PUBLISHED: confirmed, FAILED: a dead letter",
                "retry_count": "Rejected attempts so far; an outage of the broker spends none",
                "last_error": "Text of the newest failure, cut and redacted",
                "seq": "Order within an aggregate; gaps mean nothing",
                "lane": "0 to 63, from the last byte of aggregate_id: the unit that a relay leases",
                "aggregate_key": "The caller's own key where it is not a UUID",
                "destination": "The one publisher that delivers it",
                "next_attempt_at": "Not before this time; NULL is at once",
                "held": "Waits behind the event that its aggregate stumbled over: see outbox_keys",
                "attempts_started": "Attempts begun; more than finished means a crash in between",
                "attempts_finished": "Attempts that came back, whatever they said",
                "error_class": "Class of the newest failure",
                "fingerprint": "Groups failures that differ only in ids and numbers",
            },
        ),
        AlterComments(
            "deadletter",
            table="Dead letters: events that were given up, and what became of them",
            columns={
                "id": "Id of the dead letter itself",
                "original_event_id": "Reference to the original outbox_events.id",
                "aggregate_id": "As in outbox_events",
                "aggregate_type": "As in outbox_events",
                "event_type": "As in outbox_events",
                "payload": "As in outbox_events",
                "metadata": "As in outbox_events",
                "error_message": "Why it was given up, cut and redacted",
                "retry_count": "Attempts spent when it was given up",
                "original_created_at": "created_at of the event",
                "moved_at": "When it died, the newest time",
                "resolved_at": "When it was dealt with; NULL while it is open",
                "resolution_notes": "What the person who dealt with it wrote",
                "resolved_by": "Who dealt with it",
                "seq": "seq of the event: a requeued one keeps its place",
                "event_version": "As in outbox_events",
                "idempotency_key": "As in outbox_events",
                "aggregate_key": "As in outbox_events",
                "destination": "As in outbox_events",
                "error_class": "As in outbox_events",
                "fingerprint": "As in outbox_events",
            },
        ),
        AlterComments(
            "deadletteractionrecord",
            table="What happened to dead letters: deaths, and what people did",
            columns={
                "id": "Order in which actions were taken",
                "dead_letter": "The dead letter; its actions go with it",
                "action": "What happened, or what was done",
                "actor": "Who did it; system for the relay",
                "note": "Why",
                "batch_id": "Common to what one bulk action did",
                "details": "Error of a death, id of a resent copy",
                "occurred_at": "When",
            },
        ),
        AlterComments(
            "lane",
            table="Which relay delivers which share of a destination's events",
            columns={
                "id": "Meaningless number",
                "destination": "As in outbox_events",
                "lane": "0 to 63, as in outbox_events",
                "owner": "The relay that holds it, or held it last",
                "fence": "Grows with each lease; a write with an older one does nothing",
                "leased_until": "End of the lease; anybody may take it after that",
            },
        ),
        AlterComments(
            "relay",
            table="Relays at work, and whether they reach their destination",
            columns={
                "id": "Meaningless number",
                "destination": "As in outbox_events",
                "owner": "As in outbox_lanes",
                "started_at": "When it began",
                "seen_at": "Last sign of life; one that is long gone is dead",
                "wakes_by": "notify, or polling behind a pooler",
                "breaker": "OPEN: the destination is down, and nothing is sent until it answers again",
                "breaker_since": "Since when it is open; NULL while closed",
                "breaker_error": "What the destination said last, cut and redacted",
            },
        ),
        AlterComments(
            "troubledkey",
            table="Aggregates whose events are held back; all others have no row",
            columns={
                "id": "Meaningless number",
                "destination": "As in outbox_events",
                "lane": "As in outbox_events",
                "aggregate_type": "As in outbox_events",
                "aggregate_id": "As in outbox_events",
                "state": "BACKOFF: waits for retry_at, PARKED: waits until the dead letter is dealt with",
                "event_id": "outbox_events.id of the one that must go first, or that died",
                "retry_at": "End of the back-off; NULL while parked",
                "dead_letter_id": "outbox_dlq.id of the event that died",
                "since": "Since when it is held back",
            },
        ),
        AlterComments(
            "inboxentry",
            table="Events that consumers have seen: a second delivery finds its row",
            columns={
                "id": "Meaningless number",
                "consumer": "Name of the consumer",
                "event_id": "Id of the event, as it was received",
                "received_at": "When it was first seen",
            },
        ),
    ]
