-- SPDX-License-Identifier: AGPL-3.0-or-later
-- What the desk of all boxes reads. A schema for each file of a box: `desk`, `desk_parts`, `desk_reviews`; with one of
-- them as its path the desk's statements are those that it asks of a box's file.
--
-- A camera is called `box:camera` here, and a lane `box:lane`: two boxes may have cameras of one name. With the setting
-- `vision_line.box` only what is of that box is there.

CREATE SCHEMA desk;
CREATE SCHEMA desk_parts;
CREATE SCHEMA desk_reviews;

CREATE FUNCTION desk.in_box(node text) RETURNS boolean LANGUAGE sql STABLE
    RETURN coalesce(current_setting('vision_line.box', true), '') IN ('', node);

-- What SQLite has of JSON and the desk asks for: the items of a list, the values of an object at a path, one value.
-- `$.window_utc[0]` as PostgreSQL has it.
CREATE FUNCTION desk.json_steps(path text) RETURNS text[] LANGUAGE sql IMMUTABLE
    RETURN string_to_array(ltrim(replace(replace(substr(path, 2), '[', '.'), ']', ''), '.'), '.');
CREATE FUNCTION desk.json_each(document text) RETURNS TABLE (key text, value text) LANGUAGE sql IMMUTABLE AS $$
    SELECT (f.place - 1)::text, f.item
    FROM jsonb_array_elements_text(document::jsonb) WITH ORDINALITY AS f (item, place)
$$;
CREATE FUNCTION desk.json_each(document text, path text) RETURNS TABLE (key text, value text)
    LANGUAGE sql IMMUTABLE AS $$
    SELECT f.key, f.value FROM jsonb_each_text(document::jsonb #> desk.json_steps(path)) AS f
$$;
CREATE FUNCTION desk.json_extract(document text, path text) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN document::jsonb #>> desk.json_steps(path);

CREATE VIEW desk.runs AS
    SELECT t.run, t.run_id, t.version, t.started_utc, t.ended_utc, t.config_sha256, t.model_name, t.model_sha256,
        t.precision, t.device, t.node || ' (' || t.host || ')' AS host, t.classes, t.evidence, t.end_cause, t.alive_utc,
        t.alive_boot_s, t.boot_id, t.instruction_set, t.form, t.form_reason, t.clips
    FROM records.runs t WHERE desk.in_box(t.node);
CREATE VIEW desk.events AS
    SELECT t.event, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.event_id,
        t.class, t.verdict, t.phase, t.ended, t.score, t.top_score, t.hits, t.x1, t.y1, t.x2, t.y2, t.width, t.height,
        t.sequence, t.first_seen_utc, t.first_seen_s, t.last_seen_utc, t.last_seen_s, t.confirmed_sequence,
        t.first_sequence, t.first_x1, t.first_y1, t.first_x2, t.first_y2, t.last_sequence, t.last_score, t.last_x1,
        t.last_y1, t.last_x2, t.last_y2, t.picture_sequence
    FROM records.events t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE VIEW desk.coverage AS
    SELECT t.minute, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.minute_utc,
        t.clock, t.provisional, t.arrived, t.decoded, t.inspected, t.dropped_superseded, t.dropped_stale,
        t.dropped_behind, t.dropped_shed, t.dropped_rate_cap, t.dropped_frozen, t.dropped_corrupt, t.dropped_log,
        t.dropped_shutdown, t.not_inspected_s, t.reconnects, t.looked_utc
    FROM records.coverage t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE VIEW desk.not_inspected AS
    SELECT t.interval, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.interval_id,
        t.cause, t.started_utc, t.started_s, t.ended_utc, t.ended_s
    FROM records.not_inspected t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE VIEW desk.states AS
    SELECT t.change, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.state, t.code,
        t.detail, t.at_utc, t.at_s
    FROM records.states t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE VIEW desk.evidence AS
    SELECT t.evidence, t.run, t.event_id, t.path, t.overlay_path, t.sha256, t.bytes, t.created_utc, t.deleted_utc,
        t.missing, t.crop_path, t.overlay_sha256, t.crop_sha256, t.deleted_why
    FROM records.evidence t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE VIEW desk.clips AS
    SELECT t.clip, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.clip_id,
        t.events, t.begins_utc, t.begins_s, t.ends_utc, t.ends_s, t.codec, t.frames, t.reencoded, t.note, t.path,
        t.sha256, t.bytes, t.created_utc, t.deleted_utc, t.deleted_why, t.missing
    FROM records.clips t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE VIEW desk.near_misses AS
    SELECT t.near_miss, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe,
        t.near_miss_id, t.class, t.score, t.hits, t.x1, t.y1, t.x2, t.y2, t.width, t.height, t.sequence,
        t.first_seen_utc, t.first_seen_s, t.last_seen_utc, t.last_seen_s, t.probability, t.path, t.sha256, t.bytes,
        t.created_utc, t.deleted_utc, t.deleted_why, t.missing
    FROM records.near_misses t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE VIEW desk.audits AS
    SELECT t.audit, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.sequence,
        t.arrived_utc, t.arrived_s, t.probability, t.detections, t.width, t.height, t.path, t.sha256, t.bytes,
        t.created_utc, t.deleted_utc, t.deleted_why, t.missing
    FROM records.audits t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE VIEW desk.clock_steps AS
    SELECT t.step, t.run, t.clock, t.at_s, t.from_utc, t.to_utc
    FROM records.clock_steps t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE VIEW desk.detections AS
    SELECT t.detection, t.run, (r.node || ':' || t.camera) COLLATE "C" AS camera, t.station, t.recipe, t.sequence,
        t.arrived_utc, t.arrived_s, t.camera_utc, t.pts_s, t.class, t.score, t.x1, t.y1, t.x2, t.y2, t.width, t.height,
        t.event_id, t.latency_ms, t.behind_ms
    FROM records.detections t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE VIEW desk.cameras AS
    SELECT t.run, (r.node || ':' || t.name) COLLATE "C" AS name, t.station, t.recipe, t.url, t.since_utc, t.settings,
        t.model_name, t.model_sha256
    FROM records.cameras t JOIN records.runs r ON r.run = t.run WHERE desk.in_box(r.node);
CREATE VIEW desk_parts.parts AS
    SELECT t.number, (t.node || ':' || t.lane) COLLATE "C" AS lane, t.sequence, t.part_id, t.lot, t.recipe,
        t.triggered_utc, t.decided_utc, t.verdict, t.cause, t.inspections, t.run_id, t.is_simulated, t.corrected
    FROM parts.parts t WHERE desk.in_box(t.node);
CREATE VIEW desk_parts.lots AS
    SELECT t.number, CASE WHEN t.lane = '*' THEN '*' ELSE (t.node || ':' || t.lane) COLLATE "C" END AS lane, t.lot,
        t.begun_utc
    FROM parts.lots t WHERE desk.in_box(t.node);
CREATE VIEW desk_reviews.answers AS
    SELECT t.number, t.key, t.kind, t.run_id, t.id, t.person, t.at_utc, t.verdict, t.class, t.is_second, t.stratum,
        t.inclusion, t.submission, t.withdrawn
    FROM reviews.answers t WHERE desk.in_box(t.node);

-- What is not here though it was due: rows that were removed here, and those of entries that a box had removed before
-- they were shipped. Of the time before the first entry behind these nothing is known.
CREATE VIEW desk.removals AS
    SELECT t.pruning AS removal, t.at_utc, f.removed_from, t.rows, 0.0::double precision AS from_utc,
        t.before_utc AS to_utc, 'prune' AS why
    FROM plant.prunings t CROSS JOIN (VALUES ('events'), ('coverage'), ('not_inspected'), ('states'), ('near_misses'),
        ('audits'), ('clips')) AS f (removed_from)
    UNION ALL
    SELECT l.from_number, l.noticed_utc, f.removed_from, l.to_number - l.from_number + 1, 0.0,
        least(l.noticed_utc, (SELECT min(j.at_utc) FROM records.journal j JOIN plant.nodes n ON n.node = j.node
            WHERE j.node = l.node AND j.number > n.number * 1099511627776 + l.to_number)),
        'removed before it was shipped'
    FROM plant.lost l CROSS JOIN (VALUES ('events'), ('coverage'), ('not_inspected'), ('near_misses'), ('audits'))
        AS f (removed_from)
    WHERE l.journal = 'records' AND desk.in_box(l.node);

-- Of the entries of events only the first and the newest are known here, and of each box the newest that came: that
-- they are, not what they say.
CREATE VIEW desk.journal AS
    SELECT t.number, t.run, t.kind, t.key, t.at_utc, t.body, t.digest
    FROM records.journal t WHERE desk.in_box(t.node)
    UNION ALL
    SELECT f.number + (t.run & ~1099511627775::bigint), t.run, 'event', t.event_id, t.first_seen_utc, '{}', ''::bytea
    FROM records.events t JOIN records.runs r ON r.run = t.run
    CROSS JOIN LATERAL (VALUES (t.first_entry), (t.entry)) AS f (number)
    WHERE f.number > 0 AND desk.in_box(r.node)
    UNION ALL
    SELECT n.number * 1099511627776 + t.number, 0, 'shipped', '', t.at_utc, '{}', t.digest
    FROM plant.shipment t JOIN plant.nodes n ON n.node = t.node WHERE t.journal = 'records' AND desk.in_box(t.node);
CREATE VIEW desk_parts.journal AS
    SELECT t.number, t.kind, t.key, t.at_utc, CASE WHEN t.kind = 'part' THEN jsonb_set(t.body::jsonb, '{inspections}',
        coalesce((SELECT jsonb_object_agg(t.node || ':' || f.key, f.value)
            FROM jsonb_each(t.body::jsonb -> 'inspections') AS f), '{}'))::text ELSE t.body END AS body, t.digest
    FROM parts.journal t WHERE desk.in_box(t.node);
CREATE VIEW desk_parts.part_events AS
    SELECT t.number, t.run_id, t.event_id FROM parts.part_events t;
CREATE VIEW desk_reviews.journal AS
    SELECT t.number, t.kind, t.key, t.at_utc, t.body, t.digest
    FROM reviews.journal t WHERE desk.in_box(t.node);

-- The times in which parts of challenges passed a camera, as the entries of the challenge say: from each part's turn to
-- the next act, for as long as a pass may take at most, behind the way to the camera. Kept up by each entry.
CREATE TABLE desk.challenge_windows (
    challenge bigint NOT NULL, camera text COLLATE "C" NOT NULL, from_utc double precision NOT NULL,
    to_utc double precision NOT NULL);
CREATE INDEX windows_by_challenge ON desk.challenge_windows (challenge);
CREATE INDEX windows_by_camera ON desk.challenge_windows (camera, from_utc);

CREATE FUNCTION desk.follow_challenge(begun_number bigint) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM desk.challenge_windows WHERE challenge = begun_number;
    WITH begun AS (
        SELECT number, node, body::jsonb AS said FROM reviews.journal
        WHERE number = begun_number AND kind = 'challenge_begun'
    ), acts AS (
        SELECT j.number, j.kind, (j.body::jsonb ->> 'at_utc')::double precision AS at_utc
        FROM reviews.journal j JOIN begun b ON b.node = j.node
        WHERE j.number > b.number AND j.kind IN ('challenge_part', 'challenge_ended', 'challenge_aborted')
        AND (j.body::jsonb ->> 'challenge')::bigint = b.number & 1099511627775
    ), turns AS (
        SELECT at_utc, row_number() OVER (ORDER BY number) AS place, lead(at_utc) OVER (ORDER BY number) AS next_utc
        FROM acts WHERE kind = 'challenge_part'
    ), limits AS (
        SELECT b.*, (said ->> 'longest_pass_s')::double precision AS longest_s,
            coalesce((said ->> 'travel_s')::double precision, 0) AS travel_s,
            coalesce(
                (SELECT at_utc FROM acts WHERE kind = 'challenge_aborted' ORDER BY number DESC LIMIT 1),
                (SELECT at_utc FROM acts WHERE kind = 'challenge_ended' ORDER BY number DESC LIMIT 1),
                (said ->> 'at_utc')::double precision + 86400) AS over_utc
        FROM begun b
    )
    INSERT INTO desk.challenge_windows
    SELECT l.number, l.node || ':' || c.camera, t.at_utc + travel_s,
        greatest(t.at_utc, least(coalesce(t.next_utc, over_utc), t.at_utc + longest_s)) + travel_s
    FROM limits l CROSS JOIN turns t CROSS JOIN LATERAL jsonb_array_elements_text(said -> 'cameras') AS c (camera)
    WHERE t.place <= jsonb_array_length(said -> 'passes')
$$;
CREATE FUNCTION desk.on_challenge_entry() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM desk.follow_challenge(
        (NEW.number & ~1099511627775::bigint) + (NEW.body::jsonb ->> 'challenge')::bigint);
    RETURN NULL;
END $$;
CREATE TRIGGER challenge_windows AFTER INSERT ON reviews.journal FOR EACH ROW
    WHEN (NEW.kind IN ('challenge_part', 'challenge_ended', 'challenge_aborted'))
    EXECUTE FUNCTION desk.on_challenge_entry();
SELECT desk.follow_challenge(number) FROM reviews.journal WHERE kind = 'challenge_begun';

CREATE FUNCTION desk.is_challenge(of_camera text, utc double precision) RETURNS boolean LANGUAGE sql STABLE
    RETURN EXISTS (SELECT 1 FROM desk.challenge_windows w
        WHERE w.camera = of_camera AND w.from_utc <= utc AND w.to_utc > utc);
CREATE FUNCTION desk.any_challenge() RETURNS boolean LANGUAGE sql STABLE
    RETURN EXISTS (SELECT 1 FROM desk.challenge_windows);
