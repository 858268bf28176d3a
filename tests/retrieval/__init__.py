"""The quality of the search in contexts, measured on labelled questions: `make test-retrieval`."""
