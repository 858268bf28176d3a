"""Google's generateContent dialect."""
