PRAGMA application_id=1986816366;
PRAGMA user_version=2;
BEGIN TRANSACTION;
CREATE TABLE cameras (
        run INTEGER NOT NULL REFERENCES runs (run), name TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, url TEXT NOT NULL,
        since_utc REAL NOT NULL, settings TEXT NOT NULL DEFAULT '', PRIMARY KEY (run, name, since_utc)) STRICT;
INSERT INTO "cameras" VALUES(1,'cam01','s1','r1','rtsp://10.0.0.1/a',1788242400.0,'{}');
CREATE TABLE coverage (
        minute INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, minute_utc INTEGER NOT NULL, arrived INTEGER NOT NULL,
        decoded INTEGER NOT NULL, inspected INTEGER NOT NULL,
        dropped_superseded INTEGER NOT NULL, dropped_stale INTEGER NOT NULL, dropped_rate_cap INTEGER NOT NULL, dropped_frozen INTEGER NOT NULL, dropped_corrupt INTEGER NOT NULL, dropped_log INTEGER NOT NULL, dropped_shutdown INTEGER NOT NULL,
        not_inspected_s REAL NOT NULL, reconnects INTEGER NOT NULL, UNIQUE (run, camera, minute_utc)) STRICT;
INSERT INTO "coverage" VALUES(1,1,'cam01','s1','r1',1788242400,100,100,90,10,0,0,0,0,0,0,1.5,0);
CREATE TABLE detections (
        detection INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, sequence INTEGER NOT NULL, arrived_utc REAL NOT NULL,
        arrived_s REAL NOT NULL, camera_utc REAL, pts_s REAL, class TEXT NOT NULL, score REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
        width INTEGER NOT NULL, height INTEGER NOT NULL, event_id TEXT, latency_ms REAL NOT NULL) STRICT;
INSERT INTO "detections" VALUES(1,1,'cam01','s1','r1',7,1788242401.0,101.0,NULL,NULL,'open',0.9,10.0,10.0,20.0,20.0,640,360,'e1',12.0);
CREATE TABLE events (
        event INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, event_id TEXT NOT NULL, class TEXT NOT NULL, verdict TEXT NOT NULL,
        phase TEXT NOT NULL, ended INTEGER NOT NULL, score REAL NOT NULL, top_score REAL NOT NULL,
        hits INTEGER NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL, width INTEGER, height INTEGER, sequence INTEGER NOT NULL,
        first_seen_utc REAL NOT NULL, first_seen_s REAL NOT NULL, last_seen_utc REAL NOT NULL,
        last_seen_s REAL NOT NULL, confirmed_sequence INTEGER NOT NULL, UNIQUE (run, event_id)) STRICT;
INSERT INTO "events" VALUES(1,1,'cam01','s1','r1','e1','open','reject','end',1,0.8,0.9,3,10.0,10.0,20.0,20.0,640,360,9,1788242401.0,101.0,1788242402.0,102.0,8);
CREATE TABLE evidence (
        evidence INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), event_id TEXT NOT NULL, path TEXT, overlay_path TEXT, sha256 TEXT,
        bytes INTEGER NOT NULL, created_utc REAL NOT NULL, deleted_utc REAL, missing TEXT,
        UNIQUE (run, event_id)) STRICT;
INSERT INTO "evidence" VALUES(1,1,'e1',NULL,NULL,NULL,0,1788242401.0,NULL,'off');
CREATE TABLE not_inspected (
        interval INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, interval_id TEXT NOT NULL, cause TEXT NOT NULL,
        started_utc REAL NOT NULL, started_s REAL NOT NULL, ended_utc REAL, ended_s REAL,
        UNIQUE (run, interval_id)) STRICT;
INSERT INTO "not_inspected" VALUES(1,1,'cam01','s1','r1','i1','capacity',1788242410.0,110.0,1788242411.5,111.5);
CREATE TABLE runs (
        run INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, version TEXT NOT NULL, started_utc REAL NOT NULL,
        ended_utc REAL, config_sha256 TEXT NOT NULL, model_name TEXT NOT NULL, model_sha256 TEXT NOT NULL,
        precision TEXT NOT NULL, device TEXT NOT NULL, host TEXT NOT NULL, classes TEXT NOT NULL,
        evidence INTEGER NOT NULL) STRICT;
INSERT INTO "runs" VALUES(1,'20260901T060000.000Z','0.1.0',1788242400.0,1788246000.0,'c','demo','m','int8','cpu','box','["open"]',0);
CREATE TABLE states (
        change INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, state TEXT NOT NULL, code TEXT, detail TEXT NOT NULL,
        at_utc REAL NOT NULL, at_s REAL NOT NULL) STRICT;
INSERT INTO "states" VALUES(1,1,'cam01','s1','r1','RUNNING',NULL,'',1788242400.0,100.0);
CREATE INDEX detections_by_time ON detections (arrived_utc);
CREATE INDEX detections_by_frame ON detections (run, camera, sequence);
CREATE INDEX events_by_time ON events (first_seen_utc);
CREATE INDEX coverage_by_time ON coverage (minute_utc);
CREATE INDEX not_inspected_by_time ON not_inspected (started_utc);
CREATE INDEX states_by_time ON states (at_utc);
CREATE INDEX evidence_kept ON evidence (created_utc) WHERE path IS NOT NULL AND deleted_utc IS NULL;
COMMIT;
