"""The steps of `setup`: find providers, missing plugins and models that answer; they ask the user nothing."""
