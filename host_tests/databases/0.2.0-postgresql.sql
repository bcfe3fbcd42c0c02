CREATE TABLE executions (
    "order" bigint NOT NULL,
    job_id character varying(64) NOT NULL,
    thing character varying(128) NOT NULL,
    number integer NOT NULL,
    status character varying(32) NOT NULL,
    details json NOT NULL,
    queued_at bigint NOT NULL,
    started_at bigint,
    updated_at bigint NOT NULL,
    version integer NOT NULL,
    progress_deadline bigint,
    step_deadline bigint,
    forced boolean NOT NULL,
    served_blocks bigint DEFAULT '0'::bigint NOT NULL,
    served_bytes bigint DEFAULT '0'::bigint NOT NULL
);
CREATE SEQUENCE executions_order_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE executions_order_seq OWNED BY executions."order";
CREATE TABLE jobs (
    id bigint NOT NULL,
    job_id character varying(64) NOT NULL,
    document text NOT NULL,
    stream_id character varying(128),
    targets json NOT NULL,
    description text,
    progress_minutes integer,
    status character varying(32) NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    completed_at bigint,
    reason_code text,
    comment text,
    forced boolean NOT NULL,
    url_seconds integer,
    url_role text
);
CREATE SEQUENCE jobs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE jobs_id_seq OWNED BY jobs.id;
CREATE TABLE objects (
    bucket character varying(63) NOT NULL,
    key character varying(1024) NOT NULL,
    sha256 character varying(64) NOT NULL,
    etag character varying(32) NOT NULL,
    size bigint NOT NULL,
    content_type character varying(255) NOT NULL,
    metadata json NOT NULL,
    modified_at bigint NOT NULL
);
CREATE TABLE outbox (
    id bigint NOT NULL,
    topic character varying(512) NOT NULL,
    payload bytea NOT NULL
);
CREATE SEQUENCE outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE outbox_id_seq OWNED BY outbox.id;
CREATE TABLE revoked (
    thing character varying(128) NOT NULL,
    revoked_at bigint NOT NULL
);
CREATE TABLE schema (
    version integer NOT NULL
);
CREATE SEQUENCE schema_version_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE schema_version_seq OWNED BY schema.version;
CREATE TABLE sequences (
    product character varying(32) NOT NULL,
    highest bigint NOT NULL
);
CREATE TABLE shadows (
    thing character varying(128) NOT NULL,
    state json NOT NULL,
    metadata json NOT NULL,
    version bigint NOT NULL
);
CREATE TABLE stream_files (
    stream_id character varying(128) NOT NULL,
    file_id integer NOT NULL,
    bucket character varying(63) NOT NULL,
    key character varying(1024) NOT NULL,
    etag character varying(32) NOT NULL,
    size bigint NOT NULL
);
CREATE TABLE streams (
    stream_id character varying(128) NOT NULL,
    description text,
    role_arn text NOT NULL,
    created_at bigint NOT NULL
);
CREATE TABLE things (
    name character varying(128) NOT NULL,
    attributes json NOT NULL,
    created_at bigint NOT NULL
);
CREATE TABLE updates (
    id bigint NOT NULL,
    update_id character varying(128) NOT NULL,
    job_id character varying(64) NOT NULL,
    stream_id character varying(128),
    request json NOT NULL,
    created_at bigint NOT NULL
);
CREATE SEQUENCE updates_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE updates_id_seq OWNED BY updates.id;
ALTER TABLE ONLY executions ALTER COLUMN "order" SET DEFAULT nextval('executions_order_seq'::regclass);
ALTER TABLE ONLY jobs ALTER COLUMN id SET DEFAULT nextval('jobs_id_seq'::regclass);
ALTER TABLE ONLY outbox ALTER COLUMN id SET DEFAULT nextval('outbox_id_seq'::regclass);
ALTER TABLE ONLY schema ALTER COLUMN version SET DEFAULT nextval('schema_version_seq'::regclass);
ALTER TABLE ONLY updates ALTER COLUMN id SET DEFAULT nextval('updates_id_seq'::regclass);
INSERT INTO executions VALUES (2, 'job-1', 'board-2', 1, 'QUEUED', '{}', 1700000000, NULL, 1700000000, 1, NULL, NULL, false, 0, 0);
INSERT INTO executions VALUES (1, 'job-1', 'board-1', 1, 'QUEUED', '{}', 1700000000, NULL, 1700000000, 1, NULL, NULL, false, 2, 8192);
INSERT INTO jobs VALUES (1, 'job-1', '{"afr_ota": {"streamname": "job-1"}}', 'job-1', '["arn:aws:iot:local:000000000000:thing/board-1"]', 'demo-board 1.1.0, sequence 2', 5, 'IN_PROGRESS', 1700000000, 1700000000, NULL, NULL, NULL, false, 600, 'arn:aws:iam::000000000000:role/fleet');
INSERT INTO objects VALUES ('packages', 'k.ota', 'abababababababababababababababababababababababababababababababab', 'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd', 8192, 'binary/octet-stream', '{}', 1700000000);
INSERT INTO outbox VALUES (1, '$aws/things/board-1/jobs/notify', '\x7b2274696d657374616d70223a313730303030303030307d');
INSERT INTO revoked VALUES ('board-3', 1700000000);
INSERT INTO schema VALUES (4);
INSERT INTO sequences VALUES ('demo-board', 2);
INSERT INTO shadows VALUES ('board-1', '{"reported": {"version": "1.0.0"}}', '{}', 3);
INSERT INTO stream_files VALUES ('job-1', 0, 'packages', 'k.ota', 'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd', 8192);
INSERT INTO streams VALUES ('job-1', 'demo-board 1.1.0, sequence 2', 'arn:aws:iam::000000000000:role/fleet', 1700000000);
INSERT INTO things VALUES ('board-1', '{"site": "north"}', 1700000000);
INSERT INTO things VALUES ('board-2', '{"site": "north"}', 1700000000);
INSERT INTO updates VALUES (1, 'u-1', 'job-1', 'job-1', '{"a": 1}', 1700000000);
SELECT pg_catalog.setval('executions_order_seq', 2, true);
SELECT pg_catalog.setval('jobs_id_seq', 1, true);
SELECT pg_catalog.setval('outbox_id_seq', 1, true);
SELECT pg_catalog.setval('schema_version_seq', 1, false);
SELECT pg_catalog.setval('updates_id_seq', 1, true);
ALTER TABLE ONLY executions
    ADD CONSTRAINT executions_job_id_thing_number_key UNIQUE (job_id, thing, number);
ALTER TABLE ONLY executions
    ADD CONSTRAINT executions_pkey PRIMARY KEY ("order");
ALTER TABLE ONLY jobs
    ADD CONSTRAINT jobs_job_id_key UNIQUE (job_id);
ALTER TABLE ONLY jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY objects
    ADD CONSTRAINT objects_pkey PRIMARY KEY (bucket, key);
ALTER TABLE ONLY outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY revoked
    ADD CONSTRAINT revoked_pkey PRIMARY KEY (thing);
ALTER TABLE ONLY schema
    ADD CONSTRAINT schema_pkey PRIMARY KEY (version);
ALTER TABLE ONLY sequences
    ADD CONSTRAINT sequences_pkey PRIMARY KEY (product);
ALTER TABLE ONLY shadows
    ADD CONSTRAINT shadows_pkey PRIMARY KEY (thing);
ALTER TABLE ONLY stream_files
    ADD CONSTRAINT stream_files_pkey PRIMARY KEY (stream_id, file_id);
ALTER TABLE ONLY streams
    ADD CONSTRAINT streams_pkey PRIMARY KEY (stream_id);
ALTER TABLE ONLY things
    ADD CONSTRAINT things_pkey PRIMARY KEY (name);
ALTER TABLE ONLY updates
    ADD CONSTRAINT updates_pkey PRIMARY KEY (id);
ALTER TABLE ONLY updates
    ADD CONSTRAINT updates_update_id_key UNIQUE (update_id);
CREATE INDEX executions_in_progress ON executions USING btree (progress_deadline);
CREATE INDEX executions_in_step ON executions USING btree (step_deadline);
CREATE INDEX executions_of_job ON executions USING btree (job_id, status);
CREATE INDEX executions_of_thing ON executions USING btree (thing, status);
ALTER TABLE ONLY executions
    ADD CONSTRAINT executions_job_id_fkey FOREIGN KEY (job_id) REFERENCES jobs(job_id);
ALTER TABLE ONLY executions
    ADD CONSTRAINT executions_thing_fkey FOREIGN KEY (thing) REFERENCES things(name);
ALTER TABLE ONLY shadows
    ADD CONSTRAINT shadows_thing_fkey FOREIGN KEY (thing) REFERENCES things(name);
ALTER TABLE ONLY stream_files
    ADD CONSTRAINT stream_files_stream_id_fkey FOREIGN KEY (stream_id) REFERENCES streams(stream_id);
