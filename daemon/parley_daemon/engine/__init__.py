"""The driver of live chats: actors, turns, subscriptions. Knows neither the wire nor SQL."""
