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

-- name: event_place
-- The same of an event that is there: a row without a place where it has no leaf, no row where it is not there.
SELECT p.epoch, p.leaf_index FROM permalog.event AS e LEFT JOIN LATERAL (
    SELECT t.epoch, t.index * 256 + array_position(t.event_ids, e.id) - 1 AS leaf_index FROM permalog.tile AS t
    WHERE t.log_id = %(log_id)s AND t.level = 0 AND t.last_id >= %(id)s AND t.first_id <= %(id)s AND t.event_ids @> ARRAY[%(id)s]
    ORDER BY t.last_id LIMIT 1
) AS p ON true
WHERE e.log_id = %(log_id)s AND e.id = %(id)s

-- name: present_epoch
SELECT h.epoch FROM permalog.head AS h WHERE h.log_id = %(log_id)s ORDER BY h.epoch DESC LIMIT 1

-- name: newest_size
SELECT c.size FROM permalog.checkpoint AS c
WHERE c.log_id = %(log_id)s AND c.epoch = %(epoch)s ORDER BY c.size DESC LIMIT 1

-- name: newest_checkpoint
-- A checkpoint, and the lines of the witnesses that have cosigned it.
SELECT c.size, c.note, coalesce((
    SELECT string_agg(s.line || chr(10), '' ORDER BY s.witness) FROM permalog.cosignature AS s
    WHERE s.log_id = %(log_id)s AND s.epoch = %(epoch)s AND s.size = c.size
), '') FROM permalog.checkpoint AS c
WHERE c.log_id = %(log_id)s AND c.epoch = %(epoch)s ORDER BY c.size DESC LIMIT 1

-- name: checkpoint
SELECT c.size, c.note, coalesce((
    SELECT string_agg(s.line || chr(10), '' ORDER BY s.witness) FROM permalog.cosignature AS s
    WHERE s.log_id = %(log_id)s AND s.epoch = %(epoch)s AND s.size = c.size
), '') FROM permalog.checkpoint AS c
WHERE c.log_id = %(log_id)s AND c.epoch = %(epoch)s AND c.size = %(size)s

-- name: covering
-- The newest above a leaf that a witness has cosigned, else the newest.
SELECT c.size, c.note, coalesce((
    SELECT string_agg(s.line || chr(10), '' ORDER BY s.witness) FROM permalog.cosignature AS s
    WHERE s.log_id = %(log_id)s AND s.epoch = %(epoch)s AND s.size = c.size
), '') FROM permalog.checkpoint AS c
WHERE c.log_id = %(log_id)s AND c.epoch = %(epoch)s AND c.size > %(index)s AND c.size = coalesce((
    SELECT s.size FROM permalog.cosignature AS s
    WHERE s.log_id = %(log_id)s AND s.epoch = %(epoch)s AND s.size > %(index)s ORDER BY s.size DESC LIMIT 1
), (
    SELECT n.size FROM permalog.checkpoint AS n
    WHERE n.log_id = %(log_id)s AND n.epoch = %(epoch)s ORDER BY n.size DESC LIMIT 1
))
