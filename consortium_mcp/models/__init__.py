"""Between us and a language model: the list, the call, the price, the failure; it knows neither runs nor the store."""
