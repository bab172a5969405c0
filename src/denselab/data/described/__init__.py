"""data.yaml: the user says what is where."""
