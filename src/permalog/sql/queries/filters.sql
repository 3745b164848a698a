-- Filters: each a condition on an event `e`. What is selected is put together from these and from nothing else; the
-- values travel as parameters. Only these, in permalog.selection, decide which events a page, a summary and an export show.

-- name: log
e.log_id = %(log_id)s

-- name: start
e.id >= %(start)s

-- name: end
e.id < %(end)s

-- name: one_action
e.action = %(action)s

-- name: actions
e.action = ANY (%(actions)s)

-- name: actor_id
e.actor_id = %(actor_id)s

-- name: staff_id
-- The id of a member of staff stands in their identities only.
(e.actor_id = %(actor_id)s OR (e.actor_id IS NULL AND e.actor_type = 'staff' AND e.identity = ANY (%(staff_by_id)s)))

-- name: nobody
false

-- name: one_person
-- The commitment says which address the person had; the id leads there through an index.
e.actor_id = %(person)s AND e.identity = ANY (%(identities)s)

-- name: people
e.actor_id = ANY (%(people)s) AND e.identity = ANY (%(identities)s)

-- name: staff
e.actor_id IS NULL AND e.actor_type = 'staff' AND e.identity = ANY (%(staff)s)

-- name: resource_type
e.resource_type = %(resource_type)s

-- name: resource_id
e.resource_id = %(resource_id)s

-- name: outcome
e.outcome = %(outcome)s

-- name: not_success
-- Said aloud, so that a plan made before the value is known may use the index of the few.
e.outcome = %(outcome)s AND e.outcome <> 'success'

-- name: correlation_id
e.correlation_id = %(correlation_id)s

-- name: source
e.source = %(source)s

-- name: search
permalog.mentions(e.metadata, e.resource_type, e.resource_id, e.correlation_id, %(needle)s)

-- name: quick_search
-- First a test on all texts at once, keys of the metadata left out: it lets everything pass that is to be found, and little
-- else. A bare expression is a third of a function call here. Only where JSON writes the needle as it is.
strpos(lower(concat_ws(E'\n', e.resource_type, e.resource_id, e.correlation_id,
                       jsonb_path_query_array(e.metadata, '$.*')::text)), %(needle)s) > 0
AND permalog.mentions(e.metadata, e.resource_type, e.resource_id, e.correlation_id, %(needle)s)

-- name: apart_from_operation
e.correlation_id IS DISTINCT FROM %(apart_from)s

-- name: known_actions
SELECT action FROM permalog.catalogue WHERE action = ANY (%(actions)s)

-- name: staff_of_id
SELECT array_agg(commitment) FROM permalog.identity
WHERE log_id = %(log_id)s AND actor_id = %(actor_id)s AND kind = 'staff' AND current_setting('permalog.viewer', true) = 'staff'

-- name: people_of_email
SELECT actor_id, commitments FROM permalog.people_of_email(%(email)s)
WHERE actor_id IS NOT NULL OR current_setting('permalog.viewer', true) = 'staff'   -- masked, whatever the function says

-- name: lowered
-- What is searched for, as the database lower-cases it; the same as it stands inside jsonb's text; and the pattern by which a
-- search index finds it, null where none helps: where no three letters or digits stand side by side.
SELECT n.needle, to_jsonb(n.needle)::text, CASE WHEN p.pattern ~ '[[:alnum:]]{3}' THEN p.pattern END
FROM lower(%(search)s) AS n (needle) CROSS JOIN LATERAL permalog.search_pattern(n.needle) AS p (pattern)

-- name: catalogue
SELECT action, label, resource_type, retired FROM permalog.catalogue ORDER BY action COLLATE "C"
