-- SPDX-License-Identifier: AGPL-3.0-or-later
-- One box, and one camera of it, are found by indexes among the rows of all.
--
-- In the views a row's `box`, and what its box calls its camera (`own_camera`), are columns too, which indexes know.
-- `desk_of_box`, `desk_parts_of_box` and `desk_reviews_of_box` have the box alone that the setting `vision_line.box`
-- names. The planner knows of them how little that is.

DROP INDEX records.events_by_time;
CREATE INDEX events_by_time ON records.events (first_seen_utc, event) INCLUDE (run);
CREATE INDEX events_by_camera ON records.events (camera, first_seen_utc, event);
CREATE INDEX coverage_by_run ON records.coverage (run, minute_utc);
CREATE INDEX not_inspected_by_end ON records.not_inspected (coalesce(ended_utc, 9e15::double precision));
CREATE INDEX states_over ON records.states (run, camera, at_utc) WHERE state IN ('ENDED', 'REMOVED');
CREATE INDEX parts_by_lane ON parts.parts (node, ((node || ':' || lane) COLLATE "C"));
CREATE INDEX parts_by_node ON parts.parts (node, triggered_utc);

-- Of a list with '' and a box in it the planner expects one box where all are meant, and joins row by row.
CREATE OR REPLACE FUNCTION desk.in_box(node text) RETURNS boolean LANGUAGE sql STABLE
    RETURN CASE WHEN coalesce(current_setting('vision_line.box', true), '') = '' THEN true
        ELSE node = current_setting('vision_line.box', true) END;

-- The views as they were, with the columns behind the others. Where nothing is superseded no minute is asked.
CREATE OR REPLACE VIEW desk.runs AS
    SELECT t.run, t.run_id, t.version, t.started_utc, t.ended_utc, t.config_sha256, t.model_name, t.model_sha256,
        t.precision, t.device, t.node || ' (' || t.host || ')' AS host, t.classes, t.evidence, t.end_cause, t.alive_utc,
        t.alive_boot_s, t.boot_id, t.instruction_set, t.form, t.form_reason, t.clips, t.node,
        t.fleet, t.node AS box
    FROM records.runs t WHERE desk.in_box(t.node);
CREATE OR REPLACE VIEW desk.cameras AS
    SELECT t.run, (r.node || ':' || t.name) COLLATE "C" AS name, t.station, t.recipe, t.url, t.since_utc, t.settings,
        t.model_name, t.model_sha256, t.epoch, t.inspected_utc, r.node AS box,
        t.name AS own_camera
    FROM records.cameras t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE OR REPLACE VIEW desk.events AS
    SELECT t.event, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.event_id,
        t.class, t.verdict, t.phase, t.ended, t.score, t.top_score, t.hits, t.x1, t.y1, t.x2, t.y2, t.width, t.height,
        t.sequence, t.first_seen_utc, t.first_seen_s, t.last_seen_utc, t.last_seen_s, t.confirmed_sequence,
        t.first_sequence, t.first_x1, t.first_y1, t.first_x2, t.first_y2, t.last_sequence, t.last_score, t.last_x1,
        t.last_y1, t.last_x2, t.last_y2, t.picture_sequence, r.node AS box,
        t.camera AS own_camera
    FROM records.events t JOIN records.runs r ON r.run = t.run
    WHERE desk.in_box(r.node) AND NOT EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run
        AND s.camera = t.camera AND s.from_utc <= t.first_seen_utc AND t.first_seen_utc < s.to_utc);
CREATE OR REPLACE VIEW desk.near_misses AS
    SELECT t.near_miss, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe,
        t.near_miss_id, t.class, t.score, t.hits, t.x1, t.y1, t.x2, t.y2, t.width, t.height, t.sequence,
        t.first_seen_utc, t.first_seen_s, t.last_seen_utc, t.last_seen_s, t.probability, t.path, t.sha256, t.bytes,
        t.created_utc, t.deleted_utc, t.deleted_why, t.missing, r.node AS box,
        t.camera AS own_camera
    FROM records.near_misses t JOIN records.runs r ON r.run = t.run
    WHERE desk.in_box(r.node) AND NOT EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run
        AND s.camera = t.camera AND s.from_utc <= t.first_seen_utc AND t.first_seen_utc < s.to_utc);
CREATE OR REPLACE VIEW desk.audits AS
    SELECT t.audit, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.sequence,
        t.arrived_utc, t.arrived_s, t.probability, t.detections, t.width, t.height, t.path, t.sha256, t.bytes,
        t.created_utc, t.deleted_utc, t.deleted_why, t.missing, r.node AS box,
        t.camera AS own_camera
    FROM records.audits t JOIN records.runs r ON r.run = t.run
    WHERE desk.in_box(r.node) AND NOT EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run
        AND s.camera = t.camera AND s.from_utc <= t.arrived_utc AND t.arrived_utc < s.to_utc);
CREATE OR REPLACE VIEW desk.detections AS
    SELECT t.detection, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.sequence,
        t.arrived_utc, t.arrived_s, t.camera_utc, t.pts_s, t.class, t.score, t.x1, t.y1, t.x2, t.y2, t.width, t.height,
        t.event_id, t.latency_ms, t.behind_ms, r.node AS box,
        t.camera AS own_camera
    FROM records.detections t JOIN records.runs r ON r.run = t.run
    WHERE desk.in_box(r.node) AND NOT EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run
        AND s.camera = t.camera AND s.from_utc <= t.arrived_utc AND t.arrived_utc < s.to_utc);
CREATE OR REPLACE VIEW desk.coverage AS
    SELECT t.minute, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.minute_utc,
        t.clock, t.provisional, t.arrived, t.decoded, t.inspected, t.dropped_superseded, t.dropped_stale,
        t.dropped_behind, t.dropped_shed, t.dropped_rate_cap, t.dropped_frozen, t.dropped_corrupt, t.dropped_log,
        t.dropped_shutdown, t.not_inspected_s, t.reconnects, t.looked_utc, r.node AS box,
        t.camera AS own_camera
    FROM records.coverage t JOIN records.runs r ON r.run = t.run
    WHERE desk.in_box(r.node) AND NOT (EXISTS (SELECT 1 FROM records.superseded)
        AND EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run AND s.camera = t.camera
            AND s.from_utc <= t.minute_utc AND t.minute_utc < s.to_utc)
        AND desk.some_times(desk.times(t.minute_utc, t.minute_utc + 60)) <@ (
            SELECT range_agg(desk.times(s.from_utc, s.to_utc)) FROM desk.superseded s
            WHERE s.run = t.run AND s.camera = t.camera));
CREATE OR REPLACE VIEW desk.not_inspected AS
    SELECT t.interval, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.interval_id,
        t.cause, t.started_utc, t.started_s, t.ended_utc, t.ended_s,
        r.node AS box, t.camera AS own_camera
    FROM records.not_inspected t JOIN records.runs r ON r.run = t.run
    WHERE desk.in_box(r.node) AND NOT EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run
        AND s.camera = t.camera AND s.from_utc < coalesce(t.ended_utc, 'infinity') AND s.to_utc > t.started_utc)
    UNION ALL
    SELECT t.interval, t.run, (r.node || ':' || t.camera) COLLATE "C", t.station, t.recipe, t.interval_id, t.cause,
        lower(p.rest), t.started_s + (lower(p.rest) - t.started_utc), nullif(upper(p.rest), 'infinity'),
        t.started_s + (nullif(upper(p.rest), 'infinity') - t.started_utc), r.node, t.camera
    FROM (SELECT t.run, t.interval_id, range_agg(desk.times(s.from_utc, s.to_utc)) AS gone
        FROM desk.superseded s JOIN records.not_inspected t ON t.run = s.run AND t.camera = s.camera
            AND s.from_utc < coalesce(t.ended_utc, 'infinity') AND s.to_utc > t.started_utc
        GROUP BY t.run, t.interval_id) g
    JOIN records.not_inspected t ON t.run = g.run AND t.interval_id = g.interval_id
    JOIN records.runs r ON r.run = t.run
    CROSS JOIN LATERAL unnest(desk.some_times(desk.times(t.started_utc, coalesce(t.ended_utc, 'infinity'))) - g.gone)
        AS p (rest)
    WHERE desk.in_box(r.node)
    UNION ALL
    SELECT 0, f.run, (r.node || ':' || f.camera) COLLATE "C", coalesce(c.station, ''), coalesce(c.recipe, ''),
        'elsewhere ' || lower(p.piece), 'node:elsewhere', lower(p.piece), lower(p.piece) - r.started_utc,
        nullif(upper(p.piece), 'infinity'), nullif(upper(p.piece), 'infinity') - r.started_utc,
        r.node, f.camera
    FROM (SELECT s.run, s.camera, range_agg(desk.times(s.from_utc, s.to_utc)) AS gone
        FROM desk.superseded s GROUP BY s.run, s.camera) f
    JOIN records.runs r ON r.run = f.run
    LEFT JOIN LATERAL (SELECT c.station, c.recipe FROM records.cameras c
        WHERE c.run = f.run AND c.name = f.camera ORDER BY c.since_utc DESC LIMIT 1) c ON true
    CROSS JOIN LATERAL unnest(f.gone) AS p (piece)
    WHERE desk.in_box(r.node);
-- Those of other rows that have a run.
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT table_name AS name, string_agg(CASE
                WHEN column_name = 'camera' THEN '(r.node || '':'' || t.camera) COLLATE "C" AS camera'
                ELSE format('t.%I', column_name) END, ', ' ORDER BY ordinal_position) AS columns,
            CASE WHEN bool_or(column_name = 'camera') THEN ', t.camera AS own_camera' ELSE '' END AS own
        FROM information_schema.columns
        WHERE table_schema = 'desk' AND table_name IN ('states', 'evidence', 'clips', 'clock_steps')
        GROUP BY table_name
    LOOP
        EXECUTE format('CREATE OR REPLACE VIEW desk.%1$I AS SELECT %2$s, r.node AS box %3$s
            FROM records.%1$I t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node)',
            one.name, one.columns, one.own);
    END LOOP;
END $$;

CREATE OR REPLACE VIEW desk_parts.parts AS
    SELECT t.number, (t.node || ':' || t.lane) COLLATE "C" AS lane, t.sequence, t.part_id, t.lot, t.recipe,
        t.triggered_utc, t.decided_utc, t.verdict, t.cause, t.inspections, t.run_id, t.is_simulated, t.corrected,
        t.node AS box
    FROM parts.parts t WHERE desk.in_box(t.node);
CREATE OR REPLACE VIEW desk_parts.lots AS
    SELECT t.number, CASE WHEN t.lane = '*' THEN '*' ELSE (t.node || ':' || t.lane) COLLATE "C" END AS lane, t.lot,
        t.begun_utc, t.node AS box
    FROM parts.lots t WHERE desk.in_box(t.node);
CREATE OR REPLACE VIEW desk_parts.journal AS
    SELECT t.number, t.kind, t.key, t.at_utc, CASE WHEN t.kind = 'part' THEN jsonb_set(t.body::jsonb, '{inspections}',
        coalesce((SELECT jsonb_object_agg(t.node || ':' || f.key, f.value)
            FROM jsonb_each(t.body::jsonb -> 'inspections') AS f), '{}'))::text ELSE t.body END AS body, t.digest,
        t.node AS box
    FROM parts.journal t WHERE desk.in_box(t.node);
CREATE OR REPLACE VIEW desk_reviews.answers AS
    SELECT t.number, t.key, t.kind, t.run_id, t.id, t.person, t.at_utc, t.verdict, t.class, t.is_second, t.stratum,
        t.inclusion, t.submission, t.withdrawn, t.node AS box
    FROM reviews.answers t WHERE desk.in_box(t.node);
CREATE OR REPLACE VIEW desk_reviews.journal AS
    SELECT t.number, t.kind, t.key, t.at_utc, t.body, t.digest, t.node AS box
    FROM reviews.journal t WHERE desk.in_box(t.node);

-- What was removed here is missing of every box, and has none. Of a box's lost entries, and of its journal, as before.
CREATE OR REPLACE VIEW desk.removals AS
    SELECT t.pruning AS removal, t.at_utc, f.removed_from, t.rows, 0.0::double precision AS from_utc,
        t.before_utc AS to_utc, 'prune' AS why, NULL::text AS box
    FROM plant.prunings t CROSS JOIN (VALUES ('events'), ('coverage'), ('not_inspected'), ('states'), ('near_misses'),
        ('audits'), ('clips')) AS f (removed_from)
    UNION ALL
    SELECT l.from_number, l.noticed_utc, f.removed_from, l.to_number - l.from_number + 1, 0.0,
        least(l.noticed_utc, (SELECT min(j.at_utc) FROM records.journal j JOIN plant.nodes n ON n.node = j.node
            WHERE j.node = l.node AND j.number > n.number * 1099511627776 + l.to_number)),
        'removed before it was shipped', l.node
    FROM plant.lost l CROSS JOIN (VALUES ('events'), ('coverage'), ('not_inspected'), ('near_misses'), ('audits'))
        AS f (removed_from)
    WHERE l.journal = 'records' AND desk.in_box(l.node);
CREATE OR REPLACE VIEW desk.journal AS
    SELECT t.number, t.run, t.kind, t.key, t.at_utc, t.body, t.digest, t.node AS box
    FROM records.journal t WHERE desk.in_box(t.node)
    UNION ALL
    SELECT f.number + (t.run & ~1099511627775::bigint), t.run, 'event', t.event_id, t.first_seen_utc, '{}', ''::bytea,
        r.node
    FROM records.events t JOIN records.runs r ON r.run = t.run
    CROSS JOIN LATERAL (VALUES (t.first_entry), (t.entry)) AS f (number)
    WHERE f.number > 0 AND desk.in_box(r.node)
    UNION ALL
    SELECT n.number * 1099511627776 + t.number, 0, 'shipped', '', t.at_utc, '{}', t.digest, t.node
    FROM plant.shipment t JOIN plant.nodes n ON n.node = t.node WHERE t.journal = 'records' AND desk.in_box(t.node);

-- Whether a part of a challenge was passing any camera of a lane's box: only then the lane's own cameras are looked for.
CREATE INDEX windows_by_end ON desk.challenge_windows (split_part(camera, ':', 1), to_utc);
CREATE FUNCTION desk.challenge_at(lane text, utc double precision) RETURNS boolean LANGUAGE sql STABLE
    RETURN EXISTS (SELECT 1 FROM desk.challenge_windows w
        WHERE split_part(w.camera, ':', 1) = split_part(lane, ':', 1) AND w.from_utc <= utc AND w.to_utc > utc);

-- The views of one box.
CREATE SCHEMA desk_of_box;
CREATE SCHEMA desk_parts_of_box;
CREATE SCHEMA desk_reviews_of_box;
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT table_schema AS of, table_name AS name FROM information_schema.columns
        WHERE table_schema IN ('desk', 'desk_parts', 'desk_reviews') AND column_name = 'box'
    LOOP
        EXECUTE format('CREATE VIEW %1$I.%2$I AS SELECT t.* FROM %3$I.%2$I t WHERE %4$s', one.of || '_of_box', one.name,
            one.of, CASE WHEN one.name = 'removals' THEN 't.box IS NULL OR ' ELSE '' END
            || 't.box = current_setting(''vision_line.box'')');
    END LOOP;
END $$;
