"""Measures the quality of consortiums and judging methods, on questions with known answers."""
