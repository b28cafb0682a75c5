"""What the arrows are made of.

    source ──poll──▶ hub ──land──▶ raw ──launch──▶ run ──transform──▶ table ──SQL

Imports point one way, checked by import-linter:
`wiring` → `adapters | settings | telemetry` → `flow` → `ports` → `domain`.
"""
