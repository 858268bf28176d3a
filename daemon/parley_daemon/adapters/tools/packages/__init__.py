"""Tools that other packages bring."""
