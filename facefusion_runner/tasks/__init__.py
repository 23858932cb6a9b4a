"""Tasks of the service: kept in SQLite under DATA_ROOT, worked on by processes of their own."""
