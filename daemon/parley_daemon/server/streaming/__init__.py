"""Event streams to a client: subscriptions, pacing, the outbox."""
