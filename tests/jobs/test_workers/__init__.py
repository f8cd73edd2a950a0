"""Workers register, live and end; tokens let them in once."""
