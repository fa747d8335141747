"""Runs the iterations of a consult with a given function for model calls; it knows neither the store nor a door."""
