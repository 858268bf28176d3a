"""What the policy is made of: reading commands, which rules match, what modes say, what may be remembered."""
