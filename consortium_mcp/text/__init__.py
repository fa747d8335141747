"""What models read or wrote: filled in, cleaned, cut, masked, compared. Text in, text out; no model is called."""
