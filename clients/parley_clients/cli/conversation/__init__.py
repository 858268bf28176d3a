"""`parley chat`: a conversation at a prompt, or line by line. Only the prompt loads prompt_toolkit."""
