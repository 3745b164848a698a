-- The service alone works on the agent's tables.
REVOKE ALL ON SCHEMA security_agent FROM PUBLIC;
GRANT USAGE ON SCHEMA security_agent TO permalog_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA security_agent TO permalog_service;
