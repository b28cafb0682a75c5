-- Made from pipeline.json by `millrace sql synapse`: do not edit.
USE [quakes_dev];
GO
-- The key protects secrets of credentials. Those here have none, so nobody needs its password.
IF NOT EXISTS (SELECT 1 FROM sys.symmetric_keys)
BEGIN
    DECLARE @password VARCHAR(80)
        = CAST(NEWID() AS VARCHAR(36)) + 'a' + CAST(NEWID() AS VARCHAR(36));
    EXEC ('CREATE MASTER KEY ENCRYPTION BY PASSWORD = ''' + @password + '''');
END;
GO
IF NOT EXISTS (
    SELECT 1 FROM sys.database_scoped_credentials WHERE name = 'table_reader'
)
    CREATE DATABASE SCOPED CREDENTIAL [table_reader]
    WITH IDENTITY = 'Managed Identity';
GO
IF EXISTS (
    SELECT 1 FROM sys.external_data_sources
    WHERE name = 'clean' AND location <> '$(LakeUrl)/clean'
)
    EXEC ('DROP EXTERNAL DATA SOURCE [clean]');
GO
IF NOT EXISTS (
    SELECT 1 FROM sys.external_data_sources
    WHERE name = 'clean'
)
    CREATE EXTERNAL DATA SOURCE [clean]
    WITH (LOCATION = '$(LakeUrl)/clean', CREDENTIAL = [table_reader]);
GO
IF EXISTS (
    SELECT 1 FROM sys.external_data_sources
    WHERE name = 'curated' AND location <> '$(LakeUrl)/curated'
)
    EXEC ('DROP EXTERNAL DATA SOURCE [curated]');
GO
IF NOT EXISTS (
    SELECT 1 FROM sys.external_data_sources
    WHERE name = 'curated'
)
    CREATE EXTERNAL DATA SOURCE [curated]
    WITH (LOCATION = '$(LakeUrl)/curated', CREDENTIAL = [table_reader]);
GO
IF NOT EXISTS (
    SELECT 1 FROM sys.database_scoped_credentials WHERE name = 'operations_reader'
)
    CREATE DATABASE SCOPED CREDENTIAL [operations_reader]
    WITH IDENTITY = 'Managed Identity';
GO
IF EXISTS (
    SELECT 1 FROM sys.external_data_sources
    WHERE name = 'quarantine' AND location <> '$(LakeUrl)/quarantine'
)
    EXEC ('DROP EXTERNAL DATA SOURCE [quarantine]');
GO
IF NOT EXISTS (
    SELECT 1 FROM sys.external_data_sources
    WHERE name = 'quarantine'
)
    CREATE EXTERNAL DATA SOURCE [quarantine]
    WITH (LOCATION = '$(LakeUrl)/quarantine', CREDENTIAL = [operations_reader]);
GO
IF EXISTS (
    SELECT 1 FROM sys.external_data_sources
    WHERE name = 'state' AND location <> '$(LakeUrl)/state'
)
    EXEC ('DROP EXTERNAL DATA SOURCE [state]');
GO
IF NOT EXISTS (
    SELECT 1 FROM sys.external_data_sources
    WHERE name = 'state'
)
    CREATE EXTERNAL DATA SOURCE [state]
    WITH (LOCATION = '$(LakeUrl)/state', CREDENTIAL = [operations_reader]);
GO
