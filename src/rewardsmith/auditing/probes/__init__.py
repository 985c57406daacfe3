"""The probes of an audit, one question per file; the subjects list them."""
