-- The limit: the table of events with its partitions, indexes and CHECKs, and without triggers and row-level security.

-- name: create
CREATE SCHEMA bench;
CREATE TABLE bench.event (LIKE permalog.event INCLUDING ALL) PARTITION BY RANGE (id);

-- name: partitions
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'permalog.event'::regclass ORDER BY 1;

-- name: new_rows
COPY (SELECT * FROM permalog.event WHERE recorded_at > {since} ORDER BY id) TO STDOUT;

-- name: copy
COPY bench.event FROM STDIN;

-- name: copy_log_out
COPY (SELECT * FROM permalog.event WHERE log_id = {log}) TO STDOUT;

-- name: copy_all_out
COPY (SELECT * FROM permalog.event) TO STDOUT;
