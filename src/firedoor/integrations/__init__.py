"""One module per foreign library; each is optional, and none is imported by what is below."""
