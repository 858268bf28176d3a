"""The wire models: params, results, objects and events."""
