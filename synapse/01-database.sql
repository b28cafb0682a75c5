-- Made from pipeline.json by `millrace sql synapse`: do not edit.
-- Delta holds text as UTF-8, and only this collation compares it as Delta does, so that
-- conditions on text skip files. It tells names of tables and columns apart by case.
USE [master];
GO
IF NOT EXISTS (SELECT 1 FROM sys.databases WHERE name = 'quakes_dev')
    CREATE DATABASE [quakes_dev] COLLATE Latin1_General_100_BIN2_UTF8;
GO
