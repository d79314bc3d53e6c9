"""SQLite: one writer with group commit, readers on WAL."""
