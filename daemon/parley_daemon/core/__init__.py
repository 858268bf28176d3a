"""Pure rules of a chat: states, events, the fold of parts. Knows no clock, no ids, no I/O."""
