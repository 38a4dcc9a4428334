"""What the handlers share: the store and the payment provider. Any module below `src/` can be imported by handlers."""
