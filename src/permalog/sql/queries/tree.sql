-- The trees of logs, as sealing leaves them. Run as permalog_reader inside one log, or as permalog_sealer.

-- name: head
SELECT epoch, frontier, sealed_at FROM permalog.head WHERE log_id = %(log_id)s ORDER BY epoch DESC LIMIT 1

-- name: newest_checkpoint
SELECT epoch, size, root, note FROM permalog.checkpoint WHERE log_id = %(log_id)s ORDER BY epoch DESC, size DESC LIMIT 1

-- name: tiles
-- As many bytes of each as are asked for: uncompressed, so that no more of them is read.
SELECT t.level, t.index, substr(t.hashes, 1, w.size)
FROM unnest(%(levels)s::smallint[], %(numbers)s::bigint[], %(sizes)s::integer[]) AS w (level, number, size)
JOIN permalog.tile AS t ON t.log_id = %(log_id)s AND t.epoch = %(epoch)s AND t.level = w.level AND t.index = w.number
