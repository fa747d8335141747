"""Fills, cleans, cuts, masks and compares texts that models read or write; it calls no model."""
