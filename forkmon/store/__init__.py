"""The SQLite store: schema and migrations, one writer, many readers."""
