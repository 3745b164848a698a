-- The service's own right to its accounts; the rest it has through permalog_reader, _writer, _importer and _privacy.
REVOKE ALL ON SCHEMA accounts FROM PUBLIC;
GRANT USAGE ON SCHEMA accounts TO permalog_service;
GRANT SELECT, INSERT, UPDATE ON accounts.person, accounts.organization, accounts.membership, accounts.token TO permalog_service;
GRANT DELETE ON accounts.membership TO permalog_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON accounts.allowance, accounts.notice TO permalog_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON accounts.session, accounts.sign_in_link TO permalog_service;
