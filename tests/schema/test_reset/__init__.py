"""The emergency reset: what it drops and builds, and each guard that keeps it from doing so."""
