"""Web pages for models: which addresses may be reached, how a page is fetched, and how it becomes text."""
