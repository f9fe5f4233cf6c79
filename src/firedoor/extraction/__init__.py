"""What a provider's objects say, read by their shape; no provider library is imported."""
