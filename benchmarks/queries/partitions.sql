-- Partitions of one width over the 400 days from 2025-08-01 on, between a catch-all before and the months of the present.

-- name: divide
CREATE FUNCTION bench.divide(parts integer) RETURNS void LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    start constant timestamptz := '2025-08-01';
    width constant interval := interval '400 days' / parts;
    name  text;
    n     integer;
BEGIN
    FOR name IN SELECT p.name FROM permalog.partitions() AS p LOOP
        EXECUTE format('DROP TABLE permalog.%I', name);
    END LOOP;
    EXECUTE format('CREATE TABLE permalog.event_before PARTITION OF permalog.event FOR VALUES FROM (MINVALUE) TO (%L)', permalog.id_floor(start));
    PERFORM permalog.guard_partition('permalog.event_before');
    FOR n IN 1 .. parts LOOP
        name := 'event_202508_' || lpad(n::text, 4, '0');
        EXECUTE format('CREATE TABLE permalog.%I PARTITION OF permalog.event FOR VALUES FROM (%L) TO (%L)', name,
                       permalog.id_floor(start + (n - 1) * width), permalog.id_floor(start + n * width));
        PERFORM permalog.guard_partition(('permalog.' || name)::regclass);
    END LOOP;
    EXECUTE format('CREATE TABLE permalog.event_202609 PARTITION OF permalog.event FOR VALUES FROM (%L) TO (%L)',
                   permalog.id_floor(start + parts * width), permalog.id_floor('2026-10-01'));
    PERFORM permalog.guard_partition('permalog.event_202609');
    PERFORM permalog.make_partitions();
    FOR name IN SELECT p.name FROM permalog.partitions() AS p LOOP
        EXECUTE format('ALTER TABLE permalog.%I OWNER TO permalog_owner', name);
    END LOOP;
END
$$
