"""The daemon. Its parts: core, ports, engine, adapters, server; see ARCHITECTURE.md."""
