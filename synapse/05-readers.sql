-- Made from pipeline.json by `millrace sql synapse`: do not edit.
USE [quakes_dev];
GO
IF DATABASE_PRINCIPAL_ID('table_reader') IS NULL
    CREATE ROLE [table_reader];
GO
GRANT SELECT ON SCHEMA::[dbo] TO [table_reader];
GRANT ADMINISTER DATABASE BULK OPERATIONS TO [table_reader];
GO
IF DATABASE_PRINCIPAL_ID('operations_reader') IS NULL
    CREATE ROLE [operations_reader];
GO
GRANT SELECT ON SCHEMA::[operations] TO [operations_reader];
GRANT ADMINISTER DATABASE BULK OPERATIONS TO [operations_reader];
GO
GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::[table_reader] TO [table_reader]; -- noqa: PRS
GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::[operations_reader] TO [operations_reader];
GO
