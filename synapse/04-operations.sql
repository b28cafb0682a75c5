-- Made from pipeline.json by `millrace sql synapse`: do not edit.
USE [quakes_dev];
GO
IF SCHEMA_ID('operations') IS NULL
    EXEC ('CREATE SCHEMA [operations]');
GO
CREATE OR ALTER VIEW [operations].[runs] AS
SELECT
    [run].[id],
    CAST([files].filepath(1) AS VARCHAR(8000)) AS [dataset],
    [run].[kind],
    [run].[job],
    [run].[state],
    [run].[attempt],
    [run].[failures],
    [run].[blobs],
    [run].[events],
    CAST(SWITCHOFFSET([run].[planned_at], 0) AS DATETIME2(6)) AS [planned_at],
    CAST(SWITCHOFFSET([run].[ended_at], 0) AS DATETIME2(6)) AS [ended_at],
    [run].[job_run],
    [run].[message],
    [run].[records],
    [run].[inserted],
    [run].[updated],
    [run].[deleted],
    [run].[duplicates],
    [run].[older],
    [run].[quarantined],
    [run].[table_version]
FROM OPENROWSET(
    BULK 'runs/*/*.json',
    DATA_SOURCE = 'state',
    FORMAT = 'CSV',
    FIELDTERMINATOR = '0x0b',
    FIELDQUOTE = '0x0b',
    ROWTERMINATOR = '0x0b'
)
WITH ([document] NVARCHAR(MAX)) AS [files]
CROSS APPLY OPENJSON([files].[document])
WITH (
    [id] VARCHAR(8000) '$.id',
    [kind] VARCHAR(8000) '$.kind',
    [job] VARCHAR(8000) '$.job',
    [state] VARCHAR(8000) '$.state',
    [attempt] INT '$.attempt',
    [failures] INT '$.failures',
    [blobs] BIGINT '$.blobs',
    [events] BIGINT '$.events',
    [planned_at] DATETIMEOFFSET(6) '$.plannedAt',
    [ended_at] DATETIMEOFFSET(6) '$.endedAt',
    [job_run] BIGINT '$.jobRun',
    [message] VARCHAR(MAX) '$.message',
    [records] BIGINT '$.counts.records',
    [inserted] BIGINT '$.counts.inserted',
    [updated] BIGINT '$.counts.updated',
    [deleted] BIGINT '$.counts.deleted',
    [duplicates] BIGINT '$.counts.duplicates',
    [older] BIGINT '$.counts.older',
    [quarantined] BIGINT '$.counts.quarantined',
    [table_version] BIGINT '$.counts.tableVersion'
) AS [run];
GO
CREATE OR ALTER VIEW [operations].[earthquakes_refused] AS
SELECT
    CAST('earthquakes' AS VARCHAR(8000)) AS [dataset],
    [rows].[reason],
    [rows].[run_id],
    [rows].[blob],
    [rows].[partition],
    [rows].[sequence_number],
    [rows].[line],
    [rows].[enqueued_time],
    [rows].[body],
    CAST([rows].[body] AS VARCHAR(MAX)) AS [record]
FROM OPENROWSET(BULK 'refused/earthquakes', DATA_SOURCE = 'quarantine', FORMAT = 'DELTA')
WITH (
    [reason] VARCHAR(8000),
    [run_id] VARCHAR(8000),
    [blob] VARCHAR(8000),
    [partition] VARCHAR(8000),
    [sequence_number] BIGINT,
    [line] INT,
    [enqueued_time] DATETIME2(6),
    [body] VARBINARY(MAX)
) AS [rows];
GO
CREATE OR ALTER VIEW [operations].[refused] AS
SELECT
    [dataset],
    [reason],
    [run_id],
    [blob],
    [partition],
    [sequence_number],
    [line],
    [enqueued_time],
    [body],
    [record]
FROM [operations].[earthquakes_refused];
GO
