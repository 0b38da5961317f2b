-- SPDX-License-Identifier: AGPL-3.0-or-later
-- The records of many boxes. A schema for each file of a box: `records`, `parts`, `reviews`; its tables have the names
-- and columns that they have there. `plant` says which boxes there are and how far each has come.
--
-- Times (`_utc`) are seconds since the Unix epoch. A number of a run, of a journal's entry and of what bears an entry's
-- number is the box's own number plus 2^40 times the node's; row numbers (`events.event` ...) are given here and stay.
-- `entry` is the number, of the records' journal, of the entry that said last how a row is; 0: it has none yet.

CREATE SCHEMA records;
CREATE SCHEMA parts;
CREATE SCHEMA reviews;

-- Every box. `host` and `directory` say where the records are that came first. `box_utc` and `database_utc` are the two
-- clocks at one moment, `clock_offset_s` is how far the box's is ahead; `seen_utc` is by the database's clock.
CREATE TABLE plant.nodes (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, node text NOT NULL UNIQUE, host text NOT NULL,
    directory text NOT NULL, version text NOT NULL, added_utc double precision NOT NULL,
    seen_utc double precision NOT NULL, box_utc double precision NOT NULL, database_utc double precision NOT NULL,
    clock_offset_s double precision NOT NULL);

-- Up to the box's entry `number` everything of a journal is here. `at_utc` is when that entry was written, by the box's
-- clock; `shipped_utc` when it came, by the database's. `entries` counts what came.
CREATE TABLE plant.shipment (
    node text NOT NULL REFERENCES plant.nodes (node), journal text NOT NULL, number bigint NOT NULL,
    digest bytea NOT NULL, at_utc double precision NOT NULL, shipped_utc double precision NOT NULL,
    entries bigint NOT NULL DEFAULT 0, PRIMARY KEY (node, journal));

-- Digests of some of a box's entries, by the box's numbers: kept where the box cannot change them.
CREATE TABLE plant.heads (
    node text NOT NULL REFERENCES plant.nodes (node), journal text NOT NULL, number bigint NOT NULL,
    digest bytea NOT NULL, at_utc double precision NOT NULL, shipped_utc double precision NOT NULL,
    PRIMARY KEY (node, journal, number));

-- Entries, by the box's numbers, that the box removed before they were shipped.
CREATE TABLE plant.lost (
    node text NOT NULL REFERENCES plant.nodes (node), journal text NOT NULL, from_number bigint NOT NULL,
    to_number bigint NOT NULL, noticed_utc double precision NOT NULL, PRIMARY KEY (node, journal, from_number));

-- Rows that a box took back: what they said was not so. `body` is the row as it was, a JSON object.
CREATE TABLE plant.withdrawn (
    node text NOT NULL REFERENCES plant.nodes (node), number bigint NOT NULL, kind text NOT NULL, run bigint NOT NULL,
    key text NOT NULL, body text NOT NULL, at_utc double precision NOT NULL, PRIMARY KEY (node, number));

-- What was removed here, and is not taken in again.
CREATE TABLE plant.prunings (
    pruning bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, before_utc double precision NOT NULL,
    rows bigint NOT NULL, at_utc double precision NOT NULL);

CREATE TABLE records.runs (
    run bigint PRIMARY KEY, node text NOT NULL REFERENCES plant.nodes (node), run_id text NOT NULL UNIQUE,
    version text NOT NULL, started_utc double precision NOT NULL, ended_utc double precision,
    config_sha256 text NOT NULL, model_name text NOT NULL, model_sha256 text NOT NULL, precision text NOT NULL,
    device text NOT NULL, host text NOT NULL, classes text NOT NULL, evidence bigint NOT NULL, end_cause text,
    alive_utc double precision, alive_boot_s double precision, boot_id text, instruction_set text, form text,
    form_reason text, clips text, entry bigint NOT NULL);
CREATE INDEX runs_by_node ON records.runs (node, started_utc);

CREATE TABLE records.cameras (
    run bigint NOT NULL REFERENCES records.runs (run), name text NOT NULL, station text NOT NULL, recipe text NOT NULL,
    url text NOT NULL, since_utc double precision NOT NULL, settings text NOT NULL DEFAULT '',
    model_name text NOT NULL DEFAULT '', model_sha256 text NOT NULL DEFAULT '', entry bigint NOT NULL,
    PRIMARY KEY (run, name, since_utc));

CREATE SEQUENCE records.events_event;
CREATE TABLE records.events (
    event bigint NOT NULL DEFAULT nextval('records.events_event'),
    run bigint NOT NULL REFERENCES records.runs (run), camera text NOT NULL, station text NOT NULL,
    recipe text NOT NULL, event_id text NOT NULL, class text NOT NULL, verdict text NOT NULL, phase text NOT NULL,
    ended bigint NOT NULL, score double precision NOT NULL, top_score double precision NOT NULL, hits bigint NOT NULL,
    x1 double precision NOT NULL, y1 double precision NOT NULL, x2 double precision NOT NULL,
    y2 double precision NOT NULL, width bigint, height bigint, sequence bigint NOT NULL,
    first_seen_utc double precision NOT NULL, first_seen_s double precision NOT NULL,
    last_seen_utc double precision NOT NULL, last_seen_s double precision NOT NULL, confirmed_sequence bigint NOT NULL,
    first_sequence bigint, first_x1 double precision, first_y1 double precision, first_x2 double precision,
    first_y2 double precision, last_sequence bigint, last_score double precision, last_x1 double precision,
    last_y1 double precision, last_x2 double precision, last_y2 double precision, picture_sequence bigint,
    first_entry bigint NOT NULL, entry bigint NOT NULL,
    PRIMARY KEY (run, event_id, first_seen_utc)) PARTITION BY RANGE (first_seen_utc);
CREATE TABLE records.events_elsewhen PARTITION OF records.events DEFAULT;
CREATE INDEX events_by_time ON records.events (first_seen_utc, event);
CREATE INDEX events_by_number ON records.events (event);

CREATE SEQUENCE records.coverage_minute;
CREATE TABLE records.coverage (
    minute bigint NOT NULL DEFAULT nextval('records.coverage_minute'),
    run bigint NOT NULL REFERENCES records.runs (run), camera text NOT NULL, station text NOT NULL,
    recipe text NOT NULL, minute_utc bigint NOT NULL, clock bigint NOT NULL DEFAULT 0,
    provisional bigint NOT NULL DEFAULT 0, arrived bigint NOT NULL, decoded bigint NOT NULL, inspected bigint NOT NULL,
    dropped_superseded bigint NOT NULL DEFAULT 0, dropped_stale bigint NOT NULL DEFAULT 0,
    dropped_behind bigint NOT NULL DEFAULT 0, dropped_shed bigint NOT NULL DEFAULT 0,
    dropped_rate_cap bigint NOT NULL DEFAULT 0, dropped_frozen bigint NOT NULL DEFAULT 0,
    dropped_corrupt bigint NOT NULL DEFAULT 0, dropped_log bigint NOT NULL DEFAULT 0,
    dropped_shutdown bigint NOT NULL DEFAULT 0, not_inspected_s double precision NOT NULL, reconnects bigint NOT NULL,
    looked_utc double precision, entry bigint NOT NULL,
    PRIMARY KEY (run, camera, minute_utc, clock)) PARTITION BY RANGE (minute_utc);
CREATE TABLE records.coverage_elsewhen PARTITION OF records.coverage DEFAULT;
CREATE INDEX coverage_by_time ON records.coverage (minute_utc);

-- Not partitioned: `started_utc` may change, and a unique key would have to hold it.
CREATE TABLE records.not_inspected (
    interval bigint GENERATED ALWAYS AS IDENTITY UNIQUE, run bigint NOT NULL REFERENCES records.runs (run),
    camera text NOT NULL, station text NOT NULL, recipe text NOT NULL, interval_id text NOT NULL, cause text NOT NULL,
    started_utc double precision NOT NULL, started_s double precision NOT NULL, ended_utc double precision,
    ended_s double precision, entry bigint NOT NULL, PRIMARY KEY (run, interval_id));
CREATE INDEX not_inspected_by_time ON records.not_inspected (started_utc);

-- `box_change` is the row's number in its box; `change` has the same order within a run.
CREATE TABLE records.states (
    change bigint GENERATED ALWAYS AS IDENTITY UNIQUE, run bigint NOT NULL REFERENCES records.runs (run),
    box_change bigint NOT NULL, camera text NOT NULL, station text NOT NULL, recipe text NOT NULL, state text NOT NULL,
    code text, detail text NOT NULL, at_utc double precision NOT NULL, at_s double precision NOT NULL,
    entry bigint NOT NULL, PRIMARY KEY (run, box_change));
CREATE INDEX states_by_time ON records.states (at_utc);
CREATE INDEX states_by_camera ON records.states (run, camera, change);

CREATE TABLE records.evidence (
    evidence bigint GENERATED ALWAYS AS IDENTITY UNIQUE, run bigint NOT NULL REFERENCES records.runs (run),
    event_id text NOT NULL, path text, overlay_path text, sha256 text, bytes bigint NOT NULL,
    created_utc double precision NOT NULL, deleted_utc double precision, missing text, crop_path text,
    overlay_sha256 text, crop_sha256 text, deleted_why text, entry bigint NOT NULL, PRIMARY KEY (run, event_id));
CREATE INDEX evidence_by_time ON records.evidence (created_utc);

CREATE TABLE records.clips (
    clip bigint GENERATED ALWAYS AS IDENTITY UNIQUE, run bigint NOT NULL REFERENCES records.runs (run),
    camera text NOT NULL, station text NOT NULL, recipe text NOT NULL, clip_id text NOT NULL, events text NOT NULL,
    begins_utc double precision, begins_s double precision, ends_utc double precision, ends_s double precision,
    codec text NOT NULL, frames bigint NOT NULL, reencoded bigint NOT NULL, note text NOT NULL, path text, sha256 text,
    bytes bigint NOT NULL, created_utc double precision NOT NULL, deleted_utc double precision, deleted_why text,
    missing text, entry bigint NOT NULL, PRIMARY KEY (run, clip_id));
CREATE INDEX clips_by_time ON records.clips (created_utc);

CREATE TABLE records.near_misses (
    near_miss bigint GENERATED ALWAYS AS IDENTITY UNIQUE, run bigint NOT NULL REFERENCES records.runs (run),
    camera text NOT NULL, station text NOT NULL, recipe text NOT NULL, near_miss_id text NOT NULL, class text NOT NULL,
    score double precision NOT NULL, hits bigint NOT NULL, x1 double precision NOT NULL, y1 double precision NOT NULL,
    x2 double precision NOT NULL, y2 double precision NOT NULL, width bigint NOT NULL, height bigint NOT NULL,
    sequence bigint NOT NULL, first_seen_utc double precision NOT NULL, first_seen_s double precision NOT NULL,
    last_seen_utc double precision NOT NULL, last_seen_s double precision NOT NULL,
    probability double precision NOT NULL, path text, sha256 text, bytes bigint NOT NULL,
    created_utc double precision NOT NULL, deleted_utc double precision, deleted_why text, missing text,
    entry bigint NOT NULL, PRIMARY KEY (run, near_miss_id));
CREATE INDEX near_misses_by_time ON records.near_misses (first_seen_utc);

CREATE TABLE records.audits (
    audit bigint GENERATED ALWAYS AS IDENTITY UNIQUE, run bigint NOT NULL REFERENCES records.runs (run),
    camera text NOT NULL, station text NOT NULL, recipe text NOT NULL, sequence bigint NOT NULL,
    arrived_utc double precision NOT NULL, arrived_s double precision NOT NULL, probability double precision NOT NULL,
    detections text NOT NULL, width bigint NOT NULL, height bigint NOT NULL, path text, sha256 text,
    bytes bigint NOT NULL, created_utc double precision NOT NULL, deleted_utc double precision, deleted_why text,
    missing text, entry bigint NOT NULL, PRIMARY KEY (run, camera, sequence));
CREATE INDEX audits_by_time ON records.audits (arrived_utc);

CREATE TABLE records.clock_steps (
    step bigint GENERATED ALWAYS AS IDENTITY UNIQUE, run bigint NOT NULL REFERENCES records.runs (run),
    clock bigint NOT NULL, at_s double precision NOT NULL, from_utc double precision NOT NULL,
    to_utc double precision NOT NULL, entry bigint NOT NULL, PRIMARY KEY (run, clock));

-- What boxes removed of their own records; here it stays until it is removed here. `removal` is numbered as runs are.
CREATE TABLE records.removals (
    removal bigint PRIMARY KEY, node text NOT NULL REFERENCES plant.nodes (node), at_utc double precision NOT NULL,
    removed_from text NOT NULL, rows bigint NOT NULL, from_utc double precision NOT NULL,
    to_utc double precision NOT NULL, why text NOT NULL, entry bigint NOT NULL);

-- Only with `ship_detections`. `detection` is the row's number in its box, unique within its run.
CREATE TABLE records.detections (
    detection bigint NOT NULL, run bigint NOT NULL REFERENCES records.runs (run), camera text NOT NULL,
    station text NOT NULL, recipe text NOT NULL, sequence bigint NOT NULL, arrived_utc double precision NOT NULL,
    arrived_s double precision NOT NULL, camera_utc double precision, pts_s double precision, class text NOT NULL,
    score double precision NOT NULL, x1 double precision NOT NULL, y1 double precision NOT NULL,
    x2 double precision NOT NULL, y2 double precision NOT NULL, width bigint NOT NULL, height bigint NOT NULL,
    event_id text, latency_ms double precision NOT NULL, behind_ms double precision NOT NULL DEFAULT 0,
    entry bigint NOT NULL, PRIMARY KEY (run, detection, arrived_utc)) PARTITION BY RANGE (arrived_utc);
CREATE TABLE records.detections_elsewhen PARTITION OF records.detections DEFAULT;
CREATE INDEX detections_by_frame ON records.detections (run, camera, sequence);

-- Entries of which no table has a row or which say more than that: of rows that come by thousands there are none.
-- `run` is 0 where an entry is of none.
CREATE TABLE records.journal (
    number bigint PRIMARY KEY, node text NOT NULL REFERENCES plant.nodes (node), run bigint NOT NULL,
    kind text NOT NULL, key text NOT NULL, at_utc double precision NOT NULL, body text NOT NULL, digest bytea NOT NULL);
CREATE INDEX journal_by_key ON records.journal (kind, key);

CREATE TABLE parts.journal (
    number bigint PRIMARY KEY, node text NOT NULL REFERENCES plant.nodes (node), kind text NOT NULL, key text NOT NULL,
    at_utc double precision NOT NULL, body text NOT NULL, digest bytea NOT NULL);
CREATE INDEX orders ON parts.journal (kind, key, number) WHERE kind IN ('lot', 'recipe');

CREATE TABLE parts.parts (
    number bigint PRIMARY KEY, node text NOT NULL REFERENCES plant.nodes (node), lane text NOT NULL,
    sequence bigint NOT NULL, part_id text NOT NULL, lot text NOT NULL, recipe text NOT NULL,
    triggered_utc double precision NOT NULL, decided_utc double precision NOT NULL, verdict text NOT NULL,
    cause text NOT NULL, inspections bigint NOT NULL, run_id text NOT NULL, is_simulated bigint NOT NULL,
    corrected bigint, UNIQUE (node, lane, sequence));
CREATE INDEX parts_by_time ON parts.parts (triggered_utc);
CREATE INDEX parts_by_lot ON parts.parts (lot) WHERE lot <> '';
CREATE INDEX parts_by_id ON parts.parts (part_id) WHERE part_id <> '';

CREATE TABLE parts.part_events (
    number bigint NOT NULL, run_id text NOT NULL, event_id text NOT NULL, PRIMARY KEY (number, run_id, event_id));
CREATE INDEX part_events_by_event ON parts.part_events (event_id);

CREATE TABLE parts.lots (
    number bigint PRIMARY KEY, node text NOT NULL REFERENCES plant.nodes (node), lane text NOT NULL, lot text NOT NULL,
    begun_utc double precision NOT NULL);

-- Of entries about accounts the body stays in its box, and is empty here.
CREATE TABLE reviews.journal (
    number bigint PRIMARY KEY, node text NOT NULL REFERENCES plant.nodes (node), kind text NOT NULL, key text NOT NULL,
    at_utc double precision NOT NULL, body text NOT NULL, digest bytea NOT NULL);
CREATE INDEX journal_by_kind ON reviews.journal (kind, key);

CREATE TABLE reviews.answers (
    number bigint PRIMARY KEY, node text NOT NULL REFERENCES plant.nodes (node), key text NOT NULL, kind text NOT NULL,
    run_id text NOT NULL, id text NOT NULL, person text NOT NULL, at_utc double precision NOT NULL,
    verdict text NOT NULL, class text, is_second bigint NOT NULL, stratum text NOT NULL,
    inclusion double precision NOT NULL, submission text, withdrawn bigint, UNIQUE (node, person, submission));
CREATE INDEX answers_by_key ON reviews.answers (key);

-- Makes the month of a partitioned table that a moment is in, for who may not make tables. Moments before 1970 and from
-- 2200 on, which no clock shows, are in the default partition.
CREATE FUNCTION plant.ensure_month(partitioned text, at_utc double precision) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    begins timestamp;
    name text;
BEGIN
    IF partitioned NOT IN ('events', 'coverage', 'detections') THEN
        RAISE EXCEPTION 'records.% has no months', partitioned;
    END IF;
    IF at_utc >= 0 AND at_utc < 7258118400 THEN
        begins := date_trunc('month', to_timestamp(at_utc) AT TIME ZONE 'UTC');
        name := partitioned || to_char(begins, '_YYYY_MM');
        IF to_regclass(format('records.%I', name)) IS NULL THEN
            PERFORM pg_advisory_xact_lock(hashtext('vision-line months'));
            EXECUTE format(
                'CREATE TABLE IF NOT EXISTS records.%I PARTITION OF records.%I FOR VALUES FROM (%s) TO (%s)',
                name, partitioned, extract(epoch FROM begins)::bigint,
                extract(epoch FROM begins + interval '1 month')::bigint);
        END IF;
    END IF;
END $$;
REVOKE ALL ON FUNCTION plant.ensure_month(text, double precision) FROM PUBLIC;
