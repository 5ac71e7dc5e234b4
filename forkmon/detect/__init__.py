"""Pure functions from stored series to alerts and a verdict."""
