"""What a client can read, complete and subscribe to; it knows neither SQL nor the transport."""
