"""What a client can read, complete and be told of."""
