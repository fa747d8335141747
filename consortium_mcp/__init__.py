"""Ask a consortium of language models one question; get one answer that says how far to trust it."""
