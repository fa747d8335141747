"""Between us and a language model: which there are, how one is called, what it costs, why it failed. No runs here."""
