"""What the audit knows about answer keys, independent of any verifier."""
