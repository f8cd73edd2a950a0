"""What is on record of transitions, as audit and as events, by each setting; and that it is there
or not as the change is."""
