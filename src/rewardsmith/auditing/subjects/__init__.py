"""What an audit asks about: answers, pairs, steps and sources. Each builds its baseline and lists its probes."""
