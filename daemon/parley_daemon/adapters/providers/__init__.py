"""Model providers: the catalogue, the registry of provider types, and the dialects."""
