"""What the daemon is compared with: the bare composition, what people write in twenty lines, and programs in C."""
