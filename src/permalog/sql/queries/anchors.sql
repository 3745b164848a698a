-- The anchor log, and what witnesses are asked. Run as permalog_sealer, who sees all logs.

-- name: last
SELECT a.epoch, a.size, a.frontier FROM permalog.anchor AS a ORDER BY a.epoch DESC, a.start DESC LIMIT 1

-- name: at
SELECT a.frontier FROM permalog.anchor AS a WHERE a.epoch = %(epoch)s AND a.size = %(size)s

-- name: due
-- Of each tree its newest checkpoint, where that has not been anchored: two looks into an index for each tree.
SELECT h.log_id, h.epoch, c.size, c.note
FROM permalog.head AS h
CROSS JOIN LATERAL (
    SELECT c.size, c.note FROM permalog.checkpoint AS c
    WHERE c.log_id = h.log_id AND c.epoch = h.epoch AND c.size > 0 ORDER BY c.size DESC LIMIT 1
) AS c
WHERE NOT EXISTS (SELECT FROM permalog.anchor_leaf AS a WHERE a.log_id = h.log_id AND a.epoch = h.epoch AND a.size = c.size)
ORDER BY h.log_id, h.epoch LIMIT %(most)s

-- name: add
-- Whoever comes second finds the place taken, and gets nothing back.
INSERT INTO permalog.anchor (epoch, start, size, leaves, frontier, note)
VALUES (%(epoch)s, %(start)s, %(size)s, %(leaves)s, %(frontier)s, %(note)s)
ON CONFLICT DO NOTHING RETURNING start

-- name: add_leaves
INSERT INTO permalog.anchor_leaf (log_id, epoch, size, anchor_epoch, leaf_index)
SELECT l.log_id, l.epoch, l.size, %(anchor_epoch)s, %(start)s + l.place - 1
FROM unnest(%(log_ids)s::uuid[], %(epochs)s::integer[], %(sizes)s::bigint[]) WITH ORDINALITY AS l (log_id, epoch, size, place)

-- name: unpublished
-- What a place has not taken yet, in its order; a few at a time.
SELECT a.epoch, a.start, a.leaves, a.note FROM permalog.anchor AS a
WHERE (a.epoch, a.size) > (
    SELECT coalesce(max(p.epoch), 0), coalesce(max(p.size), 0) FROM permalog.anchor_publication AS p
    WHERE p.place = %(place)s
      AND p.epoch = (SELECT max(q.epoch) FROM permalog.anchor_publication AS q WHERE q.place = %(place)s)
)
ORDER BY a.epoch, a.start LIMIT 20

-- name: published
INSERT INTO permalog.anchor_publication (epoch, place, size) VALUES (%(epoch)s, %(place)s, %(size)s) ON CONFLICT DO NOTHING

-- name: to_witness
-- Of each tree its newest checkpoint, where this witness has not cosigned it, and what it cosigned last.
SELECT h.log_id, h.epoch, c.size, c.note, coalesce(w.size, 0)
FROM permalog.head AS h
CROSS JOIN LATERAL (
    SELECT c.size, c.note FROM permalog.checkpoint AS c
    WHERE c.log_id = h.log_id AND c.epoch = h.epoch AND c.size > 0 ORDER BY c.size DESC LIMIT 1
) AS c
LEFT JOIN LATERAL (
    SELECT s.size FROM permalog.cosignature AS s
    WHERE s.log_id = h.log_id AND s.epoch = h.epoch AND s.witness = %(witness)s ORDER BY s.size DESC LIMIT 1
) AS w ON true
WHERE c.size > coalesce(w.size, 0)
ORDER BY h.log_id, h.epoch

-- name: add_cosignature
INSERT INTO permalog.cosignature (log_id, epoch, size, witness, line)
VALUES (%(log_id)s, %(epoch)s, %(size)s, %(witness)s, %(line)s) ON CONFLICT DO NOTHING

-- name: standing
-- How many trees there are, and how many of them have lacked a quorum of these witnesses for longer than they may: none of
-- their checkpoints that is old enough, from the newest such one on, has as many cosignatures.
SELECT count(*), count(*) FILTER (WHERE NOT t.witnessed)
FROM (
    SELECT EXISTS (
        SELECT FROM permalog.cosignature AS s
        WHERE s.log_id = h.log_id AND s.epoch = h.epoch AND s.size >= c.size AND s.witness = ANY (%(witnesses)s)
        GROUP BY s.size HAVING count(*) >= %(quorum)s
    ) AS witnessed
    FROM permalog.head AS h
    CROSS JOIN LATERAL (
        SELECT c.size FROM permalog.checkpoint AS c
        WHERE c.log_id = h.log_id AND c.epoch = h.epoch AND c.size > 0 AND c.signed_at < clock_timestamp() - %(patience)s::interval
        ORDER BY c.size DESC LIMIT 1
    ) AS c
) AS t
