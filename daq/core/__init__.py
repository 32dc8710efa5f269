"""The pure middle of the house: what the words mean, without I/O, clocks, tasks or logging."""
