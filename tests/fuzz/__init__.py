"""Coverage-guided fuzzing: `make fuzz`. The targets are plain functions; `make test` runs them over what was found."""
