"""The commands of `parley`."""
