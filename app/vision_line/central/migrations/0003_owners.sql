-- SPDX-License-Identifier: AGPL-3.0-or-later
-- Boxes of a fleet may inspect one camera at the same time for a while. Each moment of it counts once: the desk's views
-- leave out what is superseded (docs/decisions/0056-owners-of-a-camera.md).

ALTER TABLE records.runs ADD COLUMN fleet text NOT NULL DEFAULT '';
ALTER TABLE records.cameras
    ADD COLUMN epoch bigint NOT NULL DEFAULT 0, ADD COLUMN inspected_utc double precision;
CREATE INDEX runs_by_fleet ON records.runs (fleet) WHERE fleet <> '';
CREATE INDEX cameras_by_name ON records.cameras (name) WHERE epoch > 0;
CREATE INDEX not_inspected_by_camera ON records.not_inspected (run, camera, started_utc);

-- Times in which the records that a run has of a camera do not count, because `by_run` inspects it, or has it as the
-- higher epoch of the plan says. `to_utc` infinity: it goes on.
CREATE TABLE records.superseded (
    run bigint NOT NULL REFERENCES records.runs (run), camera text NOT NULL,
    by_run bigint NOT NULL REFERENCES records.runs (run), from_utc double precision NOT NULL,
    to_utc double precision NOT NULL, PRIMARY KEY (run, camera, by_run, from_utc));

-- Replaces what is known from a moment on of a camera of a fleet: with the rights of the owner, so that a box needs none
-- to delete.
CREATE FUNCTION records.supersede(
    of_fleet text, of_camera text, since_utc double precision, runs bigint[], by_runs bigint[],
    from_utcs double precision[], to_utcs double precision[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM records.superseded s USING records.runs r
        WHERE r.run = s.run AND r.fleet = of_fleet AND s.camera = of_camera AND s.from_utc >= since_utc;
    UPDATE records.superseded s SET to_utc = since_utc FROM records.runs r
        WHERE r.run = s.run AND r.fleet = of_fleet AND s.camera = of_camera AND s.to_utc > since_utc;
    INSERT INTO records.superseded (run, camera, by_run, from_utc, to_utc)
        SELECT u.run, of_camera, u.by_run, u.from_utc, u.to_utc
        FROM unnest(runs, by_runs, from_utcs, to_utcs) u (run, by_run, from_utc, to_utc);
$$;

-- The same, each only as long as the run lives by which it is: of one that goes on, and whose box sent no sign of it for
-- a minute, nothing is known after the last one.
CREATE VIEW desk.superseded AS
    SELECT s.run, s.camera, s.by_run, s.from_utc, f.to_utc
    FROM records.superseded s JOIN records.runs b ON b.run = s.by_run
    CROSS JOIN LATERAL (SELECT least(s.to_utc, coalesce(b.ended_utc,
        CASE WHEN b.alive_utc > extract(epoch FROM now())::float8 - 60 THEN 'infinity'::float8
            ELSE coalesce(b.alive_utc, b.started_utc) END)) AS to_utc) f
    WHERE f.to_utc > s.from_utc;

CREATE TYPE desk.times AS RANGE (subtype = double precision, multirange_type_name = desk.some_times);

CREATE OR REPLACE VIEW desk.runs AS
    SELECT t.run, t.run_id, t.version, t.started_utc, t.ended_utc, t.config_sha256, t.model_name, t.model_sha256,
        t.precision, t.device, t.node || ' (' || t.host || ')' AS host, t.classes, t.evidence, t.end_cause, t.alive_utc,
        t.alive_boot_s, t.boot_id, t.instruction_set, t.form, t.form_reason, t.clips, t.node,
        t.fleet
    FROM records.runs t WHERE desk.in_box(t.node);
CREATE OR REPLACE VIEW desk.cameras AS
    SELECT t.run, (r.node || ':' || t.name) COLLATE "C" AS name, t.station, t.recipe, t.url, t.since_utc, t.settings,
        t.model_name, t.model_sha256, t.epoch, t.inspected_utc
    FROM records.cameras t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE OR REPLACE VIEW desk.events AS
    SELECT t.event, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.event_id,
        t.class, t.verdict, t.phase, t.ended, t.score, t.top_score, t.hits, t.x1, t.y1, t.x2, t.y2, t.width, t.height,
        t.sequence, t.first_seen_utc, t.first_seen_s, t.last_seen_utc, t.last_seen_s, t.confirmed_sequence,
        t.first_sequence, t.first_x1, t.first_y1, t.first_x2, t.first_y2, t.last_sequence, t.last_score, t.last_x1,
        t.last_y1, t.last_x2, t.last_y2, t.picture_sequence
    FROM records.events t JOIN records.runs r ON r.run = t.run
    WHERE desk.in_box(r.node) AND NOT EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run
        AND s.camera = t.camera AND s.from_utc <= t.first_seen_utc AND t.first_seen_utc < s.to_utc);
CREATE OR REPLACE VIEW desk.near_misses AS
    SELECT t.near_miss, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe,
        t.near_miss_id, t.class, t.score, t.hits, t.x1, t.y1, t.x2, t.y2, t.width, t.height, t.sequence,
        t.first_seen_utc, t.first_seen_s, t.last_seen_utc, t.last_seen_s, t.probability, t.path, t.sha256, t.bytes,
        t.created_utc, t.deleted_utc, t.deleted_why, t.missing
    FROM records.near_misses t JOIN records.runs r ON r.run = t.run
    WHERE desk.in_box(r.node) AND NOT EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run
        AND s.camera = t.camera AND s.from_utc <= t.first_seen_utc AND t.first_seen_utc < s.to_utc);
CREATE OR REPLACE VIEW desk.audits AS
    SELECT t.audit, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.sequence,
        t.arrived_utc, t.arrived_s, t.probability, t.detections, t.width, t.height, t.path, t.sha256, t.bytes,
        t.created_utc, t.deleted_utc, t.deleted_why, t.missing
    FROM records.audits t JOIN records.runs r ON r.run = t.run
    WHERE desk.in_box(r.node) AND NOT EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run
        AND s.camera = t.camera AND s.from_utc <= t.arrived_utc AND t.arrived_utc < s.to_utc);
CREATE OR REPLACE VIEW desk.detections AS
    SELECT t.detection, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.sequence,
        t.arrived_utc, t.arrived_s, t.camera_utc, t.pts_s, t.class, t.score, t.x1, t.y1, t.x2, t.y2, t.width, t.height,
        t.event_id, t.latency_ms, t.behind_ms
    FROM records.detections t JOIN records.runs r ON r.run = t.run
    WHERE desk.in_box(r.node) AND NOT EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run
        AND s.camera = t.camera AND s.from_utc <= t.arrived_utc AND t.arrived_utc < s.to_utc);
-- A minute has one number of frames, so that it is left out where none of it counts.
CREATE OR REPLACE VIEW desk.coverage AS
    SELECT t.minute, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.minute_utc,
        t.clock, t.provisional, t.arrived, t.decoded, t.inspected, t.dropped_superseded, t.dropped_stale,
        t.dropped_behind, t.dropped_shed, t.dropped_rate_cap, t.dropped_frozen, t.dropped_corrupt, t.dropped_log,
        t.dropped_shutdown, t.not_inspected_s, t.reconnects, t.looked_utc
    FROM records.coverage t JOIN records.runs r ON r.run = t.run
    WHERE desk.in_box(r.node) AND NOT (
        EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run AND s.camera = t.camera
            AND s.from_utc <= t.minute_utc AND t.minute_utc < s.to_utc)
        AND desk.some_times(desk.times(t.minute_utc, t.minute_utc + 60)) <@ (
            SELECT range_agg(desk.times(s.from_utc, s.to_utc)) FROM desk.superseded s
            WHERE s.run = t.run AND s.camera = t.camera));

-- What another box inspects is not missing, and the time is not due here: it has an interval of its own, which has no
-- number. What is left of an interval, perhaps in pieces, has its seconds cut off as its times are.
CREATE OR REPLACE VIEW desk.not_inspected AS
    SELECT t.interval, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.interval_id,
        t.cause, t.started_utc, t.started_s, t.ended_utc, t.ended_s
    FROM records.not_inspected t JOIN records.runs r ON r.run = t.run
    WHERE desk.in_box(r.node) AND NOT EXISTS (SELECT 1 FROM desk.superseded s WHERE s.run = t.run
        AND s.camera = t.camera AND s.from_utc < coalesce(t.ended_utc, 'infinity') AND s.to_utc > t.started_utc)
    UNION ALL
    SELECT t.interval, t.run, (r.node || ':' || t.camera) COLLATE "C", t.station, t.recipe, t.interval_id, t.cause,
        lower(p.rest), t.started_s + (lower(p.rest) - t.started_utc), nullif(upper(p.rest), 'infinity'),
        t.started_s + (nullif(upper(p.rest), 'infinity') - t.started_utc)
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
        nullif(upper(p.piece), 'infinity'), nullif(upper(p.piece), 'infinity') - r.started_utc
    FROM (SELECT s.run, s.camera, range_agg(desk.times(s.from_utc, s.to_utc)) AS gone
        FROM desk.superseded s GROUP BY s.run, s.camera) f
    JOIN records.runs r ON r.run = f.run
    LEFT JOIN LATERAL (SELECT c.station, c.recipe FROM records.cameras c
        WHERE c.run = f.run AND c.name = f.camera ORDER BY c.since_utc DESC LIMIT 1) c ON true
    CROSS JOIN LATERAL unnest(f.gone) AS p (piece)
    WHERE desk.in_box(r.node);

-- How many events each such time has, which no page counts; `by_box` is whose records of it count.
CREATE VIEW desk.not_counted AS
    SELECT (r.node || ':' || s.camera) COLLATE "C" AS camera, b.node AS by_box, s.from_utc, s.to_utc,
        (SELECT count(*) FROM records.events t WHERE t.run = s.run AND t.camera = s.camera
            AND t.first_seen_utc >= s.from_utc AND t.first_seen_utc < s.to_utc) AS events
    FROM desk.superseded s JOIN records.runs r ON r.run = s.run JOIN records.runs b ON b.run = s.by_run
    WHERE desk.in_box(r.node);
