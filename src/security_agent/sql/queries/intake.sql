-- Alerts as they come from the source, page by page: a bounded number of statements each, however many alerts it has.

-- name: known
-- Without a lock: most alerts of most pages are known and have not changed.
SELECT source_id, digest FROM security_agent.finding
WHERE log_id = %(log)s AND repository_id = %(repository_id)s AND source = %(source)s AND source_id = ANY(%(source_ids)s);

-- name: add
-- In the order of their ids, as everybody does who locks several: nobody waits in a circle. What another has added meanwhile is left
-- out, and then treated as known.
INSERT INTO security_agent.finding (
    log_id, repository_id, repository, source, source_id, source_state, source_updated_at, status, severity, ghsa_id, cve_id, package,
    ecosystem, vulnerable_range, patched_version, manifest_path, title, description, cwe_ids, cvss_score, cvss_vector, scope, url, raw,
    raw_people, digest, first_detected_at, deadline, last_synced_at, fixed_at, ignored_at, ignored_reason, ignored_comment, ignored_by,
    ignored_by_type)
SELECT %(log)s, %(repository_id)s, %(repository)s, %(source)s, a.source_id, a.source_state, a.source_updated_at, a.status, a.severity,
       a.ghsa_id, a.cve_id, a.package, a.ecosystem, a.vulnerable_range, a.patched_version, a.manifest_path, a.title, a.description,
       a.cwe_ids, a.cvss_score, a.cvss_vector, a.scope, a.url, a.raw, a.raw_people, a.digest, a.first_detected_at, a.deadline, %(now)s,
       a.fixed_at, a.ignored_at, a.ignored_reason, a.ignored_comment, a.ignored_by,
       CASE WHEN a.status = 'ignored' THEN 'github' END
FROM jsonb_to_recordset(%(alerts)s::text::jsonb) AS a (
    source_id text, source_state text, source_updated_at timestamptz, status text, severity text, ghsa_id text, cve_id text, package text,
    ecosystem text, vulnerable_range text, patched_version text, manifest_path text, title text, description text, cwe_ids text[],
    cvss_score numeric, cvss_vector text, scope text, url text, raw jsonb, raw_people jsonb, digest bytea, first_detected_at timestamptz,
    deadline timestamptz, fixed_at timestamptz, ignored_at timestamptz, ignored_reason text, ignored_comment text, ignored_by text)
ORDER BY a.source_id
ON CONFLICT ON CONSTRAINT finding_by_source DO NOTHING
RETURNING source_id, id;

-- name: lock
SELECT source_id, id, digest, source_updated_at, status, severity, ignored_reason, first_detected_at, deadline,
       ignored_by_type IS DISTINCT FROM 'github' AS is_ours,
       greatest(last_synced_at, CASE WHEN ignored_by_type <> 'github' THEN ignored_at END) AS written_at
FROM security_agent.finding
WHERE log_id = %(log)s AND repository_id = %(repository_id)s AND source = %(source)s AND source_id = ANY(%(source_ids)s)
ORDER BY source_id FOR NO KEY UPDATE;

-- name: unwritten
-- Which of these findings the source was not told of yet: their latest write-back waits, or has failed. After the findings are
-- locked, so that it sees what was committed before.
SELECT f.id FROM unnest(%(findings)s::uuid[]) AS f (id)
WHERE (SELECT w.state FROM security_agent.write_back AS w WHERE w.log_id = %(log)s AND w.finding_id = f.id
       ORDER BY w.requested_at DESC LIMIT 1) IN ('pending', 'failed');

-- name: change
-- The status comes as it is to be; `keep` leaves who ignored it, and why, as it was decided here.
UPDATE security_agent.finding AS f
SET repository = %(repository)s, source_state = a.source_state, source_updated_at = a.source_updated_at, status = a.status,
    severity = a.severity, ghsa_id = a.ghsa_id, cve_id = a.cve_id, package = a.package, ecosystem = a.ecosystem,
    vulnerable_range = a.vulnerable_range, patched_version = a.patched_version, manifest_path = a.manifest_path, title = a.title,
    description = a.description, cwe_ids = a.cwe_ids, cvss_score = a.cvss_score, cvss_vector = a.cvss_vector, scope = a.scope, url = a.url,
    raw = a.raw, raw_people = a.raw_people, digest = a.digest, last_synced_at = %(now)s, fixed_at = a.fixed_at,
    ignored_at = CASE WHEN a.keep THEN f.ignored_at ELSE a.ignored_at END,
    ignored_reason = CASE WHEN a.keep THEN f.ignored_reason ELSE a.ignored_reason END,
    ignored_comment = CASE WHEN a.keep THEN f.ignored_comment ELSE a.ignored_comment END,
    ignored_by = CASE WHEN a.keep THEN f.ignored_by ELSE a.ignored_by END,
    ignored_by_type = CASE WHEN a.keep THEN f.ignored_by_type WHEN a.status = 'ignored' THEN 'github' END
FROM jsonb_to_recordset(%(alerts)s::text::jsonb) AS a (
    id uuid, keep boolean,
    source_id text, source_state text, source_updated_at timestamptz, status text, severity text, ghsa_id text, cve_id text, package text,
    ecosystem text, vulnerable_range text, patched_version text, manifest_path text, title text, description text, cwe_ids text[],
    cvss_score numeric, cvss_vector text, scope text, url text, raw jsonb, raw_people jsonb, digest bytea, first_detected_at timestamptz,
    fixed_at timestamptz, ignored_at timestamptz, ignored_reason text, ignored_comment text, ignored_by text)
WHERE f.log_id = %(log)s AND f.id = a.id;
