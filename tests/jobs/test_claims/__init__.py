"""Claim, start, finish, renew, rescue: each statement, and two at once."""
