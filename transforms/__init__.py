"""The transform: one run turns the raw blobs its manifest names into rows of a Delta table.

Plain PySpark, so the same code runs on Databricks and, on one machine, on Sail. It stays inside
what README.md in this folder lists, because outside it the two engines differ silently.
"""
