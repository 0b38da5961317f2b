BEGIN TRANSACTION;
CREATE TABLE cameras (
        run INTEGER NOT NULL REFERENCES runs (run), name TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, url TEXT NOT NULL,
        since_utc REAL NOT NULL, settings TEXT NOT NULL DEFAULT '', PRIMARY KEY (run, name, since_utc)) STRICT;
INSERT INTO "cameras" VALUES(1,'cam01','press 4','A','rtsp://***@camera/1',1785000000.0,'{}');
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
        behind_ms REAL NOT NULL DEFAULT 0) STRICT;
INSERT INTO "detections" VALUES(1,1,'cam01','press 4','A',9,1785000005.0,5.0,NULL,NULL,'open',0.8,10.0,10.0,20.0,20.0,640,360,'e1',9.99999999999996447286e+01,0.0);
CREATE TABLE events (
        event INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, event_id TEXT NOT NULL, class TEXT NOT NULL, verdict TEXT NOT NULL,
        phase TEXT NOT NULL, ended INTEGER NOT NULL, score REAL NOT NULL, top_score REAL NOT NULL,
        hits INTEGER NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL, width INTEGER, height INTEGER, sequence INTEGER NOT NULL,
        first_seen_utc REAL NOT NULL, first_seen_s REAL NOT NULL, last_seen_utc REAL NOT NULL,
        last_seen_s REAL NOT NULL, confirmed_sequence INTEGER NOT NULL,
        first_sequence INTEGER, first_x1 REAL, first_y1 REAL, first_x2 REAL, first_y2 REAL, last_sequence INTEGER, last_score REAL, last_x1 REAL, last_y1 REAL, last_x2 REAL, last_y2 REAL, picture_sequence INTEGER, UNIQUE (run, event_id)) STRICT;
INSERT INTO "events" VALUES(1,1,'cam01','press 4','A','e1','open','reject','new',0,0.8,0.9,3,10.0,10.0,20.0,20.0,640,360,9,1785000005.0,5.0,1785000005.0,5.0,9,9,10.0,10.0,20.0,20.0,9,0.8,10.0,10.0,20.0,20.0,NULL);
CREATE TABLE evidence (
        evidence INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), event_id TEXT NOT NULL, path TEXT, overlay_path TEXT, sha256 TEXT,
        bytes INTEGER NOT NULL, created_utc REAL NOT NULL, deleted_utc REAL, missing TEXT, crop_path TEXT,
        overlay_sha256 TEXT, crop_sha256 TEXT, deleted_why TEXT, UNIQUE (run, event_id)) STRICT;
INSERT INTO "evidence" VALUES(1,1,'e1',NULL,NULL,NULL,0,1785000006.0,NULL,'the queue of images was full',NULL,NULL,NULL,NULL);
CREATE TABLE journal (
        number INTEGER PRIMARY KEY, run INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, at_utc REAL NOT NULL,
        body TEXT NOT NULL, digest BLOB NOT NULL) STRICT;
INSERT INTO "journal" VALUES(1,0,'begin','',1.79589498707714486118e+09,'{"before":{"coverage":0,"detections":0,"events":0,"evidence":0,"not_inspected":0,"states":0},"began_utc":1795894987.0771163}',X'EF36D9EAC766C12CEA267B21AAD1F2EC4DC33F7608A2010014D7587F1D6D62FA');
INSERT INTO "journal" VALUES(2,1,'run','ffffffffffffffffffffffffffffffff',1.79589498708038926124e+09,'{"boot_id":"b00t","classes":"[\"open\", \"short\"]","config_sha256":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","device":"cpu","end_cause":null,"ended_utc":null,"evidence":1,"form":null,"form_reason":null,"host":"box","instruction_set":null,"model_name":"pcb","model_sha256":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","precision":"int8","run":1,"run_id":"ffffffffffffffffffffffffffffffff","started_utc":1785000000.0,"version":"0.1.0"}',X'250852D180A0DA40A043E1303312FDD0D1413B7317F3DCAC37065016E4805288');
INSERT INTO "journal" VALUES(3,1,'camera','cam01/1785000000.0',1.79589498708255028728e+09,'{"name":"cam01","recipe":"A","run":1,"settings":"{}","since_utc":1785000000.0,"station":"press 4","url":"rtsp://***@camera/1"}',X'254EBC07E33ED8918DCABBF0741F55467EDCBAC5328238EC1E280BA0C69FF97B');
INSERT INTO "journal" VALUES(4,1,'event','e1',1.79589498708255028728e+09,'{"camera":"cam01","class":"open","confirmed_sequence":9,"ended":0,"event":1,"event_id":"e1","first_seen_s":5.0,"first_seen_utc":1785000005.0,"first_sequence":9,"first_x1":10.0,"first_x2":20.0,"first_y1":10.0,"first_y2":20.0,"height":360,"hits":3,"last_score":0.8,"last_seen_s":5.0,"last_seen_utc":1785000005.0,"last_sequence":9,"last_x1":10.0,"last_x2":20.0,"last_y1":10.0,"last_y2":20.0,"phase":"new","picture_sequence":null,"recipe":"A","run":1,"score":0.8,"sequence":9,"station":"press 4","top_score":0.9,"verdict":"reject","width":640,"x1":10.0,"x2":20.0,"y1":10.0,"y2":20.0}',X'DFB426FA4319E0F3652ED5F88A4465211A6D3F9428D36B25AA8C241F1344835A');
INSERT INTO "journal" VALUES(5,1,'evidence','e1',1.79589498708255028728e+09,'{"bytes":0,"created_utc":1785000006.0,"crop_path":null,"crop_sha256":null,"deleted_utc":null,"deleted_why":null,"event_id":"e1","evidence":1,"missing":"the queue of images was full","overlay_path":null,"overlay_sha256":null,"path":null,"run":1,"sha256":null}',X'7E4B80757A5C0AF2077901E4EF3393D813969B4C9A6455E092C614DD924B86B3');
INSERT INTO "journal" VALUES(6,1,'state','cam01/1',1.79589498708255028728e+09,'{"at_s":1.0,"at_utc":1785000001.0,"camera":"cam01","change":1,"code":null,"detail":"","recipe":"A","run":1,"state":"RUNNING","station":"press 4"}',X'A102ECB8D0ED6EBCFAA20B8C06A671A411B935DDC97A6E95A7A337CA68044815');
INSERT INTO "journal" VALUES(7,1,'detections','000001/000000000001/000000000001',1.79589498708255028728e+09,'{"count":1,"digest":"6ff9f836a8d930d0ca049e906e5cf4ba15dcdceeec04edcf3baea93bdae2c108","format":1}',X'D1CF9228FF58D8146B54F51234FAA1720D1F3B08B17051E207A04318177C0112');
INSERT INTO "journal" VALUES(8,1,'run','ffffffffffffffffffffffffffffffff',1.7958949870836863517e+09,'{"boot_id":"b00t","classes":"[\"open\", \"short\"]","config_sha256":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","device":"cpu","end_cause":"stopped","ended_utc":1785000100.0,"evidence":1,"form":null,"form_reason":null,"host":"box","instruction_set":null,"model_name":"pcb","model_sha256":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","precision":"int8","run":1,"run_id":"ffffffffffffffffffffffffffffffff","started_utc":1785000000.0,"version":"0.1.0"}',X'4E8E4B786700AA9DE76AEF611F4187B32436F9884D1EA8C1CD11EEECCD0939CD');
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
        instruction_set TEXT, form TEXT, form_reason TEXT) STRICT;
INSERT INTO "runs" VALUES(1,'ffffffffffffffffffffffffffffffff','0.1.0',1785000000.0,1785000100.0,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','pcb','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','int8','cpu','box','["open", "short"]',1,'stopped',1785000100.0,NULL,'b00t',NULL,NULL,NULL);
CREATE TABLE states (
        change INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (run), camera TEXT NOT NULL, station TEXT NOT NULL, recipe TEXT NOT NULL, state TEXT NOT NULL, code TEXT, detail TEXT NOT NULL,
        at_utc REAL NOT NULL, at_s REAL NOT NULL) STRICT;
INSERT INTO "states" VALUES(1,1,'cam01','press 4','A','RUNNING',NULL,'',1785000001.0,1.0);
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
COMMIT;
PRAGMA application_id=1986816366;
PRAGMA user_version=4;
