"""A run and a way to make calls in; iterations out. It knows neither a database nor llm."""
