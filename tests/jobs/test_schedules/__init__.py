"""Periodic jobs: each due time once, whatever the clocks and the tickers do."""
