"""A run and a way to make calls go in, iterations come out; it knows neither the store nor a door."""
