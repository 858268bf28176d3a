"""The built-in tools: files, commands, web pages, questions, each behind `ports/tools`."""
