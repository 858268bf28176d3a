"""What carries messages between the SDK and servers, with everything limited in size."""
