"""The nouns: what exists and what must hold, without I/O and without a clock."""
