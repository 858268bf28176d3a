"""The events of one chat, and what a listener gets of the time before."""
