"""A third-party tool to poll: one real week of earthquakes, replayed as a feed that grows."""
