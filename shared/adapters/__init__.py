"""The world: one file a system, each playing one or more ports."""
