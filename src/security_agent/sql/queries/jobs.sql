-- name: defer
-- A job of the queue, in the transaction of what it follows from. Its arguments are ids, and nothing else.
SELECT jobs.procrastinate_defer_jobs_v1(ARRAY[ROW(%(queue)s, %(task)s, %(priority)s, NULL, NULL,
    %(arguments)s::jsonb,
    CASE WHEN %(seconds)s > 0 THEN clock_timestamp() + make_interval(secs => %(seconds)s) END
    )::jobs.procrastinate_job_to_defer_v1]);

-- name: list
SELECT j.id, j.task_name, j.status::text, j.attempts, j.args, j.scheduled_at,
    (SELECT min(e.at) FROM jobs.procrastinate_events e WHERE e.job_id = j.id AND e.type = 'deferred'),
    (SELECT max(e.at) FROM jobs.procrastinate_events e WHERE e.job_id = j.id AND e.type <> 'scheduled')
FROM jobs.procrastinate_jobs j
WHERE (%(log_id)s::text IS NULL OR j.args ->> 'log_id' = %(log_id)s)
    AND (%(status)s::text IS NULL OR j.status::text = %(status)s)
ORDER BY j.id DESC LIMIT %(limit)s;

-- name: forget
DELETE FROM jobs.procrastinate_jobs WHERE args ->> 'log_id' = %(log_id)s;

-- name: sweep
-- What ended well goes after a week, everything that ended after a month.
DELETE FROM jobs.procrastinate_jobs j
WHERE j.status::text IN ('succeeded', 'failed', 'cancelled', 'aborted')
    AND NOT EXISTS (SELECT 1 FROM jobs.procrastinate_events e WHERE e.job_id = j.id AND e.at > clock_timestamp()
        - CASE WHEN j.status::text = 'succeeded' THEN interval '7 days' ELSE interval '30 days' END);

-- name: revive
-- Those of workers that are gone; every job here can be run again.
UPDATE jobs.procrastinate_jobs j SET status = 'todo', worker_id = NULL, attempts = attempts + 1
WHERE j.status = 'doing' AND (j.worker_id IS NULL OR EXISTS (SELECT 1 FROM jobs.procrastinate_workers w
    WHERE w.id = j.worker_id AND w.last_heartbeat < clock_timestamp() - make_interval(secs => %(seconds)s)))
RETURNING j.id;
