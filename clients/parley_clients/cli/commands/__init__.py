"""The commands of `parley`, one module a command or a group of them."""
