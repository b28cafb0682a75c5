"""The arrows: one module a trigger, domain and ports only; every step is safe to repeat."""
