-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Area and middle of masks: NULL of models without, as in the rows of boxes of the version before.

ALTER TABLE records.events ADD COLUMN area_px double precision, ADD COLUMN centre_x double precision,
    ADD COLUMN centre_y double precision;
ALTER TABLE records.near_misses ADD COLUMN area_px double precision, ADD COLUMN centre_x double precision,
    ADD COLUMN centre_y double precision;
ALTER TABLE records.detections ADD COLUMN area_px double precision, ADD COLUMN centre_x double precision,
    ADD COLUMN centre_y double precision;

-- The views as they were, with the columns behind the others.
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT c.table_name AS name, a.age, string_agg(CASE c.column_name
                WHEN 'camera' THEN '(r.node || '':'' || t.camera) COLLATE "C" AS camera'
                WHEN 'box' THEN 'r.node AS box'
                WHEN 'own_camera' THEN 't.camera AS own_camera'
                ELSE format('t.%I', c.column_name) END, ', ' ORDER BY c.ordinal_position) AS columns
        FROM information_schema.columns c
        JOIN (VALUES ('events', 'first_seen_utc'), ('near_misses', 'first_seen_utc'), ('detections', 'arrived_utc'))
            AS a (name, age) ON a.name = c.table_name
        WHERE c.table_schema = 'desk'
        GROUP BY c.table_name, a.age
    LOOP
        EXECUTE format('CREATE OR REPLACE VIEW desk.%1$I AS SELECT %2$s, t.area_px, t.centre_x, t.centre_y
            FROM records.%1$I t JOIN records.runs r ON r.run = t.run
            WHERE desk.in_box(r.node) AND NOT EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run
                AND s.camera = t.camera AND s.from_utc <= t.%3$I AND t.%3$I < s.to_utc)', one.name, one.columns, one.age);
        EXECUTE format('CREATE OR REPLACE VIEW desk_of_box.%1$I AS SELECT t.* FROM desk.%1$I t
            WHERE t.box = current_setting(''vision_line.box'')', one.name);
    END LOOP;
END $$;
