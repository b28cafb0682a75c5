-- Where in a trace a run was planned, so that its end is found from the poll that it began with.

ALTER TABLE runs ADD COLUMN traceparent text NOT NULL DEFAULT '';

COMMENT ON COLUMN runs.traceparent IS 'W3C trace context of the planning; empty when nobody traces';
