"""The store port in memory, for `--in-memory` and for tests."""
