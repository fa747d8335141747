"""Calls language models: catalogue, calls, prices, failures; it knows neither runs nor the store."""
