-- Findings, read.

-- name: list
SELECT f.id, f.repository, f.source, f.source_id, f.source_state, f.status, f.severity, f.ghsa_id, f.cve_id, f.package, f.ecosystem,
       f.vulnerable_range, f.patched_version, f.manifest_path, f.title, f.cwe_ids, f.cvss_score, f.scope, f.url, f.first_detected_at,
       f.deadline, f.fixed_at, greatest(f.last_synced_at, r.last_synced_at), f.ignored_at, f.ignored_reason, f.analysis_status
FROM security_agent.finding AS f
LEFT JOIN security_agent.repository AS r ON r.log_id = f.log_id AND r.repository_id = f.repository_id
WHERE f.log_id = %(log)s AND (%(statuses)s::text[] IS NULL OR f.status = ANY(%(statuses)s))
  AND (%(severities)s::text[] IS NULL OR f.severity = ANY(%(severities)s))
  AND (%(repository)s::text IS NULL OR lower(f.repository) = lower(%(repository)s))
ORDER BY f.first_detected_at DESC, f.id LIMIT %(limit)s OFFSET %(offset)s;

-- name: count
SELECT count(*) FROM security_agent.finding AS f
WHERE f.log_id = %(log)s AND (%(statuses)s::text[] IS NULL OR f.status = ANY(%(statuses)s))
  AND (%(severities)s::text[] IS NULL OR f.severity = ANY(%(severities)s))
  AND (%(repository)s::text IS NULL OR lower(f.repository) = lower(%(repository)s));

-- name: one
SELECT f.id, f.repository, f.source, f.source_id, f.source_state, f.status, f.severity, f.ghsa_id, f.cve_id, f.package, f.ecosystem,
       f.vulnerable_range, f.patched_version, f.manifest_path, f.title, f.cwe_ids, f.cvss_score, f.scope, f.url, f.first_detected_at,
       f.deadline, f.fixed_at, greatest(f.last_synced_at, r.last_synced_at), f.ignored_at, f.ignored_reason, f.analysis_status,
       f.description, f.cvss_vector, f.source_updated_at, f.ignored_comment, f.ignored_by, f.ignored_by_type, f.raw || f.raw_people
FROM security_agent.finding AS f
LEFT JOIN security_agent.repository AS r ON r.log_id = f.log_id AND r.repository_id = f.repository_id
WHERE f.log_id = %(log)s AND f.id = %(id)s;

-- name: stats
SELECT f.status, f.severity, count(*),
       count(*) FILTER (WHERE f.status = 'open' AND f.deadline <= %(now)s),
       count(*) FILTER (WHERE f.status = 'open' AND f.deadline > %(now)s AND f.deadline <= %(now)s + interval '7 days')
FROM security_agent.finding AS f WHERE f.log_id = %(log)s GROUP BY f.status, f.severity;

-- name: analyses
SELECT f.analysis_status, count(*) FROM security_agent.finding AS f WHERE f.log_id = %(log)s GROUP BY f.analysis_status;

-- name: delete
-- Some at a time: each has its event, and neither transaction nor memory grows with a repository.
DELETE FROM security_agent.finding AS f
USING (SELECT d.id FROM security_agent.finding AS d WHERE d.log_id = %(log)s AND lower(d.repository) = lower(%(repository)s)
       ORDER BY d.source_id LIMIT %(most)s FOR UPDATE) AS chosen
WHERE f.log_id = %(log)s AND f.id = chosen.id
RETURNING f.id, f.repository, f.source, f.source_id, f.ghsa_id, f.cve_id, f.title, f.package, f.ecosystem, f.severity, f.status,
          f.first_detected_at, f.deadline, f.fixed_at, f.ignored_at, f.ignored_reason, f.analysis_status;
