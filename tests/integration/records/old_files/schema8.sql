BEGIN TRANSACTION;
CREATE TABLE audits (
        audit INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, sequence INTEGER NOT NULL, arrived_utc REAL NOT NULL,
        arrived_s REAL NOT NULL, probability REAL NOT NULL, detections TEXT NOT NULL, width INTEGER NOT NULL,
        height INTEGER NOT NULL, path TEXT, sha256 TEXT, bytes INTEGER NOT NULL, created_utc REAL NOT NULL, deleted_utc REAL, deleted_why TEXT, missing TEXT, UNIQUE (run, camera, sequence)) STRICT;
CREATE TABLE cameras (
        run INTEGER NOT NULL REFERENCES runs (run), name TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, url TEXT NOT NULL,
        since_utc REAL NOT NULL, settings TEXT NOT NULL DEFAULT '', model_name TEXT NOT NULL DEFAULT '',
        model_sha256 TEXT NOT NULL DEFAULT '', epoch INTEGER NOT NULL DEFAULT 0, inspected_utc REAL,
        PRIMARY KEY (run, name, since_utc)) STRICT;
INSERT INTO "cameras" VALUES(1,'cam01','press 4','recipe A','rtsp://***@camera/1',1.7960387990204708576e+09,'','','',0,NULL);
CREATE TABLE clips (
        clip INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, clip_id TEXT NOT NULL, events TEXT NOT NULL, begins_utc REAL,
        begins_s REAL, ends_utc REAL, ends_s REAL, codec TEXT NOT NULL, frames INTEGER NOT NULL,
        reencoded INTEGER NOT NULL, note TEXT NOT NULL, path TEXT, sha256 TEXT, bytes INTEGER NOT NULL, created_utc REAL NOT NULL, deleted_utc REAL, deleted_why TEXT, missing TEXT, UNIQUE (run, clip_id)) STRICT;
CREATE TABLE clock_steps (
        step INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), clock INTEGER NOT NULL, at_s REAL NOT NULL, from_utc REAL NOT NULL,
        to_utc REAL NOT NULL, UNIQUE (run, clock)) STRICT;
CREATE TABLE coverage (
        minute INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, minute_utc INTEGER NOT NULL, clock INTEGER NOT NULL DEFAULT 0,
        provisional INTEGER NOT NULL DEFAULT 0, arrived INTEGER NOT NULL, decoded INTEGER NOT NULL,
        inspected INTEGER NOT NULL, dropped_superseded INTEGER NOT NULL DEFAULT 0, dropped_stale INTEGER NOT NULL DEFAULT 0, dropped_behind INTEGER NOT NULL DEFAULT 0, dropped_shed INTEGER NOT NULL DEFAULT 0, dropped_rate_cap INTEGER NOT NULL DEFAULT 0, dropped_frozen INTEGER NOT NULL DEFAULT 0, dropped_corrupt INTEGER NOT NULL DEFAULT 0, dropped_log INTEGER NOT NULL DEFAULT 0, dropped_shutdown INTEGER NOT NULL DEFAULT 0,
        not_inspected_s REAL NOT NULL, reconnects INTEGER NOT NULL, looked_utc REAL,
        UNIQUE (run, camera, minute_utc, clock)) STRICT;
CREATE TABLE detections (
        detection INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, sequence INTEGER NOT NULL, arrived_utc REAL NOT NULL,
        arrived_s REAL NOT NULL, camera_utc REAL, pts_s REAL, class TEXT NOT NULL, score REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
        width INTEGER NOT NULL, height INTEGER NOT NULL, event_id TEXT, latency_ms REAL NOT NULL,
        behind_ms REAL NOT NULL DEFAULT 0, outline TEXT) STRICT;
INSERT INTO "detections" VALUES(1,1,'cam01','press 4','recipe A',0,1785000000.0,100.0,NULL,NULL,'short',0.9,0.0,10.0,16.0,30.0,160,96,'e0',1.99999999999960209606e+01,0.0,NULL);
INSERT INTO "detections" VALUES(2,1,'cam01','press 4','recipe A',1,1785000001.0,101.0,NULL,NULL,'short',0.9,0.0,10.0,16.0,30.0,160,96,'e1',1.99999999999960209606e+01,0.0,'[4.0, 10.0, 16.0, 14.0, 12.0, 30.0, 0.0, 26.0]');
CREATE TABLE events (
        event INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, event_id TEXT NOT NULL, class TEXT NOT NULL, verdict TEXT NOT NULL,
        phase TEXT NOT NULL, ended INTEGER NOT NULL, score REAL NOT NULL, top_score REAL NOT NULL,
        hits INTEGER NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL, width INTEGER, height INTEGER, sequence INTEGER NOT NULL,
        first_seen_utc REAL NOT NULL, first_seen_s REAL NOT NULL, last_seen_utc REAL NOT NULL,
        last_seen_s REAL NOT NULL, confirmed_sequence INTEGER NOT NULL,
        first_sequence INTEGER, first_x1 REAL, first_y1 REAL, first_x2 REAL, first_y2 REAL, last_sequence INTEGER, last_score REAL, last_x1 REAL, last_y1 REAL, last_x2 REAL, last_y2 REAL, picture_sequence INTEGER, outline TEXT, UNIQUE (run, event_id)) STRICT;
INSERT INTO "events" VALUES(1,1,'cam01','press 4','recipe A','e0','short','reject','new',0,0.9,0.95,3,0.0,10.0,16.0,30.0,160,96,0,1785000000.0,100.0,1785000000.0,100.0,0,0,0.0,10.0,16.0,30.0,0,0.9,0.0,10.0,16.0,30.0,NULL,NULL);
INSERT INTO "events" VALUES(2,1,'cam01','press 4','recipe A','e1','short','reject','new',0,0.9,0.95,3,0.0,10.0,16.0,30.0,160,96,1,1785000001.0,101.0,1785000001.0,101.0,1,1,0.0,10.0,16.0,30.0,1,0.9,0.0,10.0,16.0,30.0,NULL,'[4.0, 10.0, 16.0, 14.0, 12.0, 30.0, 0.0, 26.0]');
CREATE TABLE evidence (
        evidence INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), event_id TEXT NOT NULL, path TEXT, overlay_path TEXT, sha256 TEXT,
        bytes INTEGER NOT NULL, created_utc REAL NOT NULL, deleted_utc REAL, missing TEXT, crop_path TEXT,
        overlay_sha256 TEXT, crop_sha256 TEXT, deleted_why TEXT, UNIQUE (run, event_id)) STRICT;
CREATE TABLE journal (
        number INTEGER PRIMARY KEY, run INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, at_utc REAL NOT NULL,
        body TEXT NOT NULL, digest BLOB NOT NULL) STRICT;
INSERT INTO "journal" VALUES(1,0,'begin','',1785000000.0,'{"before":{"audits":0,"clips":0,"coverage":0,"detections":0,"events":0,"evidence":0,"near_misses":0,"not_inspected":0,"states":0},"began_utc":1785000000.0}',X'BE8B7EDB6C6D340E8B2CF0336934292C6A8D4512E13F8EA1A3C1981B443B1DBC');
INSERT INTO "journal" VALUES(2,1,'run','a7c315a818cf44a59b65007d409f209b',1785000000.0,'{"boot_id":"00000000-0000-0000-0000-000000000000","classes":"[\"open\", \"short\"]","clips":null,"config_sha256":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","device":"cpu","end_cause":null,"ended_utc":null,"evidence":0,"fleet":"","form":null,"form_reason":null,"host":"box","instruction_set":null,"model_name":"pcb","model_sha256":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","node":"","precision":"int8","run":1,"run_id":"a7c315a818cf44a59b65007d409f209b","started_utc":1785000000.0,"version":"0.1.0"}',X'5605238D19F54A80AF4004F97A95BAC3F8CC29092DCD20AE0D10F3ABE4153FEB');
INSERT INTO "journal" VALUES(3,1,'camera','cam01/1796038799.0204709',1785000000.0,'{"epoch":0,"inspected_utc":null,"model_name":"","model_sha256":"","name":"cam01","recipe":"recipe A","run":1,"settings":"","since_utc":1796038799.0204709,"station":"press 4","url":"rtsp://***@camera/1"}',X'F22F821A3A3EFF38FF51DCCA88B4C10B8093B0C83A070C8E606A4F23CB2EA54F');
INSERT INTO "journal" VALUES(4,1,'event','e0',1785000000.0,'{"camera":"cam01","class":"short","confirmed_sequence":0,"ended":0,"event":1,"event_id":"e0","first_seen_s":100.0,"first_seen_utc":1785000000.0,"first_sequence":0,"first_x1":0.0,"first_x2":16.0,"first_y1":10.0,"first_y2":30.0,"height":96,"hits":3,"last_score":0.9,"last_seen_s":100.0,"last_seen_utc":1785000000.0,"last_sequence":0,"last_x1":0.0,"last_x2":16.0,"last_y1":10.0,"last_y2":30.0,"outline":null,"phase":"new","picture_sequence":null,"recipe":"recipe A","run":1,"score":0.9,"sequence":0,"station":"press 4","top_score":0.95,"verdict":"reject","width":160,"x1":0.0,"x2":16.0,"y1":10.0,"y2":30.0}',X'9325DD62C6DCAAA66486ACC83BE84EC4A9759949C8B25D38DA07ABE3130C962E');
INSERT INTO "journal" VALUES(5,1,'detections','000001/000000000001/000000000001',1785000000.0,'{"count":1,"digest":"e25b55462f4ae9e5eeffac2e637b811488a24831379a66386c1586fdee83e78a","format":1}',X'2B7B1DEE1E3C0DF595CA2996CC9DF75492556185ABE5E29D941F00DB12BC51FB');
INSERT INTO "journal" VALUES(6,1,'event','e1',1785000000.0,'{"camera":"cam01","class":"short","confirmed_sequence":1,"ended":0,"event":2,"event_id":"e1","first_seen_s":101.0,"first_seen_utc":1785000001.0,"first_sequence":1,"first_x1":0.0,"first_x2":16.0,"first_y1":10.0,"first_y2":30.0,"height":96,"hits":3,"last_score":0.9,"last_seen_s":101.0,"last_seen_utc":1785000001.0,"last_sequence":1,"last_x1":0.0,"last_x2":16.0,"last_y1":10.0,"last_y2":30.0,"outline":"[4.0, 10.0, 16.0, 14.0, 12.0, 30.0, 0.0, 26.0]","phase":"new","picture_sequence":null,"recipe":"recipe A","run":1,"score":0.9,"sequence":1,"station":"press 4","top_score":0.95,"verdict":"reject","width":160,"x1":0.0,"x2":16.0,"y1":10.0,"y2":30.0}',X'701C0628AAC88FB969BC28758E9FC95053799BC15E11F011AE5CC76FEA524F06');
INSERT INTO "journal" VALUES(7,1,'detections','000001/000000000002/000000000002',1785000000.0,'{"count":1,"digest":"fecd420334db4ee8b0102e2ec23bd3bd4b36adc1487b28b7a5626f8bb58f8fd9","format":2}',X'34138052409F62D7E8651FB2FAD94D9C98FA9D355EA4A299053C85FD971B76D8');
INSERT INTO "journal" VALUES(8,1,'run','a7c315a818cf44a59b65007d409f209b',1785000000.0,'{"boot_id":"00000000-0000-0000-0000-000000000000","classes":"[\"open\", \"short\"]","clips":null,"config_sha256":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","device":"cpu","end_cause":"stopped","ended_utc":1796038804.0558197,"evidence":0,"fleet":"","form":null,"form_reason":null,"host":"box","instruction_set":null,"model_name":"pcb","model_sha256":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","node":"","precision":"int8","run":1,"run_id":"a7c315a818cf44a59b65007d409f209b","started_utc":1785000000.0,"version":"0.1.0"}',X'9AC612D2F7944C8061794E4C5AD142C33129727C41E118BB8F41A042B4507D07');
INSERT INTO "journal" VALUES(9,1,'seal','',1785000000.0,'{"clock":{"max_error_s":16.0,"synchronised":false},"entries":8,"head":"9ac612d2f7944c8061794e4c5ad142c33129727c41e118bb8f41a042b4507d07"}',X'626FA9F3AB117668714A85C24475EE728DA6F3FDF4B00E5F553B18AB2018CD6A');
CREATE TABLE near_misses (
        near_miss INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, near_miss_id TEXT NOT NULL, class TEXT NOT NULL, score REAL NOT NULL,
        hits INTEGER NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, sequence INTEGER NOT NULL,
        first_seen_utc REAL NOT NULL, first_seen_s REAL NOT NULL, last_seen_utc REAL NOT NULL,
        last_seen_s REAL NOT NULL, probability REAL NOT NULL, path TEXT, sha256 TEXT, bytes INTEGER NOT NULL, created_utc REAL NOT NULL, deleted_utc REAL, deleted_why TEXT, missing TEXT, outline TEXT, UNIQUE (run, near_miss_id)) STRICT;
CREATE TABLE not_inspected (
        interval INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, interval_id TEXT NOT NULL, cause TEXT NOT NULL,
        started_utc REAL NOT NULL, started_s REAL NOT NULL, ended_utc REAL, ended_s REAL,
        UNIQUE (run, interval_id)) STRICT;
CREATE TABLE removals (
        removal INTEGER PRIMARY KEY, at_utc REAL NOT NULL, removed_from TEXT NOT NULL, rows INTEGER NOT NULL,
        from_utc REAL NOT NULL, to_utc REAL NOT NULL, why TEXT NOT NULL) STRICT;
CREATE TABLE runs (
        run INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, version TEXT NOT NULL, started_utc REAL NOT NULL,
        ended_utc REAL, config_sha256 TEXT NOT NULL, model_name TEXT NOT NULL, model_sha256 TEXT NOT NULL,
        precision TEXT NOT NULL, device TEXT NOT NULL, host TEXT NOT NULL, classes TEXT NOT NULL,
        evidence INTEGER NOT NULL, end_cause TEXT, alive_utc REAL, alive_boot_s REAL, boot_id TEXT,
        instruction_set TEXT, form TEXT, form_reason TEXT, clips TEXT, node TEXT NOT NULL DEFAULT '',
        fleet TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "runs" VALUES(1,'a7c315a818cf44a59b65007d409f209b','0.1.0',1785000000.0,1.79603880405581974987e+09,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','pcb','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','int8','cpu','box','["open", "short"]',0,'stopped',NULL,NULL,'00000000-0000-0000-0000-000000000000',NULL,NULL,NULL,NULL,'','');
CREATE TABLE states (
        change INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, state TEXT NOT NULL, code TEXT, detail TEXT NOT NULL,
        at_utc REAL NOT NULL, at_s REAL NOT NULL) STRICT;
CREATE INDEX detections_by_time ON detections (arrived_utc);
CREATE INDEX detections_by_frame ON detections (run, camera, sequence);
CREATE INDEX events_by_time ON events (first_seen_utc);
CREATE INDEX coverage_by_time ON coverage (minute_utc);
CREATE INDEX coverage_under_way ON coverage (run, camera) WHERE provisional;
CREATE INDEX not_inspected_by_time ON not_inspected (started_utc);
CREATE INDEX states_by_time ON states (at_utc);
CREATE INDEX states_by_camera ON states (run, camera);
CREATE INDEX evidence_kept ON evidence (created_utc) WHERE path IS NOT NULL AND deleted_utc IS NULL;
CREATE INDEX journal_by_key ON journal (kind, key);
CREATE INDEX clips_by_time ON clips (created_utc);
CREATE INDEX near_misses_by_time ON near_misses (first_seen_utc);
CREATE INDEX audits_by_time ON audits (arrived_utc);
PRAGMA application_id=1986816366;
PRAGMA user_version=8;
COMMIT;
