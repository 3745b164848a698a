-- The trees of logs, as sealing leaves them. Run as permalog_reader inside one log, or as permalog_sealer.

-- name: head
SELECT epoch, frontier, sealed_at FROM permalog.head WHERE log_id = %(log_id)s ORDER BY epoch DESC LIMIT 1

-- name: newest_checkpoint
SELECT epoch, size, root, note FROM permalog.checkpoint WHERE log_id = %(log_id)s ORDER BY epoch DESC, size DESC LIMIT 1

-- name: tiles
-- Each by its key, and as many bytes of it as are asked for: uncompressed, so that no more of them is read.
SELECT w.level, w.number, t.hashes
FROM unnest(%(levels)s::smallint[], %(numbers)s::bigint[], %(sizes)s::integer[]) AS w (level, number, size)
CROSS JOIN LATERAL (
    SELECT substr(t.hashes, 1, w.size) AS hashes FROM permalog.tile AS t
    WHERE t.log_id = %(log_id)s AND t.epoch = %(epoch)s AND t.level = w.level AND t.index = w.number LIMIT 1
) AS t
