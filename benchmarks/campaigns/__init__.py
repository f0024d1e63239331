"""Campaigns that break gancli on purpose, one module per promise. benchmarks/trust.py runs them."""
