"""One page of code per method, trained for real on a small model; `python -m examples.NAME` runs and draws one."""
