"""Connections to the daemon: transport, requests, reconnection."""
