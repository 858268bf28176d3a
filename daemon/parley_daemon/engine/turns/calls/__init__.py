"""One model call: which model, its attempts and fallbacks, its answer."""
