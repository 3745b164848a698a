-- The service alone works on the agent's tables. Applied again when this text changes: a new table is named here.
-- 0001: all; 0002: delivery, made anew.
REVOKE ALL ON SCHEMA security_agent FROM PUBLIC;
GRANT USAGE ON SCHEMA security_agent TO permalog_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA security_agent TO permalog_service;
