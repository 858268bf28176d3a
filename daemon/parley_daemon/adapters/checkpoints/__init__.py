"""What files were before tools changed them: kept, listed, restored."""
