-- Made from pipeline.json by `millrace sql synapse`: do not edit.
USE [quakes_dev];
GO
CREATE OR ALTER VIEW [dbo].[earthquakes] AS
SELECT
    [rows].[id],
    [rows].[occurred],
    [rows].[updated],
    [rows].[magnitude],
    [rows].[place],
    [rows].[kind],
    [rows].[status],
    [rows].[tsunami],
    [rows].[longitude],
    [rows].[latitude],
    [rows].[depth_km],
    [rows].[_enqueued_at],
    [rows].[_run]
FROM OPENROWSET(BULK 'earthquakes', DATA_SOURCE = 'clean', FORMAT = 'DELTA')
WITH (
    [id] VARCHAR(8000),
    [occurred] DATETIME2(6),
    [updated] DATETIME2(6),
    [magnitude] FLOAT,
    [place] VARCHAR(8000),
    [kind] VARCHAR(8000),
    [status] VARCHAR(8000),
    [tsunami] BIT,
    [longitude] FLOAT,
    [latitude] FLOAT,
    [depth_km] FLOAT,
    [_enqueued_at] DATETIME2(6),
    [_run] VARCHAR(8000),
    [_deleted] BIT
) AS [rows]
WHERE ([rows].[_deleted] IS NULL OR [rows].[_deleted] = 0);
GO
CREATE OR ALTER VIEW [dbo].[earthquakes_daily] AS
SELECT
    [rows].[day],
    [rows].[magnitude_class],
    [rows].[earthquakes],
    [rows].[magnitude_max],
    [rows].[tsunami_warnings]
FROM OPENROWSET(BULK 'earthquakes-daily', DATA_SOURCE = 'curated', FORMAT = 'DELTA')
WITH (
    [day] DATE,
    [magnitude_class] VARCHAR(8000),
    [earthquakes] BIGINT,
    [magnitude_max] FLOAT,
    [tsunami_warnings] BIGINT
) AS [rows];
GO
