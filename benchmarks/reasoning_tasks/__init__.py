"""Task files of lm-eval: mathematical benchmarks with a boxed answer, sampled as in the SPIRAL paper."""
