-- Proofs: places, checkpoints and tiles of one log. Run as permalog_reader, inside that log, or as permalog_sealer.

-- name: owner
SELECT l.organization_id, l.user_id FROM permalog.log AS l WHERE l.log_id = %(log_id)s

-- name: place
-- Where an event's leaf is. In the order of the index, which ends at the first tile that has it: the leaves of a log are
-- almost in the order of their ids.
SELECT t.epoch, t.index * 256 + array_position(t.event_ids, %(id)s) - 1
FROM permalog.tile AS t
WHERE t.log_id = %(log_id)s AND t.level = 0 AND t.last_id >= %(id)s AND t.first_id <= %(id)s AND t.event_ids @> ARRAY[%(id)s]
ORDER BY t.last_id LIMIT 1

-- name: is_event
SELECT true FROM permalog.event AS e WHERE e.log_id = %(log_id)s AND e.id = %(id)s

-- name: present_epoch
SELECT h.epoch FROM permalog.head AS h WHERE h.log_id = %(log_id)s ORDER BY h.epoch DESC LIMIT 1

-- name: newest_checkpoint
SELECT c.size, c.note FROM permalog.checkpoint AS c
WHERE c.log_id = %(log_id)s AND c.epoch = %(epoch)s ORDER BY c.size DESC LIMIT 1

-- name: checkpoint
SELECT c.size, c.note FROM permalog.checkpoint AS c
WHERE c.log_id = %(log_id)s AND c.epoch = %(epoch)s AND c.size = %(size)s

-- name: newest_cosigned
SELECT s.size FROM permalog.cosignature AS s
WHERE s.log_id = %(log_id)s AND s.epoch = %(epoch)s AND s.size > %(index)s ORDER BY s.size DESC LIMIT 1

-- name: cosignatures
SELECT s.line FROM permalog.cosignature AS s
WHERE s.log_id = %(log_id)s AND s.epoch = %(epoch)s AND s.size = %(size)s ORDER BY s.witness

-- name: tiles
-- Each by its key, and no wider than is needed: a tile's hashes are stored so that a part can be taken out.
SELECT w.level, w.index, t.hashes
FROM unnest(%(levels)s::smallint[], %(indices)s::bigint[], %(widths)s::integer[]) AS w (level, index, width)
CROSS JOIN LATERAL (
    SELECT substr(t.hashes, 1, w.width * 32) AS hashes FROM permalog.tile AS t
    WHERE t.log_id = %(log_id)s AND t.epoch = %(epoch)s AND t.level = w.level AND t.index = w.index LIMIT 1
) AS t
