"""The command line `parley`, built on the blocking client. rich is loaded only to draw on a terminal."""
