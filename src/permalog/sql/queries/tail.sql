-- Events in the order of their leaves. Run as permalog_reader, inside one log.

-- name: heads
SELECT h.epoch, h.size FROM permalog.head AS h WHERE h.log_id = %(log_id)s ORDER BY h.epoch

-- name: ids
-- The events of some tiles of leaves, in their order; null for a leaf that is no event.
SELECT t.event_ids FROM permalog.tile AS t
WHERE t.log_id = %(log_id)s AND t.epoch = %(epoch)s AND t.level = 0 AND t.index BETWEEN %(first)s AND %(last)s ORDER BY t.index

-- name: events
SELECT {row} FROM permalog.event AS e WHERE {where} AND e.id = ANY (%(ids)s)
