"""Texts that models read or wrote are filled in, cleaned, cut, masked and compared; no model is called here."""
