"""One module per paper; each is found by being here."""
