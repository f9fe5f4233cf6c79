"""The only floor that runs user code, waits, or refuses."""
