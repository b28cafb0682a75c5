-- The ledger: every run, and how far each table is planned into runs.
--
-- Migrations are applied in order, each in a transaction, and are never edited once released: an
-- older app may still be writing while a newer one starts, so they only add.

CREATE TABLE runs (
    dataset text NOT NULL,
    id text NOT NULL,
    kind text NOT NULL,
    job text NOT NULL,
    state text NOT NULL,
    attempt integer NOT NULL,
    failures integer NOT NULL,
    blobs integer NOT NULL,
    events bigint NOT NULL,
    inputs jsonb NOT NULL,
    planned_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    ended_at timestamptz,
    job_run bigint,
    message text NOT NULL,
    counts jsonb NOT NULL,
    version bigint NOT NULL,
    records bigint GENERATED ALWAYS AS ((counts ->> 'records')::bigint) STORED,
    inserted bigint GENERATED ALWAYS AS ((counts ->> 'inserted')::bigint) STORED,
    updated bigint GENERATED ALWAYS AS ((counts ->> 'updated')::bigint) STORED,
    deleted bigint GENERATED ALWAYS AS ((counts ->> 'deleted')::bigint) STORED,
    duplicates bigint GENERATED ALWAYS AS ((counts ->> 'duplicates')::bigint) STORED,
    older bigint GENERATED ALWAYS AS ((counts ->> 'older')::bigint) STORED,
    quarantined bigint GENERATED ALWAYS AS ((counts ->> 'quarantined')::bigint) STORED,
    table_version bigint GENERATED ALWAYS AS ((counts ->> 'tableVersion')::bigint) STORED,
    PRIMARY KEY (dataset, id)
);

CREATE INDEX runs_newest ON runs (dataset, planned_at DESC);
CREATE INDEX runs_ended ON runs (dataset, ended_at);

CREATE TABLE progress (
    dataset text PRIMARY KEY,
    run_open text NOT NULL,
    run_succeeded text NOT NULL,
    queued text[] NOT NULL,
    planned jsonb NOT NULL,
    version bigint NOT NULL
);

COMMENT ON COLUMN runs.dataset IS 'name of the table, clean or curated';
COMMENT ON COLUMN runs.attempt IS 'counts launches';
COMMENT ON COLUMN runs.failures IS 'of them, those that failed since a person asked for a retry';
COMMENT ON COLUMN runs.inputs IS 'what a curated run reads: table, its version, and who wrote it';
COMMENT ON COLUMN runs.job_run IS 'number that the job service gave to the attempt';
COMMENT ON COLUMN runs.due_at IS 'a planned run is not launched before; moves on with each attempt';
COMMENT ON COLUMN runs.version IS 'counts changes of the row: replaced only if unchanged';
COMMENT ON COLUMN progress.run_open IS 'the run that must end before another is planned; or empty';
COMMENT ON COLUMN progress.queued IS 'runs that come next, before anything new is planned';
COMMENT ON COLUMN progress.planned IS
    'partition of raw: its last planned sequence number, and its blob; of a curated table: input';

-- For people: how long runs took, and how long the open one has been at it.
CREATE VIEW run_times AS
SELECT
    dataset,
    id,
    kind,
    state,
    attempt,
    planned_at,
    ended_at,
    coalesce(ended_at, now()) - planned_at AS duration,
    events,
    records,
    round(records / nullif(extract(epoch FROM ended_at - planned_at), 0)) AS records_per_second,
    quarantined,
    message
FROM runs;

-- For people: one line a table. Rows wait while a run is open; a `waiting` that grows is trouble.
CREATE VIEW dataset_lag AS
SELECT
    dataset,
    run_open,
    latest.state,
    latest.attempt,
    latest.message,
    now() - latest.planned_at AS waiting,
    totals.succeeded_at,
    now() - totals.succeeded_at AS since_success,
    coalesce(totals.succeeded, 0) AS succeeded,
    coalesce(totals.failed, 0) AS failed
FROM progress
LEFT JOIN (SELECT dataset, id AS run_open, state, attempt, message, planned_at FROM runs) AS latest
    USING (dataset, run_open)
LEFT JOIN (
    SELECT
        dataset,
        max(ended_at) FILTER (WHERE state = 'succeeded') AS succeeded_at,
        count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
        count(*) FILTER (WHERE state = 'failed') AS failed
    FROM runs
    WHERE kind <> 'maintenance'
    GROUP BY dataset
) AS totals USING (dataset);

-- For people: `progress`, one line a partition.
CREATE VIEW planned_partitions AS
SELECT
    dataset,
    partition,
    (place ->> 'sequence')::bigint AS sequence,
    place ->> 'blob' AS blob
FROM progress, jsonb_each(planned) AS places (partition, place);
