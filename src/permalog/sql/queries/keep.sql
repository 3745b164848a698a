-- Looking after the partitions, as permalog_sealer: see routines/partitions.sql.

-- name: add
SELECT permalog.add_partitions();

-- name: cut
SELECT permalog.cut_partition(%(largest)s, %(total)s);

-- name: index
SELECT permalog.index_partition(%(name)s);

-- name: partitions
-- Newest first, with their sizes, and which of them are closed, hold something, and wait for their search index.
SELECT p.name, s.bytes, NOT p.is_searchable AND s.bytes > 0 AND p.next_id <= permalog.id_floor(clock_timestamp())
FROM permalog.partitions() AS p
CROSS JOIN LATERAL (SELECT coalesce(pg_relation_size(to_regclass('permalog.' || quote_ident(p.name))), 0)) AS s (bytes)
ORDER BY p.next_id DESC;
