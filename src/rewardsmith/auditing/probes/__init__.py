"""The questions of an audit, one file each; the subjects list them."""
