"""What a turn needs to let a model act: its tools, the calls of a message, approvals."""
