"""The tools by which the model of a root chat gives work to child chats."""
