-- Seconds until the next schedule is due; NULL where none is. Where a time was dealt with that is yet
-- to come, the clock was put back: that is due at once. Index: job_schedules_due_idx.
SELECT CASE WHEN EXISTS (SELECT FROM job_schedules
                          WHERE enabled AND last_run_at > clock_timestamp()) THEN 0.0
            ELSE (SELECT extract(epoch FROM next_run_at - clock_timestamp())::float8
                    FROM job_schedules WHERE enabled AND next_run_at IS NOT NULL
                   ORDER BY next_run_at LIMIT 1) END
