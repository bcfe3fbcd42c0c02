BEGIN TRANSACTION;
CREATE TABLE executions (
	"order" INTEGER NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	thing VARCHAR(128) NOT NULL, 
	number INTEGER NOT NULL, 
	status VARCHAR(32) NOT NULL, 
	details JSON NOT NULL, 
	queued_at BIGINT NOT NULL, 
	started_at BIGINT, 
	updated_at BIGINT NOT NULL, 
	version INTEGER NOT NULL, 
	progress_deadline BIGINT, 
	step_deadline BIGINT, 
	forced BOOLEAN NOT NULL, 
	served_blocks BIGINT DEFAULT '0' NOT NULL, 
	served_bytes BIGINT DEFAULT '0' NOT NULL, 
	PRIMARY KEY ("order"), 
	UNIQUE (job_id, thing, number), 
	FOREIGN KEY(job_id) REFERENCES jobs (job_id), 
	FOREIGN KEY(thing) REFERENCES things (name)
);
INSERT INTO "executions" VALUES(1,'job-1','board-1',1,'QUEUED','{}',1700000000,NULL,1700000000,1,NULL,NULL,0,2,8192);
INSERT INTO "executions" VALUES(2,'job-1','board-2',1,'QUEUED','{}',1700000000,NULL,1700000000,1,NULL,NULL,0,0,0);
CREATE TABLE jobs (
	id INTEGER NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	document TEXT NOT NULL, 
	stream_id VARCHAR(128), 
	targets JSON NOT NULL, 
	description TEXT, 
	progress_minutes INTEGER, 
	status VARCHAR(32) NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	completed_at BIGINT, 
	reason_code TEXT, 
	comment TEXT, 
	forced BOOLEAN NOT NULL, 
	url_seconds INTEGER, 
	url_role TEXT, 
	PRIMARY KEY (id), 
	UNIQUE (job_id)
);
INSERT INTO "jobs" VALUES(1,'job-1','{"afr_ota": {"streamname": "job-1"}}','job-1','["arn:aws:iot:local:000000000000:thing/board-1"]','demo-board 1.1.0, sequence 2',5,'IN_PROGRESS',1700000000,1700000000,NULL,NULL,NULL,0,600,'arn:aws:iam::000000000000:role/fleet');
CREATE TABLE objects (
	bucket VARCHAR(63) NOT NULL, 
	"key" VARCHAR(1024) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	etag VARCHAR(32) NOT NULL, 
	size BIGINT NOT NULL, 
	content_type VARCHAR(255) NOT NULL, 
	metadata JSON NOT NULL, 
	modified_at BIGINT NOT NULL, 
	PRIMARY KEY (bucket, "key")
);
INSERT INTO "objects" VALUES('packages','k.ota','abababababababababababababababababababababababababababababababab','cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd',8192,'binary/octet-stream','{}',1700000000);
CREATE TABLE outbox (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	topic VARCHAR(512) NOT NULL, 
	payload BLOB NOT NULL
);
INSERT INTO "outbox" VALUES(1,'$aws/things/board-1/jobs/notify',X'7B2274696D657374616D70223A313730303030303030307D');
CREATE TABLE revoked (
	thing VARCHAR(128) NOT NULL, 
	revoked_at BIGINT NOT NULL, 
	PRIMARY KEY (thing)
);
INSERT INTO "revoked" VALUES('board-3',1700000000);
CREATE TABLE schema (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema" VALUES(4);
CREATE TABLE sequences (
	product VARCHAR(32) NOT NULL, 
	highest BIGINT NOT NULL, 
	PRIMARY KEY (product)
);
INSERT INTO "sequences" VALUES('demo-board',2);
CREATE TABLE shadows (
	thing VARCHAR(128) NOT NULL, 
	state JSON NOT NULL, 
	metadata JSON NOT NULL, 
	version BIGINT NOT NULL, 
	PRIMARY KEY (thing), 
	FOREIGN KEY(thing) REFERENCES things (name)
);
INSERT INTO "shadows" VALUES('board-1','{"reported": {"version": "1.0.0"}}','{}',3);
CREATE TABLE stream_files (
	stream_id VARCHAR(128) NOT NULL, 
	file_id INTEGER NOT NULL, 
	bucket VARCHAR(63) NOT NULL, 
	"key" VARCHAR(1024) NOT NULL, 
	etag VARCHAR(32) NOT NULL, 
	size BIGINT NOT NULL, 
	PRIMARY KEY (stream_id, file_id), 
	FOREIGN KEY(stream_id) REFERENCES streams (stream_id)
);
INSERT INTO "stream_files" VALUES('job-1',0,'packages','k.ota','cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd',8192);
CREATE TABLE streams (
	stream_id VARCHAR(128) NOT NULL, 
	description TEXT, 
	role_arn TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (stream_id)
);
INSERT INTO "streams" VALUES('job-1','demo-board 1.1.0, sequence 2','arn:aws:iam::000000000000:role/fleet',1700000000);
CREATE TABLE things (
	name VARCHAR(128) NOT NULL, 
	attributes JSON NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "things" VALUES('board-1','{"site": "north"}',1700000000);
INSERT INTO "things" VALUES('board-2','{"site": "north"}',1700000000);
CREATE TABLE updates (
	id INTEGER NOT NULL, 
	update_id VARCHAR(128) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	stream_id VARCHAR(128), 
	request JSON NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (update_id)
);
INSERT INTO "updates" VALUES(1,'u-1','job-1','job-1','{"a": 1}',1700000000);
CREATE INDEX executions_in_step ON executions (step_deadline);
CREATE INDEX executions_of_job ON executions (job_id, status);
CREATE INDEX executions_in_progress ON executions (progress_deadline);
CREATE INDEX executions_of_thing ON executions (thing, status);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('outbox',1);
COMMIT;
