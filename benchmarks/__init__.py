"""What the library costs, every figure a ratio within one run: see `benchmarks/README.md`."""
